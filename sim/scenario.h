// A world, told completely: what a seed draws, what a person writes, what shrinking leaves. The
// simulator runs nothing but scenarios; `--seed` is a way to draw one.
//
// As text (sim/scenario_text.h), one thing a line, `#` begins a comment:
//
//   seed 42                                    of every draw that the text does not fix
//   nodes 3
//   starts 1                                   all nodes within so many seconds
//   seconds 300                                with faults; then
//   settle 200                                 without new ones (0: no second phase)
//   crypto fast|real
//   cpus 4 | node 2 cpus 1.5 memory 2G load 0.5   of all, or of one; load: tasks that are no jobs
//   latency 200us 5ms                          least and typical way of a packet
//   rate loss 0.05                             a fault's probability (sim/faults.h)
//   job at 5s on 0 threads 2 work 300s memory 100M output 50
//   fault at 30s crash node 1 for 10s [other 2] [part 0.4]
//   person at 20s migrate 0 [to 2] | kill 0 | resolve 0 | ps on 2 | logs 0 on 2 | down on 2 for 9s
//   person at 20s park 0 | wake 0 | throttle 0 [percent 50] | drain on 2 for 20s
//   expect commits >= 1                        at the end (names: sim/summary.h)
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "sim/faults.h"

namespace sim {

inline constexpr std::uint32_t kNodesMax = 1'000'000;
inline constexpr std::uint32_t kNobody = UINT32_MAX;

struct NodeShape {
  std::int64_t cpus_millis = 4000;
  std::int64_t memory_bytes = 8LL << 30;
  std::int64_t other_load_micros = 0;  // runnable tasks that are no jobs
  friend bool operator==(const NodeShape&, const NodeShape&) = default;
};

struct JobPlan {
  base::Duration at{};
  std::uint32_t node = 0;
  std::int64_t threads = 1;  // runnable tasks while it has CPUs
  base::Duration work{};     // CPU time until it ends by itself; zero: never
  std::int64_t memory_bytes = 64 << 20;
  std::int64_t output_per_second = 0;  // bytes for each second of CPU time
  friend bool operator==(const JobPlan&, const JobPlan&) = default;
};

struct FaultPlan {
  base::Duration at{};
  Fault fault = Fault::kCrash;
  std::uint32_t node = kNobody;
  base::Duration length{};
  std::uint32_t part_ppm = 0;  // kPartition, kOneWay: how many of the nodes
  std::uint64_t salt = 0;      // which ones
  friend bool operator==(const FaultPlan&, const FaultPlan&) = default;
};

struct PersonPlan {
  enum class Verb : std::uint8_t {
    kMigrate,
    kKill,
    kResolve,
    kPs,
    kLogs,
    kDown,
    kPark,
    kWake,
    kThrottle,
    kDrain,
  };
  base::Duration at{};
  Verb verb = Verb::kMigrate;
  std::uint32_t job = 0;       // index into jobs; 0 where names_job() is false
  std::uint32_t to = kNobody;  // kMigrate: none is the best one; where names_node(): who is asked
  base::Duration length{};     // kDown: how long the daemon stays away; kDrain: until it is lifted
  std::optional<std::uint32_t> percent{};  // kThrottle: of one CPU, 0: off; none: as the rules say
  friend bool operator==(const PersonPlan&, const PersonPlan&) = default;
};

[[nodiscard]] constexpr bool names_job(PersonPlan::Verb verb) {
  using Verb = PersonPlan::Verb;
  return verb != Verb::kPs && verb != Verb::kDown && verb != Verb::kDrain;
}
[[nodiscard]] constexpr bool names_node(PersonPlan::Verb verb) {
  using Verb = PersonPlan::Verb;
  return verb == Verb::kPs || verb == Verb::kLogs || verb == Verb::kDown || verb == Verb::kDrain;
}

struct Expectation {
  std::string what;
  std::string relation;  // >= <= ==
  double value = 0;
  friend bool operator==(const Expectation&, const Expectation&) = default;
};

struct Scenario {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 3;
  base::Duration starts = std::chrono::seconds(1);  // all within
  base::Duration faulty = std::chrono::seconds(120);
  base::Duration settle{};
  bool real_crypto = false;
  NodeShape shape;
  std::map<std::uint32_t, NodeShape> shapes;  // where other than `shape`
  base::Duration latency_min = std::chrono::microseconds(200);
  base::Duration latency_typical = std::chrono::milliseconds(2);
  std::int64_t bandwidth_bytes_per_second = 100'000'000;
  std::array<std::uint32_t, kFaultKinds> rate_ppm{};  // kRate and kEach kinds
  std::vector<JobPlan> jobs;                          // by time
  std::vector<FaultPlan> faults;                      // by time
  std::vector<PersonPlan> people;                     // by time
  std::vector<Expectation> expectations;
  friend bool operator==(const Scenario&, const Scenario&) = default;

  [[nodiscard]] const NodeShape& shape_of(std::uint32_t node) const {
    const auto found = shapes.find(node);
    return found == shapes.end() ? shape : found->second;
  }
};

}  // namespace sim
