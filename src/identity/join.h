// What a joiner and the issuer of his ticket say to each other, inside the XXpsk3 handshake's
// transport (design.md §6).
//
//   request = array:                                  reply = array:
//     version      u64     2                            version      u64     1 or 2
//     ticket       bin 16  TicketId                     accepted     bool
//     name         text    wanted, 1..63                reason       text    <= 200, why not
//     sign public  bin 32                               root public  bin 32  zeros when refused
//     dh public    bin 32  as the handshake proved      chain        bin     <= 640, empty: refused
//     proof        bin 64  see below                    addresses    array   <= 8 of bin 18, peers
//                                                       mesh name    text    <= 80, since version 2
//
// A request's version is the newest reply that the joiner reads; 1 is taken too, and the issuer
// answers in that version. The mesh's name is for people to read: nothing is decided by it, and one
// that is no name (control characters, too long) refuses the reply.
//
// The handshake proves the X25519 key; `proof` proves the signing key: Ed25519 over
// ("tern join 1", ticket, dh public, name), so that nobody gets a certificate for a signing key
// that is not his. The joiner checks root public against the ticket's mesh id, then the chain.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "identity/certificate.h"
#include "identity/keys.h"
#include "identity/ticket.h"

namespace identity {

struct JoinRequest {
  std::uint64_t version = 0;  // of the reply that is wanted
  TicketId ticket;
  std::string name;
  base::crypto::SignPublic sign_public{};
  base::crypto::DhPublic dh_public{};
};

[[nodiscard]] base::Bytes encode_join_request(const NodeKeys& keys, const TicketId& ticket,
                                              std::string_view name);
// `proven` is the X25519 key that the handshake proved. kUnauthentic: the request is for another
// key, or the proof does not hold.
[[nodiscard]] base::Result<JoinRequest> decode_join_request(base::ByteView bytes,
                                                            const base::crypto::DhPublic& proven);

struct JoinReply {
  bool accepted = false;
  std::string reason;
  base::crypto::SignPublic root{};
  base::Bytes chain;
  std::vector<base::Endpoint> addresses;
  std::string mesh_name;  // empty: refused, or an issuer of version 1
};

// `version` is the request's; 2 where none could be read.
[[nodiscard]] base::Bytes encode_join_reply(const JoinReply& reply, std::uint64_t version = 2);
[[nodiscard]] base::Result<JoinReply> decode_join_reply(base::ByteView bytes);
// Whether the reply makes these keys a member of the ticket's mesh. kRefused carries the issuer's
// reason; kUnauthentic: the root is not the ticket's, or the certificate is for other keys.
[[nodiscard]] base::Result<Certificate> check_join_reply(const JoinReply& reply,
                                                         const base::MeshId& mesh,
                                                         const NodeKeys& keys, base::WallTime now);

}  // namespace identity
