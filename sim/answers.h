// What people ask of a node, and what they are told. Part of sim/promises.h, which owns it.
//
//   name            promise
//   answered        who asks is told the end of it, once, and soon after the faults are over
//   as-answered     what is told to be done was done: the job ran there, the job has ended
//   carried-once    a job is signalled no more often than people asked
//
// Void with the life of the node that was asked.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "base/time.h"
#include "node/event.h"
#include "sim/scenario.h"

namespace sim {

class World;
class Promises;

class Answers {
 public:
  Answers(const World& world, Promises& promises) : world_(world), promises_(promises) {}

  struct Asked {
    enum class What : std::uint8_t { kRun, kMigrate, kKill };
    What what = What::kRun;
    std::uint32_t job = 0;
    std::uint32_t to = kNobody;  // kMigrate: anywhere
  };
  void asks(std::uint32_t host, std::uint64_t request, const Asked& asked);
  void answers(std::uint32_t host, const node::Reply& reply);
  void signals(std::uint32_t host, const base::JobId& job);
  void runs(std::uint32_t host, std::uint32_t job) { ran_.emplace(job, host); }
  // Legal when check_settled() is.
  void check_at_rest() const;

 private:
  struct Request {
    Asked asked;
    std::uint32_t host = 0;
    std::uint64_t life = 0;
    base::Time at{};
    bool over = false;
    bool done = false;
  };
  [[nodiscard]] bool excused(const Request& request) const;

  const World& world_;
  Promises& promises_;
  std::map<std::uint64_t, Request> requests_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> ran_;  // job, host
  std::map<std::uint32_t, std::uint32_t> kills_;           // by job: asked for, not yet ordered
};

}  // namespace sim
