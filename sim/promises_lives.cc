// Of sim/promises.h: what holds when a daemon ends and when it starts.
#include <algorithm>

#include "sim/promises.h"
#include "sim/world.h"

namespace sim {

void Promises::restarted(std::uint32_t host) {
  const node::Node* node = world_.node(host);
  if (node != nullptr && node->jobs().unreadable_records() != 0) {
    broke("own-records", host, "a job's record cannot be read");
  }
  if (node != nullptr && node->draining() != world_.disk(host).contains("drain")) {
    broke("drain-stands", host, "it starts, and a person's word is not what it was");
  }
}

void Promises::told_to_stop(std::uint32_t host) { stopping_[host] = world_.life(host); }

void Promises::decides(std::uint32_t host, const node::Persist& batch) {
  agreements_.decides(host, batch);
  const auto told = stopping_.find(host);
  if (told == stopping_.end() || told->second != world_.life(host)) return;
  for (const balance::RecordChange& change : batch.changes) {
    if (change.key == balance::kAcceptanceKey && change.value)
      broke("stops", host, "it was told to stop, and accepts a seat");
  }
}

// Whatever ended the life before, the jobs ran on.
void Promises::came_back(std::uint32_t host) {
  const node::Node* node = world_.node(host);
  if (node == nullptr || excused_host(host)) return;
  const auto unsettled = node->unsettled();
  for (const Copy& copy : world_.machine(host).copies()) {
    if (copy.frozen || excused_job(copy.job)) continue;
    const base::JobId& id = world_.jobs()[copy.job].id;
    const node::jobs::Job* job = node->jobs().find(id);
    const bool moves = std::any_of(unsettled.begin(), unsettled.end(),
                                   [&](const auto& one) { return one.job == id; });
    if (moves || (job != nullptr && job->here)) continue;
    broke("keeps-jobs", host, "it does not know of job " + std::to_string(copy.job));
  }
}

void Promises::set_back(std::uint32_t host) {
  const Records& disk = world_.disk(host);
  for (const JobTruth& truth : world_.jobs()) {
    const auto record = disk.find(balance::own_key(truth.id));
    if (record == disk.end()) continue;
    const auto own = balance::decode_own(record->second);
    if (own && own->at == world_.id(host)) tainted_jobs_.insert(truth.id);
  }
}

}  // namespace sim
