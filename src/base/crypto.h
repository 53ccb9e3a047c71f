// The cryptography Tern uses, over libsodium's deterministic calls only: keys and seeds arrive as
// arguments, so that a core that uses this is repeatable. Hosts draw entropy (daemon/entropy).
//
// Ed25519 (RFC 8032) signs, X25519 (RFC 7748) agrees, BLAKE2b (RFC 7693) hashes,
// ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM seal. init() must have returned ok once per process
// before anything else here is called.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"

namespace base::crypto {

[[nodiscard]] Status init();

// ---- signatures
inline constexpr std::size_t kSignPublicSize = 32;
inline constexpr std::size_t kSignatureSize = 64;
using SignPublic = std::array<std::uint8_t, kSignPublicSize>;
using Signature = std::array<std::uint8_t, kSignatureSize>;

struct SignKey {
  SignPublic public_key{};
  Secret<64> secret;  // libsodium's form: seed and public key
};
[[nodiscard]] SignKey sign_key_from_seed(const Secret<32>& seed);
[[nodiscard]] Signature sign(const SignKey& key, ByteView message);
[[nodiscard]] bool verify(const SignPublic& key, ByteView message, const Signature& signature);

// ---- key agreement
using DhPublic = std::array<std::uint8_t, 32>;
struct DhKey {
  DhPublic public_key{};
  Secret<32> secret;
};
[[nodiscard]] DhKey dh_key_from_secret(Secret<32> secret);
// kUnauthentic when the result is all zero (a low-order public key).
[[nodiscard]] Result<Secret<32>> dh(const DhKey& mine, const DhPublic& theirs);

// ---- hashes
using Hash256 = std::array<std::uint8_t, 32>;
using Hash512 = std::array<std::uint8_t, 64>;
// Unkeyed unless `key` (up to 64 bytes) is given. The parts are hashed one after another as if
// they were one; callers that need to tell parts apart give them fixed sizes.
[[nodiscard]] Hash256 hash256(std::initializer_list<ByteView> parts, ByteView key = {});
[[nodiscard]] Hash512 hash512(std::initializer_list<ByteView> parts, ByteView key = {});
[[nodiscard]] std::array<std::uint8_t, 16> hash128(std::initializer_list<ByteView> parts,
                                                   ByteView key = {});
// Incremental BLAKE2b-256.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void add(ByteView bytes);
  [[nodiscard]] Hash256 finish();  // at most once

 private:
  struct State;
  std::unique_ptr<State> state_;
};
// RFC 2104 over BLAKE2b-512 with its block of 128 bytes, as Noise §5.1 wants it.
[[nodiscard]] Hash512 hmac512(ByteView key, ByteView message);

// ---- sealing. Nonces are 12 bytes; a (key, nonce) pair is used once. `out` may alias `in`.
enum class Cipher { kChaChaPoly, kAesGcm };
inline constexpr std::size_t kTagSize = 16;
using Nonce = std::array<std::uint8_t, 12>;
[[nodiscard]] bool aes_available();  // whether this CPU has the instructions libsodium needs

// kChaChaPoly, whose keys need no preparation. As SealKey's seal() and open().
void seal(const Secret<32>& key, const Nonce& nonce, ByteView ad, ByteView plain,
          MutableByteView out);
[[nodiscard]] bool open(const Secret<32>& key, const Nonce& nonce, ByteView ad, ByteView sealed,
                        MutableByteView out);

// A key ready for many messages (AES key schedules are expanded once).
class SealKey {
 public:
  SealKey(Cipher cipher, const Secret<32>& key);  // kAesGcm is legal only when aes_available()
  ~SealKey();
  SealKey(SealKey&&) noexcept;
  SealKey& operator=(SealKey&&) noexcept;
  // `out` has room for plain.size() + kTagSize.
  void seal(const Nonce& nonce, ByteView ad, ByteView plain, MutableByteView out) const;
  // `out` has room for sealed.size() - kTagSize. False: not authentic, `out` is unspecified.
  [[nodiscard]] bool open(const Nonce& nonce, ByteView ad, ByteView sealed,
                          MutableByteView out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] bool equal_constant_time(ByteView a, ByteView b);

[[nodiscard]] NodeId node_id_of(const SignPublic& key);
[[nodiscard]] MeshId mesh_id_of(const SignPublic& root_key);

}  // namespace base::crypto
