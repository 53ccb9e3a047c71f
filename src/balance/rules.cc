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

std::string why_stays(const JobFacts& job, base::Time now, bool by_person) {
  if (job.state != JobState::kRunning && job.state != JobState::kThrottled) {
    return "the job is not running";
  }
  if (!job.movable) return job.why_not.empty() ? "the job cannot be moved" : job.why_not;
  if (!by_person && now - job.arrived < kResidence) return "the job arrived a moment ago";
  return {};
}

Intent process_rule(const JobFacts& job, probe::Trit trit, bool a_minus_has_room, base::Time now) {
  const probe::Advice advice = probe::advise(score_of(job.scum_micros), trit);
  if (advice == probe::Advice::kMigrate && a_minus_has_room) return Intent::kMigrate;
  const bool wants = advice == probe::Advice::kThrottle || advice == probe::Advice::kMigrate;
  if (wants) return job.throttled ? Intent::kNone : Intent::kThrottle;
  if (job.throttled) {
    const bool waited =
        job.throttle_changed == base::Time::min() || now - job.throttle_changed >= kThrottleSpacing;
    return waited ? Intent::kUnthrottle : Intent::kNone;
  }
  return advice == probe::Advice::kAllow ? Intent::kAllow : Intent::kNone;
}

std::vector<JobId> wake_rule(const LocalState& local, std::int64_t sum) {
  std::vector<JobId> out;
  if (mesh_rule(sum) != MeshRule::kWaking || local.trit != probe::Trit::kMinus) return out;
  std::vector<const JobFacts*> parked;
  for (const JobFacts& job : local.jobs) {
    if (job.state == JobState::kParked || job.state == JobState::kQueued) parked.push_back(&job);
  }
  std::sort(parked.begin(), parked.end(), [](const JobFacts* a, const JobFacts* b) {
    return std::tie(a->arrived, a->id) < std::tie(b->arrived, b->id);
  });
  Level level{local.effective_ratio_micros, local.cpus_millis};
  std::int64_t memory = local.memory_free_bytes;
  for (const JobFacts* job : parked) {
    if (!has_room(level, memory, job->load_micros, job->memory_bytes)) break;
    level.ratio_micros = with_job(level, job->load_micros);
    memory -= job->memory_bytes;
    out.push_back(job->id);
  }
  return out;
}

namespace {

bool is_sink_for(const JobFacts& job, const LocalState& local, const NodeLoad& node,
                 const NodeId& self) {
  const Level here{local.effective_ratio_micros, local.cpus_millis};
  const Level there{node.effective_ratio_micros, std::max<std::int64_t>(node.cpus_millis, 1)};
  return node.id != self && node.live && node.accepts_jobs && !node.has_seat &&
         node.trit == probe::Trit::kMinus &&
         has_room(there, node.memory_free_bytes, job.load_micros, job.memory_bytes) &&
         never_worse(here, there, job.load_micros);
}

}  // namespace

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
  return std::any_of(view.begin(), view.end(),
                     [&](const NodeLoad& node) { return is_sink_for(job, local, node, self); });
}

std::vector<JobFacts> by_scum(std::vector<JobFacts> jobs) {
  std::sort(jobs.begin(), jobs.end(), [](const JobFacts& a, const JobFacts& b) {
    return std::tie(b.scum_micros, b.load_micros, a.id) <
           std::tie(a.scum_micros, a.load_micros, b.id);
  });
  return jobs;
}

bool may_wish(const LocalState& local) {
  return local.policy.moves_jobs && local.trit == probe::Trit::kPlus &&
         local.effective_ratio_micros > probe::kPlusAboveMicros;
}

std::optional<Wish> wish(base::Time now, const LocalState& local, const std::vector<NodeLoad>& view,
                         NodeId self) {
  if (!may_wish(local)) return std::nullopt;
  for (const JobFacts& job : by_scum(local.jobs)) {
    if (!why_stays(job, now, false).empty()) continue;
    const bool hog = score_of(job.scum_micros).is_hog();
    Wish wished{hog ? Cause::kProcess : Cause::kShed, job.id, {}};
    for (const NodeLoad& sink : sinks_for(job, local, view, self)) wished.sinks.push_back(sink.id);
    if (!wished.sinks.empty()) return wished;
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

}  // namespace balance
