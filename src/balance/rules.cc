#include "balance/rules.h"

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "balance/limits.h"
#include "probe/scum.h"

namespace balance {

namespace {

constexpr std::int64_t kLoadMax = std::int64_t{1} << 50;  // keeps products below 2^63

std::int64_t share_up(std::int64_t load_micros, std::int64_t cpus_millis) {
  const std::int64_t load = std::clamp<std::int64_t>(load_micros, 0, kLoadMax);
  return (load * 1000 + cpus_millis - 1) / cpus_millis;
}
std::int64_t share_down(std::int64_t load_micros, std::int64_t cpus_millis) {
  return std::clamp<std::int64_t>(load_micros, 0, kLoadMax) * 1000 / cpus_millis;
}

probe::ScumScore score_of(std::int64_t scum_micros) {
  probe::ScumScore score;
  score.cpu_micros = scum_micros;
  return score;
}

}  // namespace

std::int64_t trit_sum(const std::vector<NodeLoad>& view) {
  std::int64_t sum = 0;
  for (const NodeLoad& node : view) {
    if (node.live) sum += probe::trit_value(node.trit);
  }
  return sum;
}

MeshRule mesh_rule(std::int64_t sum) {
  if (sum > 0) return MeshRule::kShedding;
  return sum < 0 ? MeshRule::kWaking : MeshRule::kBalanced;
}

std::int64_t with_job(const Level& level, std::int64_t load_micros) {
  return level.ratio_micros + share_up(load_micros, level.cpus_millis);
}

std::int64_t without_job(const Level& level, std::int64_t load_micros) {
  return std::max<std::int64_t>(level.ratio_micros - share_down(load_micros, level.cpus_millis), 0);
}

bool has_room(const Level& sink, std::int64_t memory_free, std::int64_t load_micros,
              std::int64_t memory_bytes) {
  return with_job(sink, load_micros) <= probe::kPlusAboveMicros && memory_bytes <= memory_free;
}

bool never_worse(const Level& source, const Level& sink, std::int64_t load_micros) {
  const std::int64_t before = std::abs(source.ratio_micros - sink.ratio_micros);
  const std::int64_t after =
      std::abs(without_job(source, load_micros) - with_job(sink, load_micros));
  return after < before;
}

std::int64_t memory_reserve(std::int64_t total_bytes) {
  return std::max<std::int64_t>(total_bytes, 0) / 100 * kMemoryReservePercent;
}

std::int64_t memory_room(std::int64_t free_bytes, std::int64_t total_bytes) {
  const std::int64_t free = std::max<std::int64_t>(free_bytes, 0);
  return std::max<std::int64_t>(free - memory_reserve(total_bytes), 0);
}

bool is_short_of_memory(const LocalState& local) {
  return local.memory_free_bytes < memory_reserve(local.memory_total_bytes);
}

std::vector<JobFacts> by_memory(std::vector<JobFacts> jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const JobFacts& a, const JobFacts& b) {
    return std::tie(b.memory_bytes, a.id) < std::tie(a.memory_bytes, b.id);
  });
  return jobs;
}

std::string why_stays(const JobFacts& job, base::Time now, bool by_person) {
  const bool rests = job.state == JobState::kParked || job.state == JobState::kQueued;
  const bool runs = job.state == JobState::kRunning || job.state == JobState::kThrottled;
  if (rests && by_person) return why_sleeps(job);
  if (!runs) return "the job is not running";
  if (!job.movable) return job.why_not.empty() ? "the job cannot be moved" : job.why_not;
  if (!by_person && now - job.arrived < kResidence) return "the job arrived a moment ago";
  return {};
}

Intent process_rule(const JobFacts& job, probe::Trit trit, bool a_minus_has_room, base::Time now) {
  const bool rests = job.state == JobState::kParked || job.state == JobState::kQueued;
  if (rests || job.throttle_is_persons) return Intent::kNone;
  const probe::Advice advice = probe::advise(score_of(job.scum_micros), trit);
  const bool moves = advice == probe::Advice::kMigrate && a_minus_has_room && job.movable;
  const bool waited =
      job.throttle_changed == base::Time::min() || now - job.throttle_changed >= kThrottleSpacing;
  if (!moves && (advice == probe::Advice::kThrottle || advice == probe::Advice::kMigrate)) {
    return !job.throttled && waited ? Intent::kThrottle : Intent::kNone;
  }
  if (job.throttled && waited) return Intent::kUnthrottle;
  if (moves) return Intent::kMigrate;
  return advice == probe::Advice::kAllow && !job.throttled ? Intent::kAllow : Intent::kNone;
}

std::string why_sleeps(const JobFacts& job) {
  if (job.state != JobState::kParked && job.state != JobState::kQueued) {
    return "the job is not parked";
  }
  if (job.waking) return "the job is being woken";
  if (!job.movable) return job.why_not.empty() ? "the job cannot be moved" : job.why_not;
  return {};
}

bool rests_yet(const JobFacts& job, base::Time now) {
  return job.state == JobState::kParked && !job.waking && now - job.arrived < kResidence;
}

std::vector<JobFacts> by_age(std::vector<JobFacts> jobs) {
  std::erase_if(jobs, [](const JobFacts& job) {
    return job.state != JobState::kParked && job.state != JobState::kQueued;
  });
  std::sort(jobs.begin(), jobs.end(), [](const JobFacts& a, const JobFacts& b) {
    return std::tie(a.since, a.id) < std::tie(b.since, b.id);
  });
  return jobs;
}

Room room_of(const LocalState& local) {
  Room room{{local.effective_ratio_micros, local.cpus_millis},
            memory_room(local.memory_free_bytes, local.memory_total_bytes)};
  for (const JobFacts& job : local.jobs) {
    if (!job.waking) continue;
    room.level.ratio_micros = with_job(room.level, job.load_micros);
    room.memory_free = std::max<std::int64_t>(room.memory_free - job.memory_bytes, 0);
  }
  return room;
}

std::vector<JobId> wake_rule(const LocalState& local, std::int64_t sum) {
  std::vector<JobId> out;
  if (mesh_rule(sum) != MeshRule::kWaking || local.trit != probe::Trit::kMinus) return out;
  if (local.policy.drains) return out;
  Room room = room_of(local);
  for (const JobFacts& job : by_age(local.jobs)) {
    if (!why_sleeps(job).empty()) continue;
    if (!has_room(room.level, room.memory_free, job.load_micros, job.memory_bytes)) continue;
    room.level.ratio_micros = with_job(room.level, job.load_micros);
    room.memory_free -= job.memory_bytes;
    out.push_back(job.id);
  }
  return out;
}

namespace {

Level level_of(const NodeLoad& node) {
  return {node.effective_ratio_micros, std::max<std::int64_t>(node.cpus_millis, 1)};
}

// A MINUS node with room for the job, and free to take it.
bool could_take(const NodeLoad& node, const JobFacts& job, const NodeId& self) {
  return node.id != self && !node.has_seat && node.trit == probe::Trit::kMinus && takes(node, job);
}

bool is_sink_for(const JobFacts& job, const LocalState& local, const NodeLoad& node,
                 const NodeId& self) {
  const Level here{local.effective_ratio_micros, local.cpus_millis};
  return could_take(node, job, self) && never_worse(here, level_of(node), job.load_micros);
}

// In millionths.
std::int64_t used_share(std::int64_t free, std::int64_t total) {
  const std::int64_t unit = std::max<std::int64_t>(total >> 30, 1);  // keeps products small
  const std::int64_t units = std::max<std::int64_t>(total / unit, 1);
  return 1'000'000 - std::clamp<std::int64_t>(free / unit, 0, units) * 1'000'000 / units;
}

// Of never-worse, for memory.
bool relieves_memory(const JobFacts& job, const LocalState& local, const NodeLoad& node) {
  if (job.memory_bytes <= 0) return false;
  const std::int64_t before = used_share(local.memory_free_bytes, local.memory_total_bytes) -
                              used_share(node.memory_free_bytes, node.memory_total_bytes);
  const std::int64_t after =
      used_share(local.memory_free_bytes + job.memory_bytes, local.memory_total_bytes) -
      used_share(node.memory_free_bytes - job.memory_bytes, node.memory_total_bytes);
  return std::abs(after) < std::abs(before);
}

}  // namespace

bool takes(const NodeLoad& node, const JobFacts& job) {
  return node.live && node.accepts_jobs &&
         has_room(level_of(node), memory_room(node.memory_free_bytes, node.memory_total_bytes),
                  job.load_micros, job.memory_bytes);
}

std::vector<JobFacts> memory_offer(base::Time now, LocalState local, NodeLoad sink) {
  std::vector<JobFacts> out;
  for (const JobFacts& job : by_memory(local.jobs)) {
    if (local.memory_free_bytes >= 2 * memory_reserve(local.memory_total_bytes)) break;
    if (!why_stays(job, now, false).empty()) continue;
    if (!takes(sink, job) || !relieves_memory(job, local, sink)) continue;
    out.push_back(job);
    local.memory_free_bytes += job.memory_bytes;
    sink.memory_free_bytes -= job.memory_bytes;
    sink.effective_ratio_micros = with_job(level_of(sink), job.load_micros);
  }
  return out;
}

std::vector<NodeLoad> sinks_for(const JobFacts& job, const LocalState& local,
                                const std::vector<NodeLoad>& view, NodeId self) {
  std::vector<NodeLoad> out;
  for (const NodeLoad& node : view) {
    if (is_sink_for(job, local, node, self)) out.push_back(node);
  }
  std::sort(out.begin(), out.end(), [](const NodeLoad& a, const NodeLoad& b) {
    return std::tie(a.effective_ratio_micros, a.id) < std::tie(b.effective_ratio_micros, b.id);
  });
  return out;
}

bool has_sink(const JobFacts& job, const LocalState& local, const std::vector<NodeLoad>& view,
              NodeId self) {
  return std::any_of(view.begin(), view.end(), [&](NodeLoad node) {
    node.has_seat = false;
    return is_sink_for(job, local, node, self);
  });
}

std::vector<JobFacts> by_scum(std::vector<JobFacts> jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const JobFacts& a, const JobFacts& b) {
    return std::tie(b.scum_micros, b.load_micros, a.id) <
           std::tie(a.scum_micros, a.load_micros, b.id);
  });
  return jobs;
}

namespace {

bool is_above(const LocalState& local) {
  return local.trit == probe::Trit::kPlus && local.effective_ratio_micros > probe::kPlusAboveMicros;
}

}  // namespace

bool may_wish(const LocalState& local) {
  return local.policy.moves_jobs && (is_above(local) || is_short_of_memory(local));
}

std::optional<Wish> wish(base::Time now, const LocalState& local, const std::vector<NodeLoad>& view,
                         NodeId self) {
  if (!may_wish(local)) return std::nullopt;
  for (const JobFacts& job : by_scum(local.jobs)) {
    if (!is_above(local)) break;
    if (!why_stays(job, now, false).empty()) continue;
    const bool hog = score_of(job.scum_micros).is_hog();
    Wish wished{hog ? Cause::kProcess : Cause::kShed, job.id, {}};
    for (const NodeLoad& sink : sinks_for(job, local, view, self)) wished.sinks.push_back(sink.id);
    if (!wished.sinks.empty()) return wished;
  }
  for (const JobFacts& job : by_memory(local.jobs)) {
    if (!is_short_of_memory(local)) break;
    if (!why_stays(job, now, false).empty()) continue;
    std::vector<NodeLoad> found;
    for (const NodeLoad& node : view) {
      if (could_take(node, job, self) && relieves_memory(job, local, node)) found.push_back(node);
    }
    std::sort(found.begin(), found.end(), [](const NodeLoad& a, const NodeLoad& b) {
      return std::tie(b.memory_free_bytes, a.id) < std::tie(a.memory_free_bytes, b.id);
    });
    Wish wished{Cause::kMemory, job.id, {}};
    for (const NodeLoad& sink : found) wished.sinks.push_back(sink.id);
    if (!wished.sinks.empty()) return wished;
  }
  return std::nullopt;
}

std::optional<Wish> wake_wish(const LocalState& local, const std::vector<NodeLoad>& view,
                              NodeId self) {
  if (!local.policy.moves_jobs || mesh_rule(trit_sum(view)) != MeshRule::kWaking) {
    return std::nullopt;
  }
  const Room here = room_of(local);
  for (const JobFacts& job : by_age(local.jobs)) {
    if (!why_sleeps(job).empty()) continue;
    const bool fits_here =
        local.trit == probe::Trit::kMinus &&
        has_room(here.level, here.memory_free, job.load_micros, job.memory_bytes);
    if (fits_here) continue;
    std::vector<NodeLoad> sinks;
    for (const NodeLoad& node : view) {
      if (could_take(node, job, self)) sinks.push_back(node);
    }
    if (sinks.empty()) continue;
    std::sort(sinks.begin(), sinks.end(), [](const NodeLoad& a, const NodeLoad& b) {
      return std::tie(a.effective_ratio_micros, a.id) < std::tie(b.effective_ratio_micros, b.id);
    });
    Wish wished{Cause::kWake, job.id, {}};
    for (const NodeLoad& sink : sinks) wished.sinks.push_back(sink.id);
    return wished;
  }
  return std::nullopt;
}

Thirds thirds_for(const std::vector<NodeLoad>& view, NodeId source, NodeId sink) {
  Thirds out;
  out.pair = true;
  for (const NodeLoad& node : view) {
    if (!node.live || node.id == source || node.id == sink) continue;
    out.pair = false;
    if (node.has_seat) continue;
    (node.trit == probe::Trit::kErgodic ? out.ergodic : out.others).push_back(node.id);
  }
  std::sort(out.ergodic.begin(), out.ergodic.end());
  std::sort(out.others.begin(), out.others.end());
  return out;
}

std::string no_jobs_sentence(const LocalPolicy& policy) {
  return "that node takes no jobs of others: " +
         (policy.why_no_jobs.empty() ? "it has just started" : policy.why_no_jobs);
}

}  // namespace balance
