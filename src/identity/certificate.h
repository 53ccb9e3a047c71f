// Who belongs to a mesh: certificates (design.md §6).
//
// A certificate says, over a signature, that two public keys and a name are a member. The root
// signs members and inviters, an inviter signs members and nothing else, so a chain has at most
// two certificates. They travel together:
//
//   chain = array [version, mesh id, array of 1..2 signed certificates: the member's first]
//   signed = 64 bytes Ed25519 over ("tern certificate 1", body), then the body
//   body = array:
//     field         type      limit        since  meaning
//     version       u64       1            1
//     mesh          bin 16                 1      hash of the root's key
//     issuer        bin 16                 1      NodeId of the inviter; of the root's key: its
//     hash name          text      1..63        1      [a-z0-9.-], begins and ends with a letter or
//     digit sign public   bin 32                 1      Ed25519 dh public     bin 32 1      X25519,
//     the transport's roles         u64       bitmask      1      1 member, 2 inviter; unknown bits
//     mean nothing here not before    i64       seconds      1      Unix time not after     i64
//     seconds      1      the last second of validity serial        u64                    1 grows
//     with each certificate of an issuer
//
// Every signature is checked before the body under it is decoded; the root's key checks the last,
// which gives the key that checks the first. The mesh id outside is a hint that makes a foreign
// certificate a plain sentence; nothing is trusted for it, the signed ones must repeat it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "identity/limits.h"

namespace identity {

enum Role : std::uint64_t { kMember = 1, kInviter = 2 };

struct CertificateBody {
  base::MeshId mesh;
  base::NodeId issuer;  // root_issuer_id() where the root signs
  std::string name;
  base::crypto::SignPublic sign_public{};
  base::crypto::DhPublic dh_public{};
  std::uint64_t roles = kMember;
  base::WallTime not_before{};
  base::WallTime not_after{};
  std::uint64_t serial = 0;

  [[nodiscard]] base::NodeId id() const { return base::crypto::node_id_of(sign_public); }
  [[nodiscard]] bool is_inviter() const { return (roles & kInviter) != 0; }
};

// A certificate whose whole chain held when it was verified.
struct Certificate {
  CertificateBody body;
  base::NodeId id;
  base::Bytes chain;         // the exact bytes that were verified
  base::WallTime not_after;  // the earliest in the chain
};

// kInvalid with a sentence that says what a name looks like.
[[nodiscard]] base::Status check_name(std::string_view name);
[[nodiscard]] base::NodeId root_issuer_id(const base::crypto::SignPublic& root);

// Legal only for a valid name and with the key that `body.issuer` names.
[[nodiscard]] base::Bytes issue(const CertificateBody& body, const base::crypto::SignKey& issuer);
// `signed_certificates`: the member's, then, unless the root signed it, the inviter's.
[[nodiscard]] base::Bytes make_chain(const base::MeshId& mesh,
                                     const std::vector<base::Bytes>& signed_certificates);
// The signed certificates of a chain, the member's first; nothing is verified.
[[nodiscard]] base::Result<std::vector<base::Bytes>> split_chain(base::ByteView chain);

// Failures: kInvalid malformed · kUnsupported newer version · kRefused another mesh, or signed by
// one who may not · kUnauthentic a signature does not hold · kStale expired or not yet valid.
[[nodiscard]] base::Result<Certificate> verify(base::ByteView chain,
                                               const base::crypto::SignPublic& root,
                                               base::WallTime now);

}  // namespace identity
