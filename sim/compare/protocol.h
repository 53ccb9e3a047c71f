// The protocol itself beside the round models: node::Node in sim::World, with gossip, load averages
// that lag, elections, handovers that take their time and a lossy network.
//
// Rounds are formation rounds: the triads that the busiest node has sat in. A node holds one seat
// at a time, so that is how many times the mesh could have regrouped.
//
// Same machines and thresholds as triads-rules (kNodeCpus), so the same end: nobody PLUS while a
// MINUS has room. That leaves a spread of up to 8 jobs; the rules relieve, they do not level.
#pragma once

#include "base/time.h"
#include "compare/rounds.h"

namespace compare {

inline constexpr std::uint32_t kProtocolNodesMax = 256;  // events grow with the square of the nodes
inline constexpr base::Duration kQuiet = std::chrono::seconds(240);  // without a move: at rest

struct ProtocolOptions {
  std::uint32_t nodes = 30;
  std::uint64_t seed = 1;
  Start start = Start::kRandom;
  std::uint32_t loss_ppm = 10'000;
  base::Duration seconds_max = std::chrono::seconds(3600);  // simulated
};

[[nodiscard]] Outcome run_protocol(const ProtocolOptions& options);

}  // namespace compare
