// A seed's scenario: its machines, its work and its faults, all drawn from the seed.
#pragma once

#include "sim/scenario.h"

namespace sim {

enum class FaultMode : std::uint8_t { kNone, kSome, kSwarm };

struct Wanted {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 0;  // 0: drawn, 2 to 9
  base::Duration faulty{};  // zero: drawn
  FaultMode faults = FaultMode::kSwarm;
};

// kSome: a little of the common ones (loss, duplicates, crashes, failing dumps). kSwarm: the subset
// of kinds and the strength of each are drawn (Groce et al. 2012, "Swarm testing").
[[nodiscard]] Scenario generate(const Wanted& wanted);

}  // namespace sim
