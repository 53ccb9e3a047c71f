// The owners of the machines: what they do to guests there (node/owner.h).
#include <algorithm>
#include <string>

#include "sim/world.h"

namespace sim {
namespace {

constexpr std::uint32_t kSamplesToHold = 6;  // half a minute
constexpr base::Duration kSettledIn = std::chrono::seconds(30);

}  // namespace

// Both ways to hold guests, and both causes, whichever machine it is. Who leaves by an owner's word
// leaves by a drain, which has its tests in tests/node.
node::OwnerPolicy owner_policy(std::uint32_t index) {
  using node::Yield;
  const bool even = index % 2 == 0;
  return {even ? Yield::kPause : Yield::kThrottle, even ? Yield::kThrottle : Yield::kPause,
          Yield::kPause};
}

void World::owner_comes(std::uint32_t index, std::uint32_t plan) {
  Host& host = *hosts_[index];
  host.owner = {};
  host.owner_plan = plan;
  switch (scenario_.faults[plan].salt % 3) {
    case 0:
      host.owner.idle = base::Duration(0);
      return;
    case 1:
      host.owner.power = {probe::Power::kBattery, 50};
      return;
    default:
      host.owner.power = {probe::Power::kBatteryLow, 9};
  }
}

void World::owner_goes(std::uint32_t index, std::uint32_t plan) {
  if (hosts_[index]->owner_plan == plan) hosts_[index]->owner = {};
}

void World::pause(std::uint32_t index, const node::PauseJob& order) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(order.job);
  const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr || copy->parked) {
    return give(index, node::JobPaused{order.token, false, "it is gone"});
  }
  if (order.on && id(jobs_[job].plan.node) == host.id) {
    promises_.broke_job("pauses-guests", index, job, "it is paused at home");
  }
  host.machine.pause(now_, jobs_, job, order.on);
  const base::Time changed = last_change_;  // no copy comes or goes
  schedule_end(index);
  last_change_ = changed;
  give(index, node::JobPaused{order.token, true, ""});
}

// After a sample: who was to stand still for so long does.
void World::look_at_guests(std::uint32_t index) {
  Host& host = *hosts_[index];
  const auto stance = node::stance_of(owner_policy(host.identity), host.owner);
  const bool holds = host.node && stance.hold == node::Yield::kPause && host.frozen_until <= now_;
  host.owner_samples = holds ? host.owner_samples + 1 : 0;
  if (host.owner_samples < kSamplesToHold || now_ - host.born < kSettledIn) return;
  for (const Copy& copy : host.machine.copies()) {
    const JobTruth& truth = jobs_[copy.job];
    const node::jobs::Job* job = host.node->jobs().find(truth.id);
    const bool guest = job != nullptr && job->here && job->launched && !job->wait_status &&
                       job->rest == node::jobs::Rest::kNone && job->spec.home != host.id;
    if (!guest || copy.frozen || copy.paused || now_ - truth.arrived < kSettledIn) continue;
    if (host.node->in_doubt(truth.id)) continue;
    promises_.broke_job("pauses", index, copy.job, "it runs on while its host's owner is there");
  }
}

}  // namespace sim
