// The rules of design.md §2 as pure functions over what one node knows. Integers only; thresholds
// of trits and hogs are probe's.
//
// Precedence: a person's command, drain, process rule, mesh rule; a person is asked neither for
// residence nor for never-worse. Ratios after a move: the job's load over the CPUs, rounded up on
// the side that gains and down on the side that loses, so that rounding never makes room.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "balance/event.h"
#include "balance/record.h"

namespace balance {

enum class MeshRule : std::uint8_t { kShedding, kWaking, kBalanced };
// S: the sum of the trits of all live nodes.
[[nodiscard]] std::int64_t trit_sum(const std::vector<NodeLoad>& view);
[[nodiscard]] MeshRule mesh_rule(std::int64_t sum);  // > 0 shedding, < 0 waking

struct Level {
  std::int64_t ratio_micros = 0;
  std::int64_t cpus_millis = 1000;  // at least 1
};
[[nodiscard]] std::int64_t with_job(const Level& level, std::int64_t load_micros);
[[nodiscard]] std::int64_t without_job(const Level& level, std::int64_t load_micros);  // >= 0
// Stays at most 0.8 with the job and has its memory.
[[nodiscard]] bool has_room(const Level& sink, std::int64_t memory_free, std::int64_t load_micros,
                            std::int64_t memory_bytes);
// Both ends' ratios are closer together after the move than before.
[[nodiscard]] bool never_worse(const Level& source, const Level& sink, std::int64_t load_micros);

// Why the job may not be moved now; empty if it may. Residence does not bind a person.
[[nodiscard]] std::string why_stays(const JobFacts& job, base::Time now, bool by_person);

// The row of the process rule for this job, throttling's own pace included: a throttle that is
// there and still wanted is kNone, one that is to be lifted waits for 60 s since the last change.
[[nodiscard]] Intent process_rule(const JobFacts& job, probe::Trit trit, bool a_minus_has_room,
                                  base::Time now);
// Parked jobs that may be woken here: none unless S < 0 and this node is MINUS; oldest first, never
// so many that the node would leave 0.8. Advice in this version.
[[nodiscard]] std::vector<JobId> wake_rule(const LocalState& local, std::int64_t sum);

// Sinks by rule for this job, the least loaded first.
[[nodiscard]] std::vector<NodeLoad> sinks_for(const JobFacts& job, const LocalState& local,
                                              const std::vector<NodeLoad>& view, NodeId self);
[[nodiscard]] bool has_sink(const JobFacts& job, const LocalState& local,
                            const std::vector<NodeLoad>& view, NodeId self);
// Whether the node's own state lets it wish for anything: its policy, its trit, its ratio.
[[nodiscard]] bool may_wish(const LocalState& local);
// What this node should propose by itself: none unless it is PLUS and a job may leave and fit.
// Candidates in the order of the rules, the third seat not chosen yet.
struct Wish {
  Cause cause = Cause::kShed;
  JobId job;  // that made the wish; the triad's plan decides what moves
  std::vector<NodeId> sinks;
};
[[nodiscard]] std::optional<Wish> wish(base::Time now, const LocalState& local,
                                       const std::vector<NodeLoad>& view, NodeId self);
// Thirds for a triad of these two, ERGODIC ones without a seat first; empty and `pair` set when no
// third live node is known.
struct Thirds {
  std::vector<NodeId> ergodic;
  std::vector<NodeId> others;
  bool pair = false;
};
[[nodiscard]] Thirds thirds_for(const std::vector<NodeLoad>& view, NodeId source, NodeId sink);

// Jobs in the order in which they are moved: highest SCUM first, then the larger load, then the id.
[[nodiscard]] std::vector<JobFacts> by_scum(std::vector<JobFacts> jobs);

}  // namespace balance
