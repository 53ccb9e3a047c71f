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
// Whether that node lives, takes jobs and has room for this one, beside what it keeps for itself
// (memory_room). Neither its trit is asked nor a seat that it has for these seconds.
[[nodiscard]] bool takes(const NodeLoad& node, const JobFacts& job);
// Both ends' ratios are closer together after the move than before.
[[nodiscard]] bool never_worse(const Level& source, const Level& sink, std::int64_t load_micros);

// Memory. What a node keeps for itself no move may take: a sink's room is what is free beyond that.
// Several moves at once cannot fill it either: a sink has one seat, its plan counts the moves
// before each, and after a triad both ends wait for a new sample.
//
// A node with less than that free is *short* of memory and sheds, also when its CPUs are idle: the
// jobs that have the most memory first, until twice the reserve is free. Largest first and not
// highest SCUM first: a score is mostly CPU, and a move freezes a job for as long as its memory
// takes to travel, so few moves that free much are better than many that free little. Room and
// residence bind as always; of never-worse the shares of memory in use take the ratios' place,
// since a job that only sits there changes no ratio.
[[nodiscard]] std::int64_t memory_reserve(std::int64_t total_bytes);
[[nodiscard]] std::int64_t memory_room(std::int64_t free_bytes, std::int64_t total_bytes);  // >= 0
[[nodiscard]] bool is_short_of_memory(const LocalState& local);
[[nodiscard]] std::vector<JobFacts> by_memory(std::vector<JobFacts> jobs);  // then the id
// What a node that is short of memory offers this sink: what may leave, what the sink takes by what
// is known of it, and never-worse with those before; largest first, until twice the reserve is
// free.
[[nodiscard]] std::vector<JobFacts> memory_offer(base::Time now, LocalState local, NodeLoad sink);
// Why the job may not be moved now; empty if it may. Residence does not bind a person, who may also
// move what is parked: it wakes where it comes to.
[[nodiscard]] std::string why_stays(const JobFacts& job, base::Time now, bool by_person);

// The row of the process rule for this job, throttling's own pace included: what is throttled or
// lifted changes at most once in 60 s. A throttle that is there and still wanted is kNone. A row
// that asks to migrate lifts it, whether the job then moves or not; nobody has room for a job that
// cannot be moved. What a person said of a throttle the rules leave alone.
[[nodiscard]] Intent process_rule(const JobFacts& job, probe::Trit trit, bool a_minus_has_room,
                                  base::Time now);
// Why a parked job cannot be woken; empty if it can. By rule only what was not parked a moment ago:
// whoever parked it, on an idle mesh, would see it run again at once.
[[nodiscard]] std::string why_sleeps(const JobFacts& job);
[[nodiscard]] bool rests_yet(const JobFacts& job, base::Time now);
// Parked and queued jobs, those that have waited longest first.
[[nodiscard]] std::vector<JobFacts> by_age(std::vector<JobFacts> jobs);
// This node with the jobs that it is waking, and the memory that they leave.
struct Room {
  Level level;
  std::int64_t memory_free = 0;
};
[[nodiscard]] Room room_of(const LocalState& local);
// Parked jobs that may be woken here: none unless S < 0 and this node is MINUS; oldest first, never
// so many that the node would leave 0.8. One that does not fit keeps no younger one waiting.
[[nodiscard]] std::vector<JobId> wake_rule(const LocalState& local, std::int64_t sum);

// Sinks by rule for this job, the least loaded first.
[[nodiscard]] std::vector<NodeLoad> sinks_for(const JobFacts& job, const LocalState& local,
                                              const std::vector<NodeLoad>& view, NodeId self);
// Whether some MINUS node has room for it, one that is busy with a seat for these seconds included.
[[nodiscard]] bool has_sink(const JobFacts& job, const LocalState& local,
                            const std::vector<NodeLoad>& view, NodeId self);
// Whether the node's own state lets it wish for anything: its policy, its trit, its ratio.
[[nodiscard]] bool may_wish(const LocalState& local);
// What this node should propose by itself: none unless it is PLUS, or short of memory, and a job
// may leave and fit. Candidates in the order of the rules, the third seat not chosen yet.
struct Wish {
  Cause cause = Cause::kShed;
  JobId job;  // that made the wish; the triad's plan decides what moves
  std::vector<NodeId> sinks;
};
[[nodiscard]] std::optional<Wish> wish(base::Time now, const LocalState& local,
                                       const std::vector<NodeLoad>& view, NodeId self);
// The same for what is parked here: none unless S < 0; the oldest that this node itself cannot
// wake, and that fits another. Such a move takes no load off this node, so never-worse says nothing
// of it.
[[nodiscard]] std::optional<Wish> wake_wish(const LocalState& local,
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

// Why this node is no SINK, to whoever would move a job here.
[[nodiscard]] std::string no_jobs_sentence(const LocalPolicy& policy);

}  // namespace balance
