// What people ask of a node, and what they are told. Part of sim/promises.h, which owns it.
//
//   name            promise
//   answered        who asks is told the end of it, once, and soon after the faults are over
//   as-answered     what is told to be done was done: the job ran there, the job has ended
//   ps-true         who asks for all jobs sees each where it runs, or that node named as one that
//                   said nothing; of a job that lives, nobody says that it is over
//   log-true        a log's piece is what the job wrote there, and says rightly that it ended
//   looks-reach     after the faults nobody who can be found is named as one that said nothing
//   resolved        what a person resolved runs there at once, and no older copy is left
//   carried-once    a job is signalled no more often than people asked
//   throttle-stands what a person throttled keeps that limit as long as it stays there and nobody
//                   says another
//   drained         who is told that a drain is done has no job left that runs there
//
// Void with the life of the node that was asked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/time.h"
#include "node/event.h"
#include "sim/scenario.h"

namespace sim {

class World;
class Promises;
struct Copy;

class Answers {
 public:
  Answers(const World& world, Promises& promises) : world_(world), promises_(promises) {}

  struct Asked {
    enum class What : std::uint8_t {
      kRun,
      kMigrate,
      kKill,
      kLogs,
      kResolve,
      kJobs,
      kPark,
      kWake,
      kThrottle,
      kDrain,
      kLift,  // of a drain
    };
    What what = What::kRun;
    std::uint32_t job = 0;                   // kJobs, kDrain, kLift: none
    std::uint32_t to = kNobody;              // kMigrate: anywhere; kThrottle: who has it
    std::uint64_t offset = 0;                // kLogs
    std::optional<std::uint32_t> percent{};  // kThrottle; none: as the rules say
  };
  void asks_jobs(std::uint32_t host, std::uint64_t request);
  void asks(std::uint32_t host, std::uint64_t request, const Asked& asked);
  void answers(std::uint32_t host, const node::Reply& reply);
  void signals(std::uint32_t host, const base::JobId& job);
  void runs(std::uint32_t host, std::uint32_t job);
  void limits(std::uint32_t host, const Copy& copy, std::int64_t micros);
  // A person asked for that limit there and was not told that it holds: on a slow disk her word is
  // carried out when she may have left the job to the rules again.
  [[nodiscard]] bool awaits_limit(std::uint32_t host, std::uint32_t job, std::int64_t micros) const;
  // A person left that job there to the rules since its limit last changed: then this change, to
  // the rule's own limit, is hers (node/throttles.h), over a restart too.
  [[nodiscard]] bool takes_back(std::uint32_t host, std::uint32_t job);
  // Legal when check_settled() is.
  void check_at_rest() const;

 private:
  struct Running {
    std::uint32_t job = 0;
    std::uint32_t at = 0;
    base::Time arrived{};
  };
  struct Request {
    Asked asked;
    std::uint32_t host = 0;
    std::uint64_t life = 0;
    base::Time at{};
    bool over = false;
    bool done = false;
    base::Epoch newest{};         // kResolve: of the handovers before; kThrottle: its copy's
    bool alone = true;            // kThrottle: nobody else's word on the job was under way
    std::vector<Running> seen{};  // kJobs: what ran then where the host could ask
  };
  struct Word {  // a person's, on a throttle
    std::uint32_t host = 0;
    base::Epoch epoch;
    std::int64_t limit_micros = 0;
  };
  [[nodiscard]] bool excused(const Request& request) const;
  void asks_throttle(Request& request);
  void check_throttled(const Request& request);
  void check_drained(const Request& request) const;
  void check_jobs(const Request& request, const node::JobsAnswer& answer) const;
  void check_log(const Request& request, const node::Reply& reply) const;
  void check_resolved(const Request& request) const;
  void check_reached(const Request& request, std::uint32_t other) const;

  const World& world_;
  Promises& promises_;
  std::map<std::uint64_t, Request> requests_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> ran_;  // job, host
  std::map<std::uint32_t, std::uint32_t> kills_;           // by job: asked for, not yet ordered
  std::map<std::uint32_t, Word> words_;                    // by job: what is in force
  std::set<std::pair<std::uint32_t, std::uint32_t>> left_to_rules_;  // host, job
  std::map<std::uint32_t, std::uint32_t> unsure_;  // by job: words with no good end yet
};

}  // namespace sim
