#include "sim/run.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "probe/trit.h"
#include "sim/at_rest.h"
#include "sim/settled.h"

namespace sim {
namespace {

constexpr std::uint32_t kOutsiderNodesMin = 4;
constexpr std::size_t kHistoryHostsMax = 6;
constexpr base::Duration kPiece = std::chrono::milliseconds(100);  // between looks at the clock
constexpr std::chrono::seconds kToldEvery{1};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

std::uint64_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Who stays broken when the faults stop: in every third world that is large enough, one node.
std::vector<std::uint32_t> outsiders_of(const Scenario& scenario) {
  const std::uint64_t draw = Draws(scenario.seed).at(Stream::kPlan, kNobody, 5000);
  if (scenario.nodes < kOutsiderNodesMin || scenario.faults.empty() || draw % 3 != 0) return {};
  return {static_cast<std::uint32_t>((draw >> 8) % scenario.nodes)};
}

void run_to(World& world, base::Duration end, Clock::time_point began, const RunOptions& options) {
  if (!options.progress && !options.stopped) return world.run_until(end);
  auto told = Clock::now();
  while (world.elapsed() < end && world.promises().violations().empty()) {
    if (options.stopped && options.stopped()) return;
    world.run_until(std::min(end, world.elapsed() + kPiece));
    if (!options.progress || Clock::now() - told < kToldEvery) continue;
    told = Clock::now();
    options.progress({world.elapsed(), world.scenario().faulty + world.scenario().settle,
                      world.counts().events, seconds_since(began)});
  }
}

void measure_balance(const World& world, Outcome& outcome) {
  double sum = 0;
  double squares = 0;
  double low = INFINITY;
  double high = 0;
  double count = 0;
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    if (world.node(host) == nullptr || world.is_clone(host)) continue;
    const double ratio = static_cast<double>(world.machine(host).settled_ratio_micros()) / 1e6;
    sum += ratio;
    squares += ratio * ratio;
    low = std::min(low, ratio);
    high = std::max(high, ratio);
    ++count;
  }
  if (count == 0 || sum == 0) return;
  const double mean = sum / count;
  outcome.spread = high - low;
  outcome.coefficient_of_variation = std::sqrt(std::max(squares / count - mean * mean, 0.0)) / mean;
  outcome.jain_index = sum * sum / (count * squares);
}

// Jobs that live at the end, put back where they were started: how many must leave, the largest
// first, until no node is above 0.8. No way to balance moves fewer; room is not asked for.
std::uint64_t optimal_moves(const World& world) {
  std::map<std::uint32_t, std::vector<std::int64_t>> by_node;
  for (const JobTruth& job : world.jobs()) {
    if (job.begun && !job.ended) by_node[job.plan.node].push_back(job.plan.threads);
  }
  std::uint64_t moves = 0;
  for (auto& [node, threads] : by_node) {
    const NodeShape& shape = world.machine(node).shape();
    std::sort(threads.begin(), threads.end());
    std::int64_t tasks = shape.other_load_micros / 1'000'000;
    for (const std::int64_t one : threads) tasks += one;
    while (!threads.empty() &&
           tasks * 1'000'000 * 1000 / shape.cpus_millis > probe::kPlusAboveMicros) {
      tasks -= threads.back();
      threads.pop_back();
      ++moves;
    }
  }
  return moves;
}

}  // namespace

std::map<std::string, double> figures_of(const Outcome& o) {
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  return {{"commits", number(o.counts.commits)},
          {"ended", number(o.counts.jobs_ended)},
          {"lost", number(o.counts.jobs_lost)},
          {"events", number(o.counts.events)},
          {"ping-pongs", number(o.counts.ping_pongs)},
          {"optimal-moves", number(o.optimal_moves)},
          {"looks", number(o.counts.looks)},
          {"downs", number(o.counts.downs)},
          {"resolves", number(o.counts.resolves)},
          {"throttles", number(o.counts.throttles)},
          {"drains", number(o.counts.drains)},
          {"violations", number(o.violations.size())},
          {"spread", o.spread},
          {"jain-index", o.jain_index},
          {"coefficient-of-variation", o.coefficient_of_variation}};
}

Outcome run_scenario(const Scenario& scenario, const RunOptions& options) {
  Outcome outcome;
  outcome.seed = scenario.seed;
  outcome.nodes = scenario.nodes;
  const auto began = Clock::now();
  const std::uint64_t before = heap_bytes();
  World world(scenario, options.queue, options.log);
  outcome.setup_seconds = seconds_since(began);
  const auto goes_on = [&] {
    const bool stopped = options.stopped && options.stopped();
    return !stopped && world.promises().violations().empty();
  };
  run_to(world, scenario.faulty, began, options);
  if (scenario.settle.count() > 0 && goes_on()) {
    world.end_faults(outsiders_of(scenario));
    if (scenario.settle >= kSettleMin) {
      run_to(world, scenario.faulty + kViewsAgree, began, options);
      if (goes_on()) check_views(world);
    }
    run_to(world, scenario.faulty + scenario.settle, began, options);
    if (scenario.settle >= kSettleMin && goes_on()) {
      check_settled(world);
      check_at_rest(world);
    }
  }
  outcome.cut_off =
      world.promises().violations().empty() && world.elapsed() < scenario.faulty + scenario.settle;
  outcome.state_bytes_per_node = (heap_bytes() - std::min(before, heap_bytes())) / scenario.nodes;
  outcome.wall_seconds = seconds_since(began);
  outcome.counts = world.counts();
  outcome.faults = world.faults();
  outcome.trace_hash = world.trace().hex();
  outcome.violations = world.promises().violations();
  outcome.simulated = world.elapsed();
  outcome.converged = std::max(world.last_change() - kWorldBegins, base::Duration(0));
  measure_balance(world, outcome);
  outcome.optimal_moves = optimal_moves(world);
  for (const Violation& violation : outcome.violations) {
    if (!options.keep_history || outcome.history.size() >= kHistoryHostsMax) break;
    outcome.history[violation.node] = world.last_events(violation.node);
  }
  if (outcome.cut_off) return outcome;
  const auto figures = figures_of(outcome);
  for (const Expectation& one : scenario.expectations) {
    const auto found = figures.find(one.what);
    if (found == figures.end()) {
      outcome.unmet.push_back("there is no figure \"" + one.what + "\"");
      continue;
    }
    const double value = found->second;
    const bool met = one.relation == ">="   ? value >= one.value
                     : one.relation == "<=" ? value <= one.value
                                            : value == one.value;
    if (!met) {
      outcome.unmet.push_back(one.what + " is " + std::to_string(value) + ", not " + one.relation +
                              " " + std::to_string(one.value));
    }
  }
  return outcome;
}

}  // namespace sim
