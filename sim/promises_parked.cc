// What must hold when a node wakes a job.
#include <algorithm>
#include <string>

#include "balance/limits.h"
#include "sim/promises.h"
#include "sim/world.h"

namespace sim {

namespace {

constexpr base::Duration kRests = balance::kResidence + std::chrono::seconds(12);

// What was just parked is left alone for a while; over a restart its host knows since when by a
// wall clock, which may have been set back meanwhile.
bool has_rested(const World& world, std::uint32_t host, const Copy& copy) {
  if (copy.facts.queued) return true;
  const auto& faults = world.scenario().faults;
  const bool jumps = std::any_of(faults.begin(), faults.end(), [&](const FaultPlan& plan) {
    return plan.fault == Fault::kWallJump && plan.node == host;
  });
  const base::Time since = jumps ? std::max(copy.frozen_at, world.born(host)) : copy.frozen_at;
  return world.now() - since >= kRests;
}

}  // namespace

// design.md §2: S > 0 or = 0 wakes nothing by rule; oldest first.
void Promises::wakes(std::uint32_t host, const base::JobId& id) {
  const std::uint32_t job = world_.job_index(id);
  tried_to_wake_.insert(job);
  if (asked_to_wake_.contains(job) || tainted_job(job) || excused_host(host)) return;
  const node::Node* node = world_.node(host);
  if (node == nullptr) return;
  if (node->status().sum >= 0) broke("wakes-when-idle", host, "job " + std::to_string(job));
  const Copy* one = world_.machine(host).find(job);
  if (one == nullptr) return;
  for (const Copy& other : world_.machine(host).copies()) {
    if (!other.parked || other.woken || tried_to_wake_.contains(other.job)) continue;
    const bool older = other.facts.since < one->facts.since;
    const bool smaller = other.facts.load_micros <= one->facts.load_micros &&
                         other.facts.memory_bytes <= one->facts.memory_bytes;
    const node::jobs::Job* known = node->jobs().find(world_.jobs()[other.job].id);
    const bool waits = known != nullptr && known->rest == node::jobs::Rest::kParked;
    if (!older || !smaller || !waits || !has_rested(world_, host, other)) continue;
    if (!tainted_job(other.job)) {
      broke("oldest-first", host,
            "job " + std::to_string(job) + " before job " + std::to_string(other.job));
    }
  }
}

}  // namespace sim
