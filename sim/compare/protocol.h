// The protocol itself beside the round models: node::Node in sim::World, with gossip, load averages
// that lag, elections, handovers that take their time and a lossy network.
//
// Rounds are formation rounds: the triads that the busiest node has sat in. A node holds one seat
// at a time, so that is how many times the mesh could have regrouped.
//
// Same machines and thresholds as triads-rules (kNodeCpus), so the same kind of end: nobody is PLUS
// while somebody is MINUS. The rules relieve, they do not level: once every node has 5 jobs or more
// (0.3 of 14 CPUs are 4.2) there is no sink by rule, and who is PLUS then stays so.
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
