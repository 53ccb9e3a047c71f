// Another implementation behind base/crypto.h, for the simulator only: real cryptography costs most
// of a simulated node's time. The program that ships never sets one (tests/tidy_checks.cc).
#pragma once

#include "base/crypto.h"

namespace base::crypto {

// Each has the sizes and the refusals of its counterpart in base/crypto.h.
struct Backend {
  SignKey (*sign_key_from_seed)(const Secret<32>& seed);
  Signature (*sign)(const SignKey& key, ByteView message);
  bool (*verify)(const SignPublic& key, ByteView message, const Signature& signature);
  DhPublic (*dh_public)(const Secret<32>& secret);
  bool (*dh)(const DhKey& mine, const DhPublic& theirs,
             MutableByteView shared);  // false: low order
  void (*hash)(std::initializer_list<ByteView> parts, ByteView key, MutableByteView out);
  void (*seal)(ByteView key, const Nonce& nonce, ByteView ad, ByteView plain, MutableByteView out);
  bool (*open)(ByteView key, const Nonce& nonce, ByteView ad, ByteView sealed, MutableByteView out);
};

// For the whole process, before anything else of crypto is called; null: libsodium. The caller
// keeps it alive.
void use_backend(const Backend* backend);

}  // namespace base::crypto
