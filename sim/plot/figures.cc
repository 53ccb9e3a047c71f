#include "plot/figures.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "compare/rounds.h"
#include "plot/gossip_curves.h"

namespace plot {
namespace {

using compare::Outcome;
using compare::Start;

constexpr std::uint32_t kMovesRounds = 300;   // of the moves figure: a policy not level by then
constexpr double kRumourRoundSeconds = 0.04;  // gossip::kRumorRound
constexpr std::uint32_t kTrafficFirst = 4;

std::string count_text(double value) { return tick_text(value); }

std::string percent(std::uint32_t ppm) { return number_text(ppm / 1e4, 2) + "% loss"; }

double pittel(double nodes) { return std::log2(nodes) + std::log(nodes); }

// The next power of ten above.
double decade_above(double value) { return std::pow(10.0, std::ceil(std::log10(value) - 1e-9)); }

// From `from` down by the factor `by` a round, as far as the axes go.
Guide falling(double from, double by, double low, double rounds, const char* label) {
  const double last = std::min(rounds, std::log(from / low) / std::log(by));
  return {0, from, last, from / std::pow(by, last), label};
}

}  // namespace

Chart levelling_figure(const FigureOptions& options) {
  const sim::Draws draws(options.seed);
  const compare::Loads start = compare::start_loads(options.nodes, options.start, draws);
  const auto run = [&](const char* key, std::uint32_t rounds) {
    return compare::run_rounds(*compare::find_policy(key), start, rounds, draws);
  };
  const std::uint32_t rounds = std::clamp(run("pairs", 60).rounds + 6, 12U, 66U);
  Panel variance{
      "Variance (dashed: 1/2, 1/3 a round)", {"round", 0, double(rounds), false, {}}, {}, {}, {}};
  Panel spread{"Spread (most minus least)", {"round", 0, double(rounds), false, {}}, {}, {}, {}};
  const compare::Level at_start = compare::level_of(start);
  const double low = 0.1;
  variance.y = {"log scale", low, decade_above(at_start.variance), true, {}};
  spread.y = {"log scale", 1, decade_above(at_start.spread), true, {}};
  const char* keys[] = {"triads", "pairs", "two-fresh", "diffusion-2", "mosix", "steal", "push"};
  int style = 0;
  for (const char* key : keys) {
    const Outcome outcome = run(key, rounds);
    Series one{outcome.title, style++, true, true, false, {}};
    Series other = one;
    for (std::size_t i = 0; i < outcome.curve.size(); ++i) {
      one.points.emplace_back(i, outcome.curve[i].variance);
      other.points.emplace_back(i, outcome.curve[i].spread);
    }
    variance.series.push_back(one);
    spread.series.push_back(other);
  }
  variance.guides = {falling(at_start.variance, 2, low, rounds, "1/2"),
                     falling(at_start.variance, 3, low, rounds, "1/3")};
  spread.guides = {{0, 2, double(rounds), 2, "level"}};
  Chart chart;
  chart.title = "Threes level faster than pairs";
  chart.subtitle = count_text(options.nodes) + " nodes, ten unit jobs a node on average, start " +
                   std::string(compare::start_name(options.start)) + ", seed " +
                   std::to_string(options.seed);
  chart.note =
      "Model of rounds: fresh random groups each round, information without delay. A policy's line "
      "ends when the spread is 2 or less.";
  chart.panels = {variance, spread};
  return chart;
}

Chart informed_figure(const FigureOptions& options) {
  const sim::Draws draws(options.seed);
  Panel model{"Model: each tells one a round", {"round", 0, 40, false, {}}, {}, {}, {}};
  model.y = {"share of nodes that know", 0, 1, false, {}};
  int style = 0;
  for (const std::uint32_t nodes : {1'000U, 10'000U, 100'000U}) {
    model.series.push_back(
        {count_text(nodes) + " nodes", style++, true, true, false, rumour_curve(nodes, draws)});
    const double when = pittel(nodes);
    model.guides.push_back({when, 0, when, 1, number_text(when, 1)});
  }
  const WorldSize size{options.world_nodes, options.seed, options.loss_ppm};
  const Spreading measured = watch_spreading(size);
  Panel real{
      "The protocol, real nodes", {"seconds since it was told", 0, 0.3, false, {}}, {}, {}, {}};
  real.y = model.y;
  const std::string label =
      count_text(options.world_nodes) + " real nodes, " + percent(options.loss_ppm);
  real.series.push_back({label, 3, true, true, false, measured.informed});
  const double when = pittel(options.world_nodes) * kRumourRoundSeconds;
  real.x.high = std::max(real.x.high, when * 1.15);
  real.guides.push_back({when, 0, when, 1, number_text(when, 2) + " s"});
  Chart chart;
  chart.title = "How fast news reaches everybody";
  chart.subtitle = "seed " + std::to_string(options.seed) +
                   "; left 1,000 to 100,000 nodes, one rumour each; right " +
                   count_text(options.world_nodes) + " real nodes, the mean of " +
                   count_text(measured.changes) + " changes";
  chart.note =
      "Dashed: log2 n + ln n rounds (Pittel 1987), right at 40 ms a round. The protocol tells "
      "four a round and repairs by anti-entropy what is lost.";
  chart.panels = {model, real};
  return chart;
}

Chart moves_figure(const FigureOptions& options) {
  const sim::Draws draws(options.seed);
  Panel panel{"Moves over the fewest that level", {}, {}, {}, {}};
  std::vector<Tick> names;
  std::map<int, Series> level;
  std::map<int, Series> failed;
  double most = 2;
  const auto rows = static_cast<double>(compare::policies().size() - 1);
  double row = rows;
  for (const compare::PolicyKind& kind : compare::policies()) {
    if (kind.key == "triads-rules") continue;  // does not try to level
    names.push_back({row, std::string(kind.title)});
    for (const Start start : {Start::kRandom, Start::kHalf, Start::kOne}) {
      const Outcome outcome = compare::run_rounds(
          kind, compare::start_loads(options.nodes, start, draws), kMovesRounds, draws);
      const int style = static_cast<int>(start);
      Series& series = (outcome.level_round ? level : failed)[style];
      series.points.emplace_back(outcome.moves_by_optimum(), row - 0.2 * (style - 1));
      most = std::max(most, outcome.moves_by_optimum());
    }
    row -= 1;
  }
  panel.x = {"moves / optimum (log scale)", 0.8, most * 1.3, true, {}};
  for (const double at : {1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0}) {
    if (at < panel.x.high) panel.x.ticks.push_back({at, number_text(at, 1)});
  }
  panel.y = {"", 0.4, rows + 0.6, false, names};
  for (auto* group : {&level, &failed}) {
    for (auto& [style, series] : *group) {
      series.style = style;
      series.line = false;
      series.hollow = group == &failed;
      series.label = "start " + std::string(compare::start_name(static_cast<Start>(style))) +
                     (series.hollow ? ", not level" : "");
      panel.series.push_back(series);
    }
  }
  panel.guides = {{1, 0.4, 1, rows + 0.6, ""}};
  Chart chart;
  chart.title = "What levelling costs in moves";
  chart.subtitle = count_text(options.nodes) + " nodes, ten unit jobs a node on average, seed " +
                   std::to_string(options.seed);
  chart.note = "Hollow: spread still above 2 after " + std::to_string(kMovesRounds) +
               " rounds. Below 1: level to a spread of 2, which takes fewer moves than to 1. "
               "What is missing has hardly moved a job by then.";
  chart.panels = {panel};
  chart.left_margin = 190;
  chart.panel_height = 420;
  return chart;
}

Chart traffic_figure(const FigureOptions& options) {
  Panel datagrams{
      "Datagrams per node and second", {"nodes (log scale)", 4, 8, true, {}}, {}, {}, {}};
  Panel bytes{"Bytes per node and second", {"nodes (log scale)", 4, 8, true, {}}, {}, {}, {}};
  double most_datagrams = 1;
  double most_bytes = 500;
  int style = 0;
  std::vector<Tick> sizes;
  for (std::uint32_t n = kTrafficFirst; n <= options.world_nodes; n *= 2) {
    sizes.push_back({double(n), std::to_string(n)});
  }
  for (const bool busy : {false, true}) {
    const std::string label = busy ? "two jobs a second come" : "idle";
    Series one{label, style++, true, true, false, {}};
    Series other = one;
    for (std::uint32_t n = kTrafficFirst; n <= options.world_nodes; n *= 2) {
      const Traffic traffic = measure_traffic({n, options.seed, options.loss_ppm}, busy);
      one.points.emplace_back(n, traffic.datagrams);
      other.points.emplace_back(n, traffic.bytes);
      most_datagrams = std::max(most_datagrams, traffic.datagrams);
      most_bytes = std::max(most_bytes, traffic.bytes);
    }
    datagrams.series.push_back(one);
    bytes.series.push_back(other);
  }
  for (Panel* panel : {&datagrams, &bytes}) {
    panel->x.ticks = sizes;
    panel->x.high = std::max(sizes.back().at, 8.0) * 1.1;
    panel->x.low = kTrafficFirst / 1.1;
  }
  datagrams.y = {"", 0, most_datagrams * 1.15, false, {}};
  bytes.y = {"", 0, most_bytes * 1.15, false, {}};
  bytes.guides = {{bytes.x.low, 450, bytes.x.high, 450, "aim when idle: 450"}};
  Chart chart;
  chart.title = "What gossip costs";
  chart.subtitle = std::to_string(kTrafficFirst) + " to " + count_text(options.world_nodes) +
                   " real nodes, " + percent(options.loss_ppm) + ", seed " +
                   std::to_string(options.seed);
  chart.note = "Sent UDP payload of a settled mesh over 20 simulated seconds, encryption included.";
  chart.panels = {datagrams, bytes};
  return chart;
}

Chart age_figure(const FigureOptions& options) {
  Panel panel{"Share of view entries behind by more than", {}, {}, {}, {}};
  panel.x = {"seconds (log scale)", 0.002, 10, true, {}};
  panel.y = {"log scale", 1e-5, 1, true, {}};
  int style = 0;
  std::string changes;
  for (const std::uint32_t loss : {0U, 10'000U, 100'000U, 250'000U}) {
    const Spreading seen = watch_spreading({options.world_nodes, options.seed, loss});
    panel.series.push_back({percent(loss), style++, true, true, false, seen.behind});
    changes = count_text(seen.changes);
  }
  Chart chart;
  chart.title = "How old is what a node believes";
  chart.subtitle = count_text(options.world_nodes) + " real nodes, two jobs a second come, seed " +
                   std::to_string(options.seed) + ", " + changes + " changes followed";
  chart.note =
      "A view entry is behind while its origin has told something newer that has not arrived. "
      "Who does not know an origin at all counts as behind. All views are looked at every 2 ms for "
      "21 simulated seconds.";
  chart.panels = {panel};
  return chart;
}

}  // namespace plot
