// Counter-based randomness: each number is a pure function of (seed, stream, node, ordinal), so
// that taking one fault away does not shift what any other draw gives (Salmon et al. 2011,
// "Parallel random numbers: as easy as 1, 2, 3"; the mixing here is that of splitmix64, applied to
// each word).
//
// A stream is what a draw decides; `node` is whose; `ordinal` counts that node's draws of the
// stream.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace sim {

enum class Stream : std::uint8_t {
  kWorld,    // what a world looks like: machines, jobs, schedules
  kPlan,     // which faults a seed has, and how strong
  kKeys,     // identities
  kEntropy,  // what a daemon draws at start
  kLatency,  // of one datagram
  kMessage,  // of one message over a connection
  kDisk,     // of one batch
  kHost,     // of one host operation
  kFault,    // whether a fault of a kind happens to one thing; one stream for each kind follows
  kFaultLast = kFault + 63,
  kPolicy,  // choices of the policies that triads are compared with
  kPeople,  // who looks, stops a daemon or resolves a job: one number for each kind
  kCount,
};

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}

  [[nodiscard]] std::uint64_t at(Stream stream, std::uint64_t node, std::uint64_t ordinal) const {
    return nth(root(stream, node), ordinal);
  }
  // What all draws of one node and stream have in common, and one of them.
  [[nodiscard]] std::uint64_t root(Stream stream, std::uint64_t node) const {
    std::uint64_t x = mix(seed_ + 0x9e3779b97f4a7c15ULL);
    x = mix(x ^ ((static_cast<std::uint64_t>(stream) + 1) * 0xd1b54a32d192ed03ULL));
    return mix(x ^ (node + 1) * 0x8cb92ba72f3d8dd7ULL);
  }
  [[nodiscard]] static std::uint64_t nth(std::uint64_t root, std::uint64_t ordinal) {
    return mix(root ^ (ordinal + 1) * 0x9e3779b97f4a7c15ULL);
  }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }

  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }

 private:
  std::uint64_t seed_;
};

// One node's next draws of one stream.
class Dice {
 public:
  Dice(const Draws& draws, Stream stream, std::uint64_t node) : root_(draws.root(stream, node)) {}

  [[nodiscard]] std::uint64_t next() { return Draws::nth(root_, ordinal_++); }
  // Uniform in [0, bound) up to 2^-32 (fixed point, no division); bound in [1, 2^32].
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return ((next() >> 32) * bound) >> 32; }
  [[nodiscard]] bool chance_ppm(std::uint64_t ppm) { return below(1'000'000) < ppm; }
  [[nodiscard]] base::Duration between(base::Duration low, base::Duration high) {
    if (high <= low) return low;
    const auto span = static_cast<std::uint64_t>((high - low).count()) + 1;
    return low + base::Duration(static_cast<std::int64_t>(next() % span));
  }
  [[nodiscard]] std::uint64_t ordinal() const { return ordinal_; }

 private:
  std::uint64_t root_;
  std::uint64_t ordinal_ = 0;
};

}  // namespace sim
