// Many worlds, one process for each core: seeds are dealt out as processes become free, so that
// long worlds do not hold up short ones; each seed is run exactly once, whoever runs it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "sim/generate.h"

namespace sim {

struct SwarmOptions {
  std::uint64_t first = 1;
  std::uint64_t last = 100;  // inclusive
  std::uint64_t shard = 1;   // seeds whose (seed - first) % shards == shard - 1
  std::uint64_t shards = 1;
  std::uint32_t workers = 0;  // 0: as many as there are CPUs
  bool keep_going = false;
  std::string commit;        // for what a failure says
  std::string report;        // file of JSON lines; empty: none
  bool check_twice = false;  // each world also with the other queue: the hashes must agree
  Wanted wanted;             // its seed is replaced
};

struct SwarmResult {
  std::uint64_t worlds = 0;
  std::uint64_t failed = 0;
  std::uint64_t events = 0;
  std::uint64_t commits = 0;
  FaultCounts faults{};
  double wall_seconds = 0;
  std::optional<std::uint64_t> first_failed;
  std::string trouble;  // a report that could not be written, a worker that died
};

// The scenario of a swarm's seed: every 50th one with real cryptography.
[[nodiscard]] Scenario scenario_of(std::uint64_t seed, const Wanted& wanted);
// `told` gets each failure's text as it comes, and a line of progress now and then.
[[nodiscard]] SwarmResult swarm(const SwarmOptions& options,
                                const std::function<void(const std::string&)>& failed,
                                const std::function<void(const SwarmResult&)>& progress);

}  // namespace sim
