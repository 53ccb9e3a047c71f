// Jobs that rest on this node's disk: what people ask, what the host says, what is told of it.
#include <algorithm>
#include <csignal>

#include "node/node.h"

namespace node {

namespace {

// What people send, or type, to end a job for good; and what becomes of one that was never started
// when its terminal or its reader goes. Of all others only the job knows what they mean to it.
bool ends_resting(int number, bool queued) {
  switch (number) {
    case SIGKILL:
    case SIGTERM:
    case SIGINT:
    case SIGQUIT:
      return true;
    case SIGHUP:
    case SIGPIPE:
      return queued;
    default:
      return false;
  }
}

std::string decimal_seconds(base::Duration duration) {
  const std::int64_t micros = std::max<std::int64_t>(duration.count(), 0);
  std::string fraction = std::to_string(micros % 1000000);
  fraction.insert(0, 6 - fraction.size(), '0');
  return std::to_string(micros / 1000000) + "." + fraction;
}

}  // namespace

std::string rest_json(const Rested& rested, const base::NodeId& node,
                      const std::string& node_name) {
  std::string json = "{\"job\":" + quoted(rested.job.hex()) + ",\"node\":" + quoted(node.hex());
  json += ",\"node_name\":" + quoted(node_name);
  json += ",\"what\":" + quoted(rested.wakes ? "wake" : "park");
  json += ",\"outcome\":" + quoted(rested.ok ? "done" : "failed");
  json += ",\"reason\":" + quoted(rested.reason) + ",\"bytes\":" + std::to_string(rested.bytes);
  json += ",\"stored_bytes\":" + std::to_string(rested.stored_bytes);
  json += ",\"frozen_seconds\":" + decimal_seconds(rested.frozen) + ",\"phases\":{";
  bool first = true;
  for (const auto& [name, took] : rested.phases) {
    json += (first ? "" : ",") + quoted(name) + ":" + decimal_seconds(took);
    first = false;
  }
  return json + "}}";
}

// ---- people

void Node::on(const ParkJob& event) {
  Order order;
  order.verb = event.trial ? Verb::kTryPark : Verb::kPark;
  order.job = event.job;
  order.uid = event.uid;
  give_order(event.request, event.host, order);
}

void Node::on(const WakeJob& event) {
  Order order;
  order.verb = Verb::kWake;
  order.job = event.job;
  order.uid = event.uid;
  give_order(event.request, event.host, order);
}

void Node::start_park(std::uint64_t token, const jobs::Job& job, bool trial) {
  const base::JobId id = job.spec.id;
  if (job.wait_status) return answer_person(token, 1, "that job has ended already", "");
  if (job.parked) {
    return answer_person(token, 1,
                         job.parked->queued ? "the job is queued: it was never started, so there "
                                              "is nothing to park; to start it: tern wake"
                                            : "the job is parked already",
                         "");
  }
  if (job.rest != jobs::Rest::kNone || resting_.contains(id)) {
    return answer_person(token, 1, "the job is being parked already", "");
  }
  if (balance_->in_doubt(id)) return answer_person(token, 5, "the job is being moved", "");
  if (!job.launched) return answer_person(token, 1, "the job has not started yet", "");
  if (trial) {
    if (trials_.size() >= kTrialsMax) {
      return answer_person(token, 1, "too many dry runs at once", "");
    }
    trials_[token] = {id, {}, now_ + kTrialPatience, false, true};
    return out(CollectNeeds{token, id, true, may_close_tcp(id)});
  }
  resting_[id] = token;
  to_jobs(jobs::ParkAsked{id});
  on_local();  // nothing proposes to move it from now on
}

void Node::start_wake(std::uint64_t token, const jobs::Job& job) {
  const base::JobId id = job.spec.id;
  if (!job.parked) return answer_person(token, 1, "the job is not parked", "");
  if (job.rest != jobs::Rest::kParked || resting_.contains(id)) {
    return answer_person(token, 1, "the job is being woken already", "");
  }
  if (balance_->in_doubt(id)) return answer_person(token, 5, "the job is being moved", "");
  resting_[id] = token;
  to_jobs(jobs::WakeAsked{id});
  on_local();
}

// A person said that it runs here: what was resolved where it rests is woken before she is told.
bool Node::wake_resolved(const balance::PersonReply& said) {
  if (!said.over || !resolving_.contains(said.request)) return false;
  const jobs::Job* job = said.handover ? jobs_->find(said.handover->job) : nullptr;
  if (said.code != balance::ReplyCode::kDone || job == nullptr || !job->parked) {
    resolving_.erase(said.request);
    return false;
  }
  start_wake(said.request, *job);
  return true;
}

// Whether that was all: nothing of a parked job can hear a signal.
bool Node::kill_parked(std::uint64_t token, const jobs::Job& job, int signal_number) {
  if (!job.parked) return false;
  const bool moves = balance_->in_doubt(job.spec.id) || job.rest != jobs::Rest::kParked ||
                     resting_.contains(job.spec.id);
  if (moves) {
    answer_person(token, 1, "the job is being woken or moved; try again", "");
  } else if (!ends_resting(signal_number, job.parked && job.parked->queued)) {
    answer_person(token, 1,
                  job.parked->queued
                      ? "the job is queued and hears no signal before it is started: tern wake"
                      : "the job is parked and hears no signal; first: tern wake",
                  "");
  } else {
    resting_[job.spec.id] = token;  // told when it is gone
    to_jobs(jobs::RemoveAsked{job.spec.id, signal_number});
  }
  return true;
}

// Whoever ran it hears that it waits, once that is durable.
void Node::on_queued(const base::JobId& job) {
  const auto asked = running_.extract(job);
  if (asked) reply(asked.mapped(), 0, "");
  on_local();
}

Node::Placement Node::placement() const {
  Placement placement;
  if (!sampled_ || trit_.trit() != probe::Trit::kPlus) return placement;
  placement.here = false;
  std::int64_t least = 0;
  int minus = 0;
  balance::JobFacts fresh;  // one that has just begun
  fresh.load_micros = kNewJobLoad;
  fresh.memory_bytes = 1;  // nobody knows; on a node that is short of memory it is too much
  for (const balance::NodeLoad& node : loads()) {
    if (!node.live || node.id == self_ || node.trit != probe::Trit::kMinus) continue;
    ++minus;
    const bool fits = balance::takes(node, fresh) &&
                      (!placement.elsewhere || node.effective_ratio_micros < least);
    if (!fits) continue;
    least = node.effective_ratio_micros;
    placement.elsewhere = node.id;
  }
  placement.why = minus == 0 ? "this node is busy (PLUS) and no idle node (MINUS) is there"
                             : "this node is busy (PLUS) and no idle node (MINUS) has room";
  return placement;
}

// No other clock goes on over a reboot. One that was set wrong makes the job wait as if it had just
// been parked, or not at all.
base::Duration Node::rested(const jobs::ParkedFacts& facts) const {
  const std::int64_t since = std::max<std::int64_t>(base::wall_seconds(facts.since), 0);
  const auto passed = std::min<std::int64_t>(base::wall_seconds(wall_) - since, 3600);
  return std::clamp<base::Duration>(std::chrono::seconds(passed), base::Duration(0),
                                    balance::kResidence);
}

// ---- the host

void Node::on(const Rested& event) {
  const auto who = resting_.extract(event.job);
  Happened happened;
  happened.kind = event.wakes ? "wake" : "park";
  happened.node = self_;
  happened.job = event.job;
  happened.text = event.ok ? (event.wakes ? "woken" : "parked") : "failed: " + event.reason;
  if (!event.found) {
    happened.rest = rest_json(event, self_, name_of(self_));
    out(std::move(happened));
  }
  if (event.wakes && event.ok) {
    const jobs::Job* job = jobs_->find(event.job);
    if (job != nullptr && job->parked) moved_.taken_in(now_, job->parked->load_micros);
    to_jobs(jobs::Woken{event.job, event.pid});
  }
  if (event.wakes && !event.ok) to_jobs(jobs::WakeFailed{event.job});
  if (!event.wakes && event.ok) {
    to_jobs(jobs::Parked{event.job, event.facts,
                         event.found ? rested(event.facts) : base::Duration(0)});
    if (throttles_.forget(event.job)) persist({{throttle_key(event.job), std::nullopt}}, 0, 0);
  }
  if (!event.wakes && !event.ok) to_jobs(jobs::ParkFailed{event.job});
  if (who) {
    const int code = event.ok ? 0 : event.refused ? 5 : 1;
    const bool resolved = resolving_.contains(who.mapped());
    answer_person(who.mapped(), code,
                  resolved && !event.ok
                      ? "the job is parked here now, and could not be woken: " + event.reason
                      : event.reason,
                  event.ok ? rest_json(event, self_, name_of(self_)) : "");
  }
  on_local();
}

}  // namespace node
