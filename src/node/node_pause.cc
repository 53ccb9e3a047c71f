// How guests are held while the owner needs her machine (node/owner.h): paused, or throttled.
#include <algorithm>

#include "node/node.h"

namespace node {

std::map<base::JobId, base::Epoch> Node::running_guests() const {
  std::map<base::JobId, base::Epoch> guests;
  for (const auto& [id, job] : jobs_->all()) {
    const bool runs = job.here && job.launched && !job.wait_status && job.rest == jobs::Rest::kNone;
    if (runs && job.spec.home != self_) guests[id] = job.epoch;
  }
  return guests;
}

void Node::hold_guests() {
  const std::map<base::JobId, base::Epoch> guests = running_guests();
  const bool pause = stance_.hold == Yield::kPause;
  for (const Pauses::Order& order : pauses_.tend(now_, pause, guests, sample_.jobs, next_query_)) {
    out(PauseJob{order.token, order.job, order.on});
  }
  if (!config_.no_throttle.empty()) return;
  for (const auto& [id, epoch] : guests) {
    const Throttle* const before = throttle_of(id);
    const std::int64_t was = before == nullptr ? 0 : before->limit_micros;
    if (is_limiting(id)) continue;
    if (!throttles_.by_owner(now_, id, epoch, stance_.hold == Yield::kThrottle)) continue;
    const std::uint64_t token = next_query_++;
    keep_throttle(*jobs_->find(id), token, throttles_.find(id)->limit_micros != was);
    limits_stored_[token].is_owners = true;
  }
}

void Node::on(const JobPaused& event) {
  const auto order = pauses_.answered(now_, event.token, event.ok);
  if (!order) return;
  Happened happened;
  happened.kind = "pause";
  happened.node = self_;
  happened.job = order->job;
  if (!event.ok) {
    happened.text = (order->on ? "cannot be paused: " : "cannot go on: ") + event.text;
  } else if (order->on) {
    happened.text =
        "paused: " + (stance_.hold_why.empty() ? "its owner says so" : stance_.hold_why);
  } else {
    happened.text = "goes on";
  }
  out(std::move(happened));
  on_local();
}

}  // namespace node
