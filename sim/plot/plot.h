// tern-sim plot: one figure as SVG.
//
//   name       shows                                                              from
//   levelling  variance and spread by round, with the lines of 1/2 and 1/3        round models
//   informed   share of the nodes that know a change, with log2 n + ln n          model and a world
//   moves      moves over the optimum, for each policy and start                  round models
//   traffic    datagrams and bytes per node and second against n                  worlds
//   age        how far views are behind, by loss                                  worlds
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "plot/figures.h"

namespace plot {

inline constexpr std::uint32_t kWorldNodesMin = 4;
inline constexpr std::uint32_t kWorldNodesMax = 256;  // events grow with the square of the nodes

struct PlotOptions {
  std::string figure = "levelling";
  FigureOptions of;
};

[[nodiscard]] std::vector<std::string_view> figure_names();
// Writes the SVG. Returns an exit code of cli.md: 2 with a sentence on `errors` for options that
// are no good. base::crypto::init() has been called.
int run_plot(const PlotOptions& options, std::ostream& out, std::ostream& errors);

}  // namespace plot
