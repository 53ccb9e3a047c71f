// What people ask for.
#include <algorithm>
#include <utility>

#include "sim/world.h"

namespace sim {
namespace {

using base::Duration;
using base::Time;
using std::chrono::milliseconds;
using std::chrono::seconds;

// As the daemon does it (daemon/host.h).
constexpr Duration kStopPatience = seconds(15);
constexpr Duration kWithdrawPatience = seconds(6);
constexpr Duration kStopLook = milliseconds(20);

}  // namespace

void World::job_arrives(std::uint32_t job) {
  JobTruth& truth = jobs_[job];
  Host& host = *hosts_[truth.plan.node];
  if (!host.node) {  // the person waits until tern is there
    return put(now_ + seconds(2), truth.plan.node, 0, JobArrives{job});
  }
  truth.asked_at = now_;
  truth.asked_life = host.life;
  node::JobSpec spec;
  spec.id = truth.id;
  spec.name = "job" + std::to_string(job);
  spec.argv = {"work"};
  spec.cwd = "/";
  spec.uid = kUser;
  spec.gid = kUser;
  spec.home = host.id;
  spec.started_at = wall(host);
  promises_.answers().asks(truth.plan.node, next_request_, {Answers::Asked::What::kRun, job});
  if (!host.node->placement().here) return queue_up(truth.plan.node, job, std::move(spec));
  give(truth.plan.node, node::RunJob{next_request_++, spec});
}

void World::person_speaks(std::uint32_t person) {
  const PersonPlan& plan = scenario_.people[person];
  switch (plan.verb) {
    case PersonPlan::Verb::kPs:
      return asks_jobs(plan.to);
    case PersonPlan::Verb::kLogs:
      return asks_log(plan);
    case PersonPlan::Verb::kDown:
      return stops(plan);
    case PersonPlan::Verb::kResolve:
      return resolves(plan.job);
    case PersonPlan::Verb::kPark:
    case PersonPlan::Verb::kWake:
      return person_rests(plan);
    case PersonPlan::Verb::kThrottle:
      return throttles(plan);
    case PersonPlan::Verb::kDrain:
      return drains(person);
    case PersonPlan::Verb::kMigrate:
    case PersonPlan::Verb::kKill:
      return orders(plan);
  }
}

void World::orders(const PersonPlan& plan) {
  if (plan.job >= jobs_.size()) return;
  const JobTruth& truth = jobs_[plan.job];
  const std::uint32_t runs = runs_at(plan.job);
  const std::uint32_t at = runs == kNobody ? parked_at(plan.job) : runs;
  const std::uint32_t asked = truth.plan.node;
  if (at == kNobody || !hosts_[asked]->node) return;
  const bool kills = plan.verb == PersonPlan::Verb::kKill;
  const auto to = !kills && plan.to < scenario_.nodes ? plan.to : kNobody;
  promises_.answers().asks(
      asked, next_request_,
      {kills ? Answers::Asked::What::kKill : Answers::Asked::What::kMigrate, plan.job, to});
  if (kills) {
    return give(asked, node::KillJob{next_request_++, kUser, truth.id, hosts_[at]->id, 15});
  }
  node::MigrateJob order{next_request_++, kUser, truth.id, hosts_[at]->id, std::nullopt, false};
  if (to != kNobody) order.target = hosts_[to]->id;
  give(asked, order);
}

void World::asks_jobs(std::uint32_t index) {
  if (index >= scenario_.nodes || !hosts_[index]->node || asleep(index)) return;
  ++counts_.looks;
  promises_.answers().asks_jobs(index, next_request_);
  give(index, node::AskJobs{next_request_++});
}

void World::asks_log(const PersonPlan& plan) {
  if (plan.to >= scenario_.nodes || !hosts_[plan.to]->node || asleep(plan.to)) return;
  if (plan.job >= jobs_.size() || !jobs_[plan.job].begun) return;
  ++counts_.looks;
  const JobTruth& truth = jobs_[plan.job];
  const std::uint64_t from = truth.output() / 2;
  promises_.answers().asks(plan.to, next_request_,
                           {Answers::Asked::What::kLogs, plan.job, kNobody, from});
  give(plan.to,
       node::AskLog{next_request_++, kUser, truth.id, hosts_[truth.plan.node]->id, 0, from});
}

// ---- tern down

void World::stops(const PersonPlan& plan) {
  if (plan.to >= scenario_.nodes || asleep(plan.to)) return;
  Host& host = *hosts_[plan.to];
  if (!host.node || host.stopping == host.life) return;
  ++counts_.downs;
  host.stopping = host.life;
  host.down_for = plan.length;
  note(plan.to, "is told to stop");
  promises_.told_to_stop(plan.to);
  later(plan.to, Duration(0), StopDue{now_ + kStopPatience, false});
  give(plan.to, node::Stopping{false});
}

void World::goes_on_stopping(std::uint32_t index, StopDue due) {
  Host& host = *hosts_[index];
  if (!host.node) return;
  if (!due.withdrawing && now_ >= due.by) {
    due = {now_ + kWithdrawPatience, true};
    give(index, node::Stopping{true});
    if (!host.node) return;
  }
  const auto unsettled = host.node->unsettled();
  const bool of_use = std::any_of(unsettled.begin(), unsettled.end(), [&](const auto& u) {
    return !u.waits_for_others || !(due.withdrawing || u.lingers);
  });
  if (of_use && !(due.withdrawing && now_ >= due.by)) return later(index, kStopLook, due);
  give(index, node::Leave{});
  host.down_until = now_ + host.down_for;
  stop(index, true);
}

// ---- tern throttle, tern drain

void World::throttles(const PersonPlan& plan) {
  if (plan.job >= jobs_.size()) return;
  const JobTruth& truth = jobs_[plan.job];
  const std::uint32_t at = runs_at(plan.job);
  const std::uint32_t asked = truth.plan.node;
  if (at == kNobody || !hosts_[asked]->node || asleep(asked)) return;
  ++counts_.throttles;
  Answers::Asked what{Answers::Asked::What::kThrottle, plan.job, at};
  what.percent = plan.percent;
  promises_.answers().asks(asked, next_request_, what);
  give(asked, node::ThrottleJob{next_request_++, kUser, truth.id, hosts_[at]->id, plan.percent});
}

void World::drains(std::uint32_t person) {
  const PersonPlan& plan = scenario_.people[person];
  if (plan.to >= scenario_.nodes || !hosts_[plan.to]->node || asleep(plan.to)) return;
  ++counts_.drains;
  promises_.answers().asks(plan.to, next_request_, {Answers::Asked::What::kDrain, 0, plan.to});
  put(now_ + plan.length, kNobody, 0, PersonSpeaks{person, true});
  give(plan.to, node::DrainNode{next_request_++, false, true});
}

// Whoever drains it last, it takes guests again: nobody else waits in these worlds.
void World::lifts_drain(std::uint32_t person) {
  const std::uint32_t index = scenario_.people[person].to;
  if (is_off(index)) return;
  if (!hosts_[index]->node || asleep(index)) {
    return put(now_ + seconds(2), kNobody, 0, PersonSpeaks{person, true});
  }
  promises_.answers().asks(index, next_request_, {Answers::Asked::What::kLift, 0, index});
  give(index, node::DrainNode{next_request_++, true, false});
}

// ---- tern resolve

// Whether a copy, or what may become one, is anywhere else.
bool World::is_elsewhere(std::uint32_t job, std::uint32_t index) const {
  const std::vector<std::uint32_t>& places = jobs_[job].places;
  return std::any_of(places.begin(), places.end(), [&](std::uint32_t place) {
    if (place == index) return false;
    const Host& host = *hosts_[place];
    const bool arrives =
        std::any_of(host.incoming.begin(), host.incoming.end(), [&](const auto& arrival) {
          return arrival.first.job == jobs_[job].id && arrival.second.state != Incoming::kGone &&
                 arrival.second.state != Incoming::kReleased;
        });
    return arrives || host.machine.find(job) != nullptr;
  });
}

// A person who knows: the other copy really is gone, and never ran on; this one waits for it.
void World::resolves(std::uint32_t job) {
  if (job >= jobs_.size() || jobs_[job].ended || copies_of(job) == 0) return;
  const std::vector<std::uint32_t> places = jobs_[job].places;
  for (const std::uint32_t place : places) {
    const Host& host = *hosts_[place];
    if (!host.node || is_clone(place) || asleep(place) || is_elsewhere(job, place)) continue;
    const auto unsettled = host.node->unsettled();
    const bool waits = std::any_of(unsettled.begin(), unsettled.end(), [&](const auto& u) {
      return u.job == jobs_[job].id && u.waits_for_others;
    });
    if (!waits) continue;
    ++counts_.resolves;
    promises_.answers().asks(place, next_request_, {Answers::Asked::What::kResolve, job});
    promises_.asked_to_wake(job);  // if it rests there
    return give(place, node::ResolveJob{next_request_++, jobs_[job].id});
  }
}

}  // namespace sim
