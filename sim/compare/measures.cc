#include "compare/measures.h"

#include <algorithm>
#include <cmath>

namespace compare {
namespace {

std::uint64_t sum_of(const Loads& loads) {
  std::uint64_t sum = 0;
  for (const std::uint32_t load : loads) sum += load;
  return sum;
}

}  // namespace

Level level_of(const Loads& loads) {
  const auto [least, most] = std::minmax_element(loads.begin(), loads.end());
  const auto nodes = static_cast<double>(loads.size());
  const std::uint64_t sum = sum_of(loads);
  Level level;
  level.spread = *most - *least;
  if (sum == 0) return level;
  const double mean = static_cast<double>(sum) / nodes;
  double squares = 0;  // of the distances to the mean: sums of squares themselves would cancel
  for (const std::uint32_t load : loads) squares += (load - mean) * (load - mean);
  level.variance = squares / nodes;
  const std::uint64_t ceiling = (sum + loads.size() - 1) / loads.size();
  level.makespan_ratio = static_cast<double>(*most) / static_cast<double>(ceiling);
  level.coefficient_of_variation = std::sqrt(level.variance) / mean;
  level.jain_index = mean * mean / (mean * mean + level.variance);
  return level;
}

std::uint64_t least_moves(const Loads& loads, std::uint32_t spread) {
  const std::uint64_t sum = sum_of(loads);
  const std::uint64_t floor = sum / loads.size();
  const std::uint64_t wide = std::max<std::uint64_t>(spread, sum % loads.size() == 0 ? 0 : 1);
  std::uint64_t best = UINT64_MAX;
  for (std::uint64_t low = floor >= wide ? floor - wide : 0; low <= floor; ++low) {
    if ((low + wide) * loads.size() < sum) continue;  // there is no such final state
    std::uint64_t above = 0;
    std::uint64_t below = 0;
    for (const std::uint64_t load : loads) {
      above += load > low + wide ? load - low - wide : 0;
      below += load < low ? low - load : 0;
    }
    best = std::min(best, std::max(above, below));
  }
  return best;
}

}  // namespace compare
