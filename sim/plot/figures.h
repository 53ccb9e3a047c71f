// The figures that tern-sim plot knows, each from runs of its own.
#pragma once

#include "compare/compare.h"
#include "plot/svg.h"

namespace plot {

struct FigureOptions {
  std::uint32_t nodes = 9999;  // of the round models
  std::uint64_t seed = 1;
  compare::Start start = compare::Start::kHalf;
  std::uint32_t world_nodes = 32;  // of worlds with real nodes
  std::uint32_t loss_ppm = 10'000;
};

[[nodiscard]] Chart levelling_figure(const FigureOptions& options);
[[nodiscard]] Chart informed_figure(const FigureOptions& options);
[[nodiscard]] Chart moves_figure(const FigureOptions& options);
[[nodiscard]] Chart traffic_figure(const FigureOptions& options);
[[nodiscard]] Chart age_figure(const FigureOptions& options);

}  // namespace plot
