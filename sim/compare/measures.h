// How level a mesh of equal nodes is, and how few moves could have levelled it.
#pragma once

#include <cstdint>

#include "compare/mesh.h"

namespace compare {

struct Level {
  std::uint32_t spread = 0;   // most minus least jobs of a node
  double variance = 0;        // of the jobs of a node
  double makespan_ratio = 1;  // most jobs of a node / ceil(jobs / nodes); 1: nothing better
  double coefficient_of_variation = 0;  // standard deviation / mean
  double jain_index = 1;  // (sum x)^2 / (n sum x^2): 1 level, 1/n all on one (Jain 1984)
};

[[nodiscard]] Level level_of(const Loads& loads);
// No way to a spread of `spread` or less has fewer moves. spread 0 counts as 1 where the jobs do
// not divide evenly. Proof: a final state with least L lies in [L, L + spread], so every job above
// that and every one missing below it moves; and as many moves are enough.
[[nodiscard]] std::uint64_t least_moves(const Loads& loads, std::uint32_t spread);

}  // namespace compare
