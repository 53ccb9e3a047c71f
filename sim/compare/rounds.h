// One policy from a start until it is level, and what that took.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compare/measures.h"
#include "compare/policy.h"

namespace compare {

inline constexpr std::uint32_t kLevelSpread = 2;  // a mesh counts as level (anchors.md)

struct Point {  // after a round; the first one before the first round
  std::uint32_t spread = 0;
  double variance = 0;
  std::uint64_t moves = 0;
};

struct Outcome {
  std::string key;
  std::string title;
  std::uint32_t nodes = 0;
  std::uint64_t jobs = 0;
  std::optional<std::uint32_t> level_round;  // the first with a spread <= kLevelSpread
  std::uint32_t rounds = 0;                  // that were run
  bool content = false;                      // its own rules ask for nothing more at the end
  Level level;                               // at the end
  std::uint64_t moves = 0;
  std::uint64_t least_moves = 0;    // to a spread of at most kLevelSpread
  std::uint64_t optimal_moves = 0;  // to a spread of at most 1
  std::uint64_t jobs_moved = 0;
  std::uint32_t most_moves = 0;  // of one job
  std::uint64_t ping_pongs = 0;
  std::vector<Point> curve;  // of what the policy levels: triads-virtual's are the IOUs' levels
  std::optional<double> seconds;  // simulated; the protocol only

  [[nodiscard]] double moves_by_optimum() const {
    return optimal_moves == 0 ? 1 : static_cast<double>(moves) / static_cast<double>(optimal_moves);
  }
};

// Ends when level, when the policy is content, or after `rounds_max`.
[[nodiscard]] Outcome run_rounds(const PolicyKind& kind, const Loads& start,
                                 std::uint32_t rounds_max, const sim::Draws& draws);

}  // namespace compare
