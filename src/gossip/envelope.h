// Datagrams between members: sealed, authentic, each taken once (design.md §5).
//
//   offset size  field
//        0    1  kind, 1
//        1    8  sender: the first bytes of its NodeId
//        9   16  salt: random, drawn at the sender's start
//       25    8  counter, little-endian: the nonce; from 0, per receiver
//       33    n  sealed payload, ChaCha20-Poly1305, the header is its associated data
//      end   16  tag
//
// Key = BLAKE2b-256(key = X25519(static, static), ("tern datagram 1", sender, receiver, salt)), so
// only the two can make or read it, and each direction and each start of a node has its own. The
// price is no forward secrecy for datagrams: they carry loads, not contents.
//
// Who has the key is a member, but may be a recording of one. So a salt that is not the one in use
// is *unproven*: its packet opens, and is read for the handshake alone. The receiver sends a
// challenge, a cookie that only it can make, and accepts the salt when a packet under it brings the
// cookie back. The cookie is a MAC over sender, salt, coarse time and *the salt in use*: accepting
// a salt voids all cookies made before, so that recordings of older starts stay outside. No state
// is kept for a challenge.
//
//     no salt / other salt --authentic packet--> challenge sent --cookie back--> salt accepted
//                                                 (no state)        replay window starts anew
//
// What was sent before the peer accepted our salt is kept for a while (kUnconfirmedMax packets a
// peer, kUnconfirmedAllMax in all) and sent again behind the cookie. One replay window per member
// (RFC 6479's ring of words). Keys are derived anew for each packet: a node has hundreds of
// sessions and sends a few packets a second, so that memory counts and one more hash does not.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "base/crypto.h"
#include "base/id_map.h"
#include "gossip/limits.h"

namespace gossip {

using Salt = std::array<std::uint8_t, 16>;
using Cookie = std::array<std::uint8_t, 16>;
inline constexpr std::size_t kSenderTagSize = 8;
using SenderTag = std::array<std::uint8_t, kSenderTagSize>;

// Which counters were seen. Counters older than kSpan - 64 below the highest are refused.
class ReplayWindow {
 public:
  static constexpr std::uint64_t kSpan = 256;
  // Marks `counter`; false if it was marked before or is too old.
  [[nodiscard]] bool take(std::uint64_t counter);
  // This one and all before it count as seen: what came unproven is never taken afterwards.
  void start(std::uint64_t counter);
  [[nodiscard]] std::uint64_t highest() const { return highest_; }

 private:
  static constexpr std::uint64_t kWords = kSpan / 64;
  std::array<std::uint64_t, kWords> bits_{};
  std::uint64_t highest_ = 0;
};

struct PacketHeader {
  SenderTag sender{};
  Salt salt{};
  std::uint64_t counter = 0;
};
[[nodiscard]] base::Result<PacketHeader> parse_header(base::ByteView packet);

struct Opened {
  bool proven = false;  // false: only challenge and response may be read
  bool newest = false;  // nothing newer came before it
  Salt salt{};
  std::uint64_t counter = 0;
  base::Bytes payload;
};

class Envelope {
 public:
  // `salt` and `secret` are drawn by the host at each start.
  Envelope(const base::NodeId& self, base::crypto::DhKey key, const Salt& salt,
           base::Secret<32> secret);

  // Empty when the peer's key is of low order. `payload` has at most kPayloadSizeMax +
  // kHandshakeRoom bytes. With `again` the payload is kept until the peer is known to take
  // what comes under our salt.
  [[nodiscard]] base::Bytes seal(base::Time now, const base::NodeId& peer,
                                 const base::crypto::DhPublic& key, base::ByteView payload,
                                 bool again);
  // kInvalid, kUnauthentic, or kStale for a packet that was taken before.
  [[nodiscard]] base::Result<Opened> open(base::Time now, const base::NodeId& peer,
                                          const base::crypto::DhPublic& key, base::ByteView packet);

  [[nodiscard]] Cookie cookie(base::Time now, const base::NodeId& peer, const Salt& salt) const;
  // Accepts the salt of a packet that brought this cookie; false when the cookie does not hold or
  // the last change was less than kSaltChangeMin ago.
  [[nodiscard]] bool accept(base::Time now, const base::NodeId& peer, const Opened& opened,
                            const Cookie& cookie);
  // The peer challenged us: what it could not take so far, to be sent again.
  [[nodiscard]] std::vector<base::Bytes> take_unconfirmed(const base::NodeId& peer);
  void confirmed(const base::NodeId& peer);  // it took a packet under our salt
  void forget_unconfirmed(base::Time now);   // what nobody will ask for any more
  void forget(const base::NodeId& peer);     // its certificate went or has another key
  [[nodiscard]] const Salt& salt() const { return salt_; }
  [[nodiscard]] std::size_t sessions() const { return peers_.size(); }

 private:
  struct Peer {
    base::Secret<32> shared;
    Salt in_salt{};
    ReplayWindow window;
    std::uint64_t next_counter = 0;
    base::Time accepted_at{};
    base::Time used_at{};
    bool can_seal = false;  // else its key is of low order
    bool has_salt = false;
    bool is_confirmed = false;
  };
  struct Unconfirmed {
    base::NodeId to;
    base::Time at{};
    base::Bytes payload;
  };
  Peer& peer(base::Time now, const base::NodeId& id, const base::crypto::DhPublic& key);
  void make_room();
  void drop_unconfirmed(const base::NodeId& peer);
  void keep(base::Time now, const base::NodeId& to, base::ByteView payload);
  [[nodiscard]] base::Secret<32> derive(const base::Secret<32>& shared, const base::NodeId& from,
                                        const base::NodeId& to, const Salt& salt) const;
  [[nodiscard]] Cookie cookie_of(std::uint64_t period, const base::NodeId& peer,
                                 const Salt& salt) const;

  base::NodeId self_;
  base::crypto::DhKey key_;
  Salt salt_;
  base::Secret<32> secret_;
  base::NodeMap<Peer> peers_;
  std::deque<Unconfirmed> unconfirmed_;  // the oldest first
  // A peer that was forgotten and comes back gets the same key: its counters begin above all that
  // were used by anybody forgotten, so that no nonce is used twice.
  std::uint64_t counter_floor_ = 0;
};

}  // namespace gossip
