#include "plot/plot.h"

#include <array>
#include <ostream>

namespace plot {
namespace {

constexpr int kWrongUsage = 2;

struct Figure {
  std::string_view name;
  Chart (*draw)(const FigureOptions&);
};
constexpr std::array<Figure, 5> kFigures = {{
    {"levelling", levelling_figure},
    {"informed", informed_figure},
    {"moves", moves_figure},
    {"traffic", traffic_figure},
    {"age", age_figure},
}};

std::string range_text(const char* what, std::uint32_t low, std::uint32_t high) {
  return std::string(what) + ": " + std::to_string(low) + " to " + std::to_string(high);
}

}  // namespace

std::vector<std::string_view> figure_names() {
  std::vector<std::string_view> names;
  for (const Figure& figure : kFigures) names.push_back(figure.name);
  return names;
}

int run_plot(const PlotOptions& options, std::ostream& out, std::ostream& errors) {
  const FigureOptions& of = options.of;
  std::string bad;
  if (of.nodes < compare::kNodesMin || of.nodes > compare::kNodesMax) {
    bad = range_text("nodes", compare::kNodesMin, compare::kNodesMax);
  } else if (of.world_nodes < kWorldNodesMin || of.world_nodes > kWorldNodesMax) {
    bad = range_text("nodes of a world", kWorldNodesMin, kWorldNodesMax);
  } else if (of.loss_ppm > 1'000'000) {
    bad = "loss: at most all of them";
  }
  for (const Figure& figure : kFigures) {
    if (figure.name != options.figure || !bad.empty()) continue;
    out << render(figure.draw(of));
    return 0;
  }
  if (bad.empty()) {
    bad = "no figure is called " + options.figure + ":";
    for (const Figure& figure : kFigures) bad += " " + std::string(figure.name);
  }
  errors << bad << "\n";
  return kWrongUsage;
}

}  // namespace plot
