// A lying member's datagrams: it has its own keys, so it can say under its own seal whatever it
// likes. What it cannot do is sign for others; the promises "digest" and "stranger" see whether
// anybody takes it nevertheless.
#pragma once

#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"
#include "identity/keys.h"
#include "sim/draw.h"

namespace sim {

struct Lies {
  bool digests = false;    // alters what it relays
  bool stale = false;      // tells old digests again
  bool strangers = false;  // vouches for a member that the root does not know
  bool deaths = false;     // reports the living
};

class Liar {
 public:
  // `stranger`: a certificate and a digest, as messages one behind the other.
  explicit Liar(base::Bytes stranger) : stranger_(std::move(stranger)) {}

  // The liar's own datagram to `to`, with lies in it, under the same salt and counter. None: there
  // was nothing to lie about, or it is not for `to`.
  [[nodiscard]] std::optional<base::Bytes> alter(const identity::NodeKeys& self,
                                                 const base::NodeId& to,
                                                 const base::crypto::DhPublic& to_key,
                                                 base::ByteView packet, const Lies& lies,
                                                 Dice& dice);

 private:
  [[nodiscard]] bool alter_payload(base::Bytes& payload, const base::NodeId& self, const Lies& lies,
                                   Dice& dice);

  base::Bytes stranger_;
  std::map<base::NodeId, base::Bytes> old_;  // the first digest of each origin
};

// A certificate whose signature does not hold, and a digest of that node.
[[nodiscard]] base::Bytes make_stranger(const identity::NodeKeys& keys,
                                        const base::crypto::SignKey& root, base::WallTime now);

}  // namespace sim
