// A node's own keys and a mesh's root key.
//
// Signing (Ed25519) and key agreement (X25519) have separate keys, so that no protocol ever uses
// one key in two ways. A node is named by the hash of its signing key. Where the keyring lies and
// who may read it is the host's business; its form is here:
//
//   offset size
//        0    4  "TRNK"
//        4    1  version, 1
//        5    1  1 when the mesh root's key follows, else 0
//        6   32  seed of the signing key
//       38   32  secret of the X25519 key
//       70   32  seed of the root key, or zeros
//      102    8  BLAKE2b of the above, against a damaged file (not against an attacker)
#pragma once

#include <optional>

#include "base/crypto.h"
#include "base/ids.h"

namespace identity {

struct NodeKeys {
  base::crypto::SignKey sign;
  base::crypto::DhKey dh;

  [[nodiscard]] base::NodeId id() const { return base::crypto::node_id_of(sign.public_key); }
  [[nodiscard]] NodeKeys clone() const;
  // Both from entropy that the host drew.
  [[nodiscard]] static NodeKeys make(const base::Secret<32>& sign_seed, base::Secret<32> dh_secret);
};

struct Keyring {
  NodeKeys node;
  std::optional<base::crypto::SignKey> root;  // where the mesh was made
};

using KeyringBlob = base::Secret<110>;
[[nodiscard]] KeyringBlob encode_keyring(const Keyring& keyring);
// kTruncated, kUnsupported (a newer version) or kInvalid (damaged).
[[nodiscard]] base::Result<Keyring> decode_keyring(base::ByteView blob);

}  // namespace identity
