// How news spreads: in a model of rounds for large meshes, and in a world of real nodes.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sim/draw.h"

namespace plot {

using Curve = std::vector<std::pair<double, double>>;

// The model: who knows tells one random node a round, until all know. Share of who know, by round.
// That takes log2 n + ln n rounds with high probability (Pittel 1987).
[[nodiscard]] Curve rumour_curve(std::uint32_t nodes, const sim::Draws& draws);

struct WorldSize {
  std::uint32_t nodes = 32;
  std::uint64_t seed = 1;
  std::uint32_t loss_ppm = 10'000;
};

struct Spreading {
  Curve informed;      // mean share of who know a change, by seconds since it was told
  Curve behind;        // share of (viewer, origin) that are behind by more than so many seconds
  double changes = 0;  // that were followed
};
// Jobs come to random nodes of a settled mesh, a few a second, so that digests change; every view
// is looked at every 2 ms.
[[nodiscard]] Spreading watch_spreading(const WorldSize& size);

struct Traffic {
  double datagrams = 0;  // a node and second
  double bytes = 0;
};
// Of a settled mesh. Busy: jobs as in watch_spreading.
[[nodiscard]] Traffic measure_traffic(const WorldSize& size, bool busy);

}  // namespace plot
