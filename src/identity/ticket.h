// Tickets: how somebody who is not yet a member proves that he was invited (design.md §6).
//
// A ticket is one word that a person carries from `tern invite` to `tern join`:
//
//   "tern-ticket-" + base32 (RFC 4648 alphabet, lower case, no padding; read in any case) of
//     offset size
//          0    1  version, 1
//          1   32  secret, random
//         33   16  mesh id: BLAKE2b-128 of the root's public key
//         49    8  expires, Unix seconds, little-endian
//         57    1  count of addresses, at most 8
//         58  18n  addresses, as base::Endpoint packs them
//        end    4  BLAKE2b of all before, so that a typing error is told from a wrong ticket
//
// The secret never crosses the wire: the joiner's first message carries the ticket's id,
// BLAKE2b-128(key = secret, "id"), and the handshake mixes in psk = BLAKE2b-256(key = secret,
// "psk"). Whoever learns id and psk learns no secret; a ticket book therefore keeps those only.
// Expiry is judged by the issuer's clock alone: a joiner's may be wrong.
//
// States of a ticket in its issuer's book:
//
//   open --redeem(keys)--> redeemed to those keys --(the same keys retry)--> redeemed
//     \--15 min--> expired                \--15 min after it was made--> expired
//
// The caller stores encode() after a redeem and before it replies: a ticket whose reply was lost
// in a crash is then still bound to the joiner, who retries with the same keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/endpoint.h"
#include "base/secret.h"
#include "base/time.h"
#include "identity/limits.h"

namespace identity {

using base::TicketId;

struct Ticket {
  base::Secret<32> secret;
  base::MeshId mesh;
  base::WallTime expires{};
  std::vector<base::Endpoint> addresses;  // at most kTicketAddressesMax

  [[nodiscard]] TicketId id() const;
  [[nodiscard]] base::Secret<32> psk() const;
  [[nodiscard]] std::string text() const;  // a secret: for a terminal only
  // White space around the word is ignored. kInvalid says whether it is no ticket, mistyped or cut
  // off; kUnsupported: a newer version.
  [[nodiscard]] static base::Result<Ticket> parse(std::string_view text);
};

class TicketBook {
 public:
  // Takes a new ticket. Its life is at most kTicketLife from `now` (kInvalid otherwise). kFull when
  // kTicketsMax are open.
  [[nodiscard]] base::Status open(const Ticket& ticket, base::WallTime now);
  // The psk for a handshake with whoever names this ticket: open ones, and redeemed ones for a
  // retry. kNotFound, kStale (expired).
  [[nodiscard]] base::Result<base::Secret<32>> psk(const TicketId& id, base::WallTime now) const;
  // Binds the ticket to these keys. ok: redeemed now, or before by the same keys. kRefused: by
  // others. kNotFound, kStale as above.
  [[nodiscard]] base::Status redeem(const TicketId& id, const base::crypto::SignPublic& sign,
                                    const base::crypto::DhPublic& dh, base::WallTime now);
  // For display: how many could still be redeemed.
  [[nodiscard]] std::size_t open_count(base::WallTime now) const;

  // What the host stores, readable by the daemon alone.
  [[nodiscard]] base::Bytes encode() const;
  [[nodiscard]] static base::Result<TicketBook> decode(base::ByteView stored);

 private:
  struct Entry {
    TicketId id;
    base::Secret<32> psk;
    base::WallTime expires{};
    bool redeemed = false;
    base::crypto::SignPublic sign{};
    base::crypto::DhPublic dh{};
  };
  [[nodiscard]] base::Result<const Entry*> find(const TicketId& id, base::WallTime now) const;
  bool make_room(base::WallTime now);

  std::vector<Entry> entries_;  // oldest first, at most kTicketsMax
};

}  // namespace identity
