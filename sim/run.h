// One scenario run to its end and judged: the faulty phase, then, where the scenario has one, a
// second phase without new faults in which a core of nodes must come to rest (sim/settled.h).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/event_queue.h"
#include "sim/faults.h"
#include "sim/promises.h"
#include "sim/scenario.h"
#include "sim/world.h"

namespace sim {

struct Progress {
  base::Duration simulated{};
  base::Duration whole{};
  std::uint64_t events = 0;
  double wall_seconds = 0;
};

struct RunOptions {
  QueueKind queue = QueueKind::kHeap;
  base::Log* log = nullptr;
  bool keep_history = true;  // the last events of the nodes that broke a promise
  std::function<void(const Progress&)> progress = nullptr;  // about once a second of a long run
  std::function<bool()> stopped = nullptr;  // asked often; true ends the run where it is
};

struct Outcome {
  std::uint64_t seed = 0;
  std::uint32_t nodes = 0;
  WorldCounts counts;
  FaultCounts faults{};
  std::string trace_hash;
  std::vector<Violation> violations;
  std::vector<std::string> unmet;                             // expectations, as sentences
  std::map<std::uint32_t, std::vector<std::string>> history;  // by host
  base::Duration simulated{};
  bool cut_off = false;  // by RunOptions::stopped: what comes later was not looked at
  double wall_seconds = 0;
  double setup_seconds = 0;  // of these: until the world stood
  // At the end, over the nodes that are up; ratios are runnable tasks per CPU.
  double spread = 0;  // highest minus lowest
  double coefficient_of_variation = 0;
  double jain_index = 1;
  std::uint64_t optimal_moves = 0;         // jobs that had to leave where they started, at least
  base::Duration converged{};              // the last time a copy came, went or moved
  std::uint64_t state_bytes_per_node = 0;  // of the heap, in that world
  std::uint64_t peak_bytes = 0;  // of the whole process, where it ran only this world; 0: unknown

  [[nodiscard]] bool failed() const { return !violations.empty() || !unmet.empty(); }
};

// The figures that `expect` may name: commits, ended, lost, violations, spread, ...
[[nodiscard]] std::map<std::string, double> figures_of(const Outcome& outcome);
[[nodiscard]] Outcome run_scenario(const Scenario& scenario, const RunOptions& options);

}  // namespace sim
