// What gossip did not take, by reason; for `tern metrics`, `tern status` and tests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gossip {

enum class Drop : std::uint8_t {
  kMalformed,      // not of any known form
  kUnknownSender,  // nobody whose certificate is known here; nothing was parsed
  kForged,         // a seal or a signature that does not hold
  kReplayed,       // a datagram that was taken before, or is older than the window
  kUnproven,       // authentic, but its sender has not yet answered a challenge
  kForeign,        // of another mesh
  kStale,          // a digest that is not newer than what is known
  kExpired,        // a certificate out of its time
  kConflict,       // two digests of one node with one number: an identity used twice
  kFull,           // no room
};
inline constexpr std::size_t kDropKinds = 10;

inline constexpr std::array<std::string_view, kDropKinds> kDropNames = {
    "malformed", "unknown_sender", "forged",  "replayed", "unproven",
    "foreign",   "stale",          "expired", "conflict", "full"};

struct Counters {
  std::array<std::uint64_t, kDropKinds> dropped{};
  std::uint64_t datagrams_in = 0;
  std::uint64_t datagrams_out = 0;
  std::uint64_t bytes_in = 0;  // UDP payload
  std::uint64_t bytes_out = 0;
  std::uint64_t digests_taken = 0;
  std::uint64_t digests_made = 0;

  void drop(Drop why) { ++dropped[static_cast<std::size_t>(why)]; }
  [[nodiscard]] std::uint64_t of(Drop why) const { return dropped[static_cast<std::size_t>(why)]; }
};

}  // namespace gossip
