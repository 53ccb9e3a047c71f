// Whose a job is, as balance says it, and what has to wait until that is decided.
#include <algorithm>
#include <utility>
#include <vector>

#include "node/node.h"

namespace node {

void Node::on(const MoveArrived& event) {
  arriving_[event.spec.id] = event.id;
  to_jobs(jobs::Arriving{event.spec, event.id.epoch});
}

// After a crash between the new epoch's record and the throttle's: whether that epoch was given to
// what stood here, by a person's word or a move that came to nothing.
bool Node::stood_before(const base::JobId& job) const {
  const balance::OwnRecord* const own = balance_->owner(job);
  if (own != nullptr && own->resolved) return true;
  const auto ends = balance_->unsettled();
  return std::any_of(ends.begin(), ends.end(),
                     [&](const auto& end) { return end.source && end.job == job; });
}

void Node::take_owner(const balance::OwnerChanged& change) {
  const jobs::Job* job = jobs_->find(change.job);
  owner_in_doubt_.erase(change.job);
  // At start: whose it was before the handover that is still undecided. What is stored of the
  // arriving copy stays until then.
  if (!change.here && job != nullptr && !job->here && balance_->in_doubt(change.job)) {
    owner_in_doubt_.emplace(change.job, change);
    return;
  }
  const bool left = job != nullptr && job->here && !change.here;
  const bool ran = left && job->rest == jobs::Rest::kNone;  // what rests is no load
  const bool came = job != nullptr && job->arriving && change.here;
  if (ran) {
    for (const JobSample& seen : sample_.jobs) {
      if (seen.job != change.job) continue;
      moved_.sent_away(now_, seen.load_micros - seen.hidden_load_micros - seen.young_load_micros);
    }
  }
  if (came) moved_.taken_in(now_, job->spec.load_micros);
  if (change.here) {
    arriving_.erase(change.job);
    to_balance(balance::JobStarted{change.job});  // takes back the JobEnded of an earlier stay
    const bool stands = job != nullptr && job->here;
    if (stands || (starting_ && stood_before(change.job))) throttle_stays(change.job, change.epoch);
  }
  to_jobs(jobs::Owner{change.job, change.epoch, change.here, change.at, starting_});
  if (left || came) on_local();
}

// At start, once balance has said whose every job is that it knows.
void Node::look_for_unowned() {
  std::vector<base::JobId> unowned;
  for (const auto& [id, job] : jobs_->all()) {
    const bool known = balance_->owner(id) != nullptr || balance_->in_doubt(id);
    if (!known && job.recovered && !job.wait_status) unowned.push_back(id);
  }
  for (const base::JobId& job : unowned) to_jobs(jobs::Unowned{job});
}

// What was put off while a handover was undecided.
void Node::after_doubt() {
  const auto due = [this](auto& waiting) {
    std::vector<base::JobId> jobs;
    for (const auto& [job, what] : waiting) {
      if (!balance_->in_doubt(job)) jobs.push_back(job);
    }
    return jobs;
  };
  for (const base::JobId& job : due(owner_in_doubt_)) {
    const auto found = owner_in_doubt_.extract(job);
    if (found) take_owner(found.mapped());
  }
  for (const base::JobId& job : due(ended_in_doubt_)) {
    const auto found = ended_in_doubt_.extract(job);
    if (found) to_jobs(found.mapped());
  }
}

}  // namespace node
