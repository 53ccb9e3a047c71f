// Jobs leave before the machine sleeps or shuts down. When, and for how long, is SleepDelay's; who,
// Drain's.
#include <algorithm>
#include <utility>

#include "node/node.h"

namespace node {
namespace {

std::string jobs_text(std::size_t count) {
  return count == 1 ? "1 job" : std::to_string(count) + " jobs";
}

}  // namespace

// Those that can: nobody waits for a job that no node could take. With those that are being parked
// or woken, and those whose handover is not over: a copy that is to go on elsewhere stands still
// until both ends know.
std::size_t Node::leave_before_sleep() const {
  if (config_.owner.sleep < Yield::kSendHome) return 0;
  std::set<base::JobId> jobs;
  for (const DrainJob& job : drain_jobs()) {
    if (!job.facts.movable && jobs_->find(job.facts.id)->rest == jobs::Rest::kNone) continue;
    if (job.home != self_ || config_.owner.sleep == Yield::kDrain) jobs.insert(job.facts.id);
  }
  for (const auto& [job, wait_status] : ended_) jobs.insert(job);  // its files are on their way
  for (const balance::Balance::Unsettled& one : unsettled()) {
    if (!one.lingers) jobs.insert(one.job);
  }
  return jobs.size();
}

void Node::tend_sleep() {
  const Sleep before = sleep_.phase();
  const std::size_t waiting = leave_before_sleep();
  if (!sleep_.tend(now_, waiting)) return;
  if (sleep_.phase() != before) {
    const std::string may = std::string("it may ") + sleep_.verb() + ": ";
    const char* then = sleep_.shutdown() ? " could not leave in time"
                                         : " could not leave in time and will go on afterwards";
    sleep_changed(may +
                  (waiting == 0 ? "nothing is here that could leave" : jobs_text(waiting) + then));
  }
  out(DelaySleep{sleep_.holds()});
}

void Node::sleep_changed(std::string what) {
  Happened event;
  event.kind = "sleep";
  event.node = self_;
  event.text = std::move(what);
  out(std::move(event));
  heed_owner();
  hold_guests();
  on_local();
}

void Node::on(const SleepNews& event) {
  if (!event.begins) {
    if (sleep_.phase() == Sleep::kAwake) return;
    sleep_.wakes();
    sleep_changed(sleep_.shutdown() ? "it does not shut down after all" : "awake again");
    return tend_sleep();
  }
  const bool again = sleep_.phase() != Sleep::kAwake;
  const auto seconds =
      std::chrono::ceil<std::chrono::seconds>(sleep_.comes(now_, event.patience, event.shutdown));
  if (again) return;
  if (const std::size_t waiting = leave_before_sleep(); waiting > 0) {
    sleep_changed(std::string("about to ") + sleep_.verb() + ": " + jobs_text(waiting) +
                  " may take " + std::to_string(seconds.count()) + " s to leave");
  }
  tend_sleep();
}

}  // namespace node
