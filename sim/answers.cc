#include "sim/answers.h"

#include <algorithm>
#include <string>

#include "node/limits.h"
#include "sim/meeting.h"
#include "sim/settled.h"
#include "sim/world.h"

namespace sim {
namespace {

constexpr int kWayTail = 64;  // a packet's way may be so many times the typical one (World::way)
constexpr base::Duration kLooksAnswered = std::chrono::seconds(10);
constexpr base::Duration kDrainSees = std::chrono::seconds(12);  // two samples
constexpr std::int64_t kMicrosOfPercent = 10'000;

bool names_job(Answers::Asked::What what) {
  using What = Answers::Asked::What;
  return what != What::kJobs && what != What::kDrain && what != What::kLift;
}

}  // namespace

bool Answers::excused(const Request& request) const {
  return world_.life(request.host) != request.life || world_.is_off(request.host) ||
         world_.is_clone(request.host) || promises_.excused_host(request.host) ||
         (names_job(request.asked.what) && promises_.excused_job(request.asked.job));
}

void Answers::asks(std::uint32_t host, std::uint64_t request, const Asked& asked) {
  Request one{asked, host, world_.life(host), world_.now()};
  if (asked.what == Asked::What::kResolve) {
    one.newest = std::max(world_.jobs()[asked.job].epoch, promises_.last_begun(asked.job));
  }
  if (asked.what == Asked::What::kThrottle) asks_throttle(one);
  requests_[request] = std::move(one);
  if (asked.what == Asked::What::kKill) ++kills_[asked.job];
}

void Answers::asks_jobs(std::uint32_t host, std::uint64_t request) {
  Request one{{Asked::What::kJobs}, host, world_.life(host), world_.now()};
  std::set<std::uint32_t> asked{host};
  for (const node::StatusNode& seen : world_.node(host)->status().nodes) {
    const bool is_there =
        seen.view.state == gossip::State::kAlive || seen.view.state == gossip::State::kSuspect;
    if (is_there) asked.insert(world_.host_of(seen.view.id));
  }
  for (std::uint32_t job = 0; job < world_.jobs().size(); ++job) {
    const std::uint32_t at = world_.runs_at(job);
    if (at != kNobody && asked.contains(at)) {
      one.seen.push_back({job, at, world_.jobs()[job].arrived});
    }
  }
  requests_[request] = std::move(one);
}

void Answers::answers(std::uint32_t host, const node::Reply& reply) {
  const auto found = requests_.find(reply.request);
  if (found == requests_.end()) return promises_.broke("answered", host, "nobody asked for it");
  Request& request = found->second;
  if (request.host != host || excused(request)) return;
  if (request.over) return promises_.broke("answered", host, "told again: " + reply.sentence);
  request.over = reply.over;
  request.done = reply.over && reply.exit_code == 0;
  const Asked& asked = request.asked;
  const bool refused = reply.over && !request.done && reply.exit_code != 4;
  if (refused && asked.what == Asked::What::kThrottle && request.alone && unsure_[asked.job] == 1) {
    unsure_[asked.job] = 0;
  }
  if (request.over && asked.what == Asked::What::kLogs) return check_log(request, reply);
  if (request.done && reply.jobs) return check_jobs(request, *reply.jobs);
  if (request.done && asked.what == Asked::What::kThrottle) return check_throttled(request);
  if (request.done && asked.what == Asked::What::kDrain) return check_drained(request);
  if (request.done && asked.what == Asked::What::kResolve && !world_.jobs()[asked.job].ended &&
      world_.runs_at(asked.job) != host) {
    promises_.broke("resolved", host, "job " + std::to_string(asked.job) + " does not run there");
  }
  if (!request.done || asked.what != Asked::What::kMigrate || asked.to == kNobody) return;
  if (ran_.contains({asked.job, asked.to})) return;
  promises_.broke("as-answered", host,
                  "job " + std::to_string(asked.job) + " never ran at n" +
                      std::to_string(asked.to) + ": " + reply.sentence);
}

void Answers::signals(std::uint32_t host, const base::JobId& id) {
  const std::uint32_t job = world_.job_index(id);
  if (promises_.excused_job(job) || promises_.excused_host(host)) return;
  std::uint32_t& left = kills_[job];
  if (left == 0) {
    return promises_.broke("carried-once", host,
                           "job " + std::to_string(job) + " is signalled once more");
  }
  --left;
}

// ---- tern throttle, tern drain

// Of words that cross each other nobody knows which one was the last; one without a good end may
// be carried out late.
void Answers::asks_throttle(Request& request) {
  const std::uint32_t job = request.asked.job;
  const Copy* copy = world_.machine(request.asked.to).find(job);
  if (copy != nullptr) request.newest = copy->epoch;
  words_.erase(job);
  if (!request.asked.percent) left_to_rules_.insert({request.asked.to, job});
  request.alone = unsure_[job]++ == 0;
}

void Answers::check_throttled(const Request& request) {
  const Asked& asked = request.asked;
  if (!request.alone || unsure_[asked.job] != 1) return;
  unsure_[asked.job] = 0;
  const Copy* copy = world_.machine(asked.to).find(asked.job);
  const bool there = copy != nullptr && !copy->frozen && copy->epoch == request.newest;
  if (!asked.percent || !there || promises_.excused_host(asked.to)) return;
  const std::int64_t limit = *asked.percent * kMicrosOfPercent;
  if (copy->limit_micros == limit) {
    words_[asked.job] = {asked.to, copy->epoch, limit};
    return;
  }
  promises_.broke("as-answered", request.host,
                  "job " + std::to_string(asked.job) + " is said to be throttled, and is not");
}

void Answers::runs(std::uint32_t host, std::uint32_t job) {
  ran_.emplace(job, host);
  words_.erase(job);
}

void Answers::limits(std::uint32_t host, const Copy& copy, std::int64_t micros) {
  const auto word = words_.find(copy.job);
  if (word == words_.end() || word->second.limit_micros == micros) return;
  const bool holds = word->second.host == host && word->second.epoch == copy.epoch;
  if (!holds || promises_.excused_host(host) || promises_.excused_job(copy.job)) return;
  promises_.broke("throttle-stands", host,
                  "job " + std::to_string(copy.job) + ", which a person throttled, is given " +
                      std::to_string(micros / kMicrosOfPercent) + " %");
}

bool Answers::awaits_limit(std::uint32_t host, std::uint32_t job, std::int64_t micros) const {
  return std::any_of(requests_.begin(), requests_.end(), [&](const auto& entry) {
    const Request& request = entry.second;
    const Asked& asked = request.asked;
    return !request.done && asked.what == Asked::What::kThrottle && asked.job == job &&
           asked.to == host && asked.percent && *asked.percent * kMicrosOfPercent == micros;
  });
}

bool Answers::takes_back(std::uint32_t host, std::uint32_t job) {
  return left_to_rules_.erase({host, job}) != 0;
}

// What came a moment ago it may not have sampled yet.
void Answers::check_drained(const Request& request) const {
  for (const Copy& copy : world_.machine(request.host).copies()) {
    if (copy.frozen || promises_.excused_job(copy.job)) continue;
    if (world_.now() - world_.jobs()[copy.job].arrived < kDrainSees) continue;
    promises_.broke("drained", request.host, "job " + std::to_string(copy.job) + " is still there");
  }
}

void Answers::check_jobs(const Request& request, const node::JobsAnswer& answer) const {
  std::set<std::uint32_t> silent;
  for (const base::NodeId& node : answer.unreachable) {
    silent.insert(world_.host_of(node));
    check_reached(request, world_.host_of(node));
  }
  for (const Running& was : request.seen) {
    const JobTruth& truth = world_.jobs()[was.job];
    if (world_.runs_at(was.job) != was.at || truth.arrived != was.arrived) continue;
    if (silent.contains(was.at) || promises_.excused_host(was.at)) continue;
    // Home is believed that a job is over, and its store may have forgotten that it is not.
    if (promises_.excused_job(was.job) || promises_.excused_host(truth.plan.node)) continue;
    const auto shown = std::find_if(answer.jobs.begin(), answer.jobs.end(),
                                    [&](const node::JobInfo& one) { return one.id == truth.id; });
    const bool is_right = shown != answer.jobs.end() && shown->node == world_.id(was.at) &&
                          shown->state != node::JobState::kExited &&
                          shown->state != node::JobState::kLost;
    if (is_right) continue;
    promises_.broke(
        "ps-true", request.host,
        "job " + std::to_string(was.job) + " runs at n" + std::to_string(was.at) +
            (shown == answer.jobs.end()
                 ? ", and is not shown"
                 : ", and is shown as " + std::to_string(static_cast<int>(shown->state)) + " at n" +
                       std::to_string(world_.host_of(shown->node))));
  }
  for (const node::JobInfo& one : answer.jobs) {
    const std::uint32_t job = world_.job_index(one.id);
    if (one.state != node::JobState::kExited || job == kNobody || promises_.excused_job(job)) {
      continue;
    }
    const JobTruth& truth = world_.jobs()[job];
    // Whose store forgot says so of what he does not find any more.
    const std::uint32_t at = world_.host_of(one.node);
    const bool forgot =
        promises_.excused_host(truth.plan.node) || (at != kNobody && promises_.excused_host(at));
    const bool is_right =
        forgot || (truth.ended && (truth.lost || one.wait_status == truth.wait_status));
    if (is_right) continue;
    promises_.broke("ps-true", request.host, "job " + std::to_string(job) + " is shown as over");
  }
}

void Answers::check_log(const Request& request, const node::Reply& reply) const {
  const Asked& asked = request.asked;
  const JobTruth& truth = world_.jobs()[asked.job];
  const std::string name = "job " + std::to_string(asked.job);
  if (reply.exit_code == 4) check_reached(request, truth.plan.node);
  if (!reply.log || !reply.log->known || promises_.excused_host(truth.plan.node)) return;
  const node::LogReply& log = *reply.log;
  const bool fits = log.job == truth.id && log.stream == 0 && log.offset == asked.offset &&
                    log.ends[0] <= truth.output() &&
                    log.offset + log.bytes.size() <= truth.output();
  if (!fits || !is_output(log.offset, log.bytes)) {
    return promises_.broke("log-true", request.host, name + " wrote something else there");
  }
  if (log.offset < log.ends[0] && log.bytes.empty()) {
    return promises_.broke("log-true", request.host,
                           "nothing is shown of what is there of " + name);
  }
  const bool over = truth.ended && (truth.lost || log.wait_status == truth.wait_status);
  // Whose store was set back may have said so.
  if (log.exited && !over && !promises_.excused_job(asked.job)) {
    promises_.broke("log-true", request.host, name + " is told to be over");
  }
}

// Only where the slowest packets, for two connections, a question and its answer, are in time.
void Answers::check_reached(const Request& request, std::uint32_t other) const {
  const Scenario& scenario = world_.scenario();
  if (6 * (scenario.latency_min + kWayTail * scenario.latency_typical) > node::kQueryPatience) {
    return;
  }
  const base::Time quiet = world_.quiet_since();
  if (quiet == base::kNever || request.at < quiet + kViewsAgree || other == kNobody) return;
  if (!can_be_asked(world_, request.host) || !can_be_asked(world_, other)) return;
  if (!Meeting(world_).finds(request.host, other)) return;
  promises_.broke("looks-reach", request.host,
                  "n" + std::to_string(other) + " is said not to answer");
}

// What was begun before the person spoke is over, everywhere.
void Answers::check_resolved(const Request& request) const {
  const Asked& asked = request.asked;
  const JobTruth& job = world_.jobs()[asked.job];
  const Meeting meeting(world_);
  for (const std::uint32_t place : job.places) {
    if (!can_be_asked(world_, place) || !meeting.finds(request.host, place)) continue;
    const Copy* copy = world_.machine(place).find(asked.job);
    // What was parked since stands still for nobody, whatever it stood still for before.
    const bool rests = copy != nullptr && copy->parked && copy->frozen_at > request.at;
    bool is_older =
        copy != nullptr && copy->frozen && !rests && copy->frozen_for.epoch <= request.newest;
    for (const auto& [id, arrival] : world_.incoming(place)) {
      const bool held = id.job == job.id && arrival.state == Incoming::kHeld;
      is_older = is_older || (held && id.epoch <= request.newest);
    }
    if (!is_older) continue;
    promises_.broke("resolved", place,
                    "an older copy of job " + std::to_string(asked.job) + " is left");
  }
}

void Answers::check_at_rest() const {
  for (const auto& [number, request] : requests_) {
    if (request.done && request.asked.what == Asked::What::kResolve &&
        world_.now() - request.at >= kOutcomes && !promises_.excused_job(request.asked.job)) {
      check_resolved(request);
    }
    if (excused(request)) continue;
    if (!names_job(request.asked.what)) {
      const bool looks = request.asked.what == Asked::What::kJobs;
      if (request.over || world_.now() - request.at < (looks ? kLooksAnswered : kOutcomes))
        continue;
      promises_.broke(
          "answered", request.host,
          looks ? "who asked for all jobs hears nothing" : "nobody hears what came of a drain");
      continue;
    }
    const JobTruth& job = world_.jobs()[request.asked.job];
    const std::string name = "job " + std::to_string(request.asked.job);
    // Of a job that waits for an outcome that cannot come, nothing can be told.
    const bool waits = std::any_of(job.places.begin(), job.places.end(),
                                   [this, asked = request.asked.job](std::uint32_t at) {
                                     const Copy* copy = world_.machine(at).find(asked);
                                     return copy != nullptr && copy->frozen;
                                   });
    if (!request.over && !waits && world_.now() - request.at >= kOutcomes) {
      promises_.broke("answered", request.host, "nobody hears what came of " + name);
    }
    if (request.done && request.asked.what == Asked::What::kKill && !job.ended) {
      promises_.broke("as-answered", request.host, name + " lives on");
    }
  }
}

}  // namespace sim
