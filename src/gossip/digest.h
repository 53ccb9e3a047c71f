// A digest: what a node says about itself, signed by it (design.md §5).
//
//   offset size  field        since  meaning
//        0    1  format       1      protocol version of its origin
//        1   16  mesh         1
//       17   16  node         1      the origin
//       33    8  incarnation  1      little-endian; starts of the node, counted by its store
//       41    8  sequence     1      little-endian; digests of this incarnation, from 1
//       49    n  body                MessagePack, its form depends on `format`
//      end   64  signature    1      Ed25519 over ("tern digest", all before)
//
// Head and signature never change with the version, so that a node can order, verify and relay
// digests of versions that it cannot read. The head is outside the body so that what is not newer
// is dropped before anything is verified or decoded. At most kDigestSizeMax bytes.
//
//   body of format 1 = array:
//     effective ratio  u64    milli, <= 10^9     jobs running  u64    <= 10^6
//     ratio            u64    milli, <= 10^9     parked        u64    <= 10^6
//     trit             i64    -1, 0, 1           seat          array  empty or [triad, role, term]
//     cpus             u64    milli, <= 10^9     power         u64    Power
//     memory total     u64    bytes              capabilities  u64    bitmask
//     memory free      u64    bytes              accepts jobs  bool
//     left             bool   the node is leaving
//     addresses        array  <= 4 of bin 18     version       text   <= 32, of the program
//
// A digest's bytes are kept as they came and shared, never changed: relaying sends just those.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/endpoint.h"
#include "base/ids.h"
#include "gossip/limits.h"

namespace gossip {

inline constexpr std::uint8_t kDigestFormat = 1;
using SharedBytes = std::shared_ptr<const base::Bytes>;

enum class SeatRole : std::uint8_t { kSource, kCoordinator, kSink };
enum class Power : std::uint8_t { kUnknown, kMains, kBattery, kBatteryLow };

struct Seat {
  base::TriadId triad;
  SeatRole role = SeatRole::kSource;
  base::Term term;
  friend bool operator==(const Seat&, const Seat&) = default;
};

struct DigestFields {
  std::int64_t effective_milli = 0;  // not negative
  std::int64_t ratio_milli = 0;
  int trit = 0;
  std::int64_t cpus_milli = 1000;
  std::uint64_t mem_total_bytes = 0;
  std::uint64_t mem_free_bytes = 0;
  std::uint32_t jobs = 0;
  std::uint32_t parked = 0;
  std::optional<Seat> seat;
  Power power = Power::kUnknown;
  std::uint64_t capabilities = 0;
  bool accepts_jobs = false;
  bool left = false;
  std::vector<base::Endpoint> addresses;  // where to reach it, best first; at most kAddressesMax
  std::string version;
  friend bool operator==(const DigestFields&, const DigestFields&) = default;
};

struct DigestHead {
  std::uint8_t format = kDigestFormat;
  base::MeshId mesh;
  base::NodeId node;
  base::Incarnation incarnation;
  base::Sequence sequence;

  [[nodiscard]] auto age() const { return std::pair(incarnation, sequence); }
};

// Whether `now` differs enough from what was last told (design.md §5: trit, seat, jobs, or the
// ratio by 0.05; and what decides whether a node is fit: free memory, consent, power, addresses).
[[nodiscard]] bool worth_telling(const DigestFields& told, const DigestFields& now);

// Legal only with fields within the limits above and the key of head.node.
[[nodiscard]] SharedBytes make_digest(const DigestHead& head, const DigestFields& fields,
                                      const base::crypto::SignKey& key);
// Reads the head; nothing is verified.
[[nodiscard]] base::Result<DigestHead> peek_digest(base::ByteView bytes);
[[nodiscard]] bool verify_digest(base::ByteView bytes, const base::crypto::SignPublic& key);
// Legal after verify_digest(). kUnsupported: a newer format, to be relayed undecoded.
[[nodiscard]] base::Result<DigestFields> decode_digest(base::ByteView bytes);

}  // namespace gossip
