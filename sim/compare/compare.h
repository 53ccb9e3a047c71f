// tern-sim compare: triads beside the other ways to balance, from the same start.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compare/mesh.h"

namespace compare {

inline constexpr std::uint32_t kNodesMin = 3;
inline constexpr std::uint32_t kNodesMax = 1'000'000;

struct CompareOptions {
  std::uint32_t nodes = 9999;
  std::uint64_t seed = 1;
  Start start = Start::kRandom;
  std::uint32_t rounds = 1000;        // a policy that is not level by then has failed
  std::vector<std::string> policies;  // keys (policy.h); empty: all
  // Nodes of the world that the protocol runs in, at most kProtocolNodesMax; 0: none. Minutes of
  // simulated time, so the default is small.
  std::uint32_t protocol_nodes = 30;
  std::uint32_t loss_ppm = 10'000;
  bool json = false;  // one object a line, one line a policy
};

[[nodiscard]] std::string_view start_name(Start start);  // random, half, one
[[nodiscard]] std::optional<Start> start_from(std::string_view name);

// Writes as it goes. Returns an exit code of cli.md: 2 with a sentence on `errors` for options that
// are no good. base::crypto::init() has been called.
int run_compare(const CompareOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace compare
