// `tern drain`: this node takes no guests and sends away whom it has. The choice is Drain's.
#include <algorithm>
#include <map>
#include <utility>

#include "node/node.h"

namespace node {

using base::NodeId;

namespace {

constexpr const char* kDrainKey = "drain";
const base::Bytes kDrains = {1};  // its values
const base::Bytes kParks = {2};
constexpr const char* kFilesComing = ": it has ended, and its files are on their way home";

std::string jobs_text(std::size_t count) {
  return count == 1 ? "1 job is" : std::to_string(count) + " jobs are";
}

}  // namespace

balance::NodeLoad load_of(const gossip::NodeView& seen) {
  balance::NodeLoad load;
  load.id = seen.id;
  load.live = seen.state == gossip::State::kAlive && seen.readable;
  load.trit = static_cast<probe::Trit>(seen.fields.trit);
  load.effective_ratio_micros = seen.fields.effective_milli * 1000;
  load.cpus_millis = std::max<std::int64_t>(seen.fields.cpus_milli, 1);
  load.memory_total_bytes = static_cast<std::int64_t>(seen.fields.mem_total_bytes);
  load.memory_free_bytes = static_cast<std::int64_t>(seen.fields.mem_free_bytes);
  load.accepts_jobs = seen.fields.accepts_jobs;
  load.has_seat = seen.fields.seat.has_value();
  return load;
}

void Node::recover_drain(const Records& records) {
  const auto drains = records.find(kDrainKey);
  person_drains_ = drains != records.end();
  person_parks_ = person_drains_ && drains->second == kParks;
  drain_.reach(reach_now());
  drain_.parks(person_parks_);
}

void Node::on(const DrainNode& event) {
  if (event.off) {
    person_drains_ = person_parks_ = false;
    persist({{kDrainKey, std::nullopt}}, 0, 0);
    for (const DrainWaiter& waiter : std::exchange(drain_waiters_, {})) {
      reply(waiter.request, 1, "the drain was called off");
    }
  } else if (!person_drains_ || person_parks_ != event.park) {
    person_drains_ = true;
    person_parks_ = event.park;
    persist({{kDrainKey, event.park ? kParks : kDrains}}, 0, 0);
  }
  drain_.reach(reach_now());
  drain_.parks(person_parks_);
  on_local();
  if (event.off) {
    Reply done;
    done.request = event.request;
    done.withdrawn = end_drain();
    return out(std::move(done));
  }
  if (!event.wait) return reply(event.request, 0, "");
  if (drain_waiters_.size() >= kQueriesMax) {
    return reply(event.request, 1, "too many wait for this drain already");
  }
  drain_waiters_.push_back({event.request, {}});
}

std::string Node::why_no_guests() const {
  if (!config_.accepts_jobs) return config_.why_no_jobs;
  if (person_drains_) return "it is being drained (to end that, there: tern drain --off)";
  return stance_.yield == Yield::kNothing ? std::string() : stance_.why;
}

Reach Node::reach() const {
  if (person_drains_ || stance_.yield == Yield::kDrain) return Reach::kAll;
  return stance_.yield == Yield::kSendHome ? Reach::kGuests : Reach::kNobody;
}

// While the machine falls asleep nothing begins that sleep would cut short.
Reach Node::reach_now() const {
  return sleep_.phase() == Sleep::kAsleep ? Reach::kNobody : reach();
}

void Node::heed_owner() {
  const Stance stance = stance_of(config_.owner, sample_.owner, sleep_.phase(), sleep_.shutdown());
  // The charge falls all the time; that alone is no news.
  const bool news = stance.yield != stance_.yield;
  stance_ = stance;
  if (!news) return;
  Happened event;
  event.kind = "owner";
  event.node = self_;
  event.text = stance.yield == Yield::kNothing
                   ? "guests are welcome again"
                   : std::string(yield_name(stance.yield)) + ": " + stance.why;
  out(std::move(event));
  drain_.reach(reach_now());
}

std::vector<DrainJob> Node::drain_jobs() const {
  std::vector<DrainJob> jobs;
  std::map<base::JobId, NodeId> leaving;
  for (const balance::Balance::Unsettled& one : unsettled()) {
    if (one.source) leaving[one.job] = one.other;
  }
  for (const balance::JobFacts& facts : local_.jobs) {
    const jobs::Job* job = jobs_->find(facts.id);
    if (job == nullptr || !job->here || job->wait_status) continue;
    // Parked it is in nobody's way; while it is being parked that may still fail.
    if (job->rest == jobs::Rest::kParked || job->rest == jobs::Rest::kRemoving) continue;
    const bool parking = job->rest == jobs::Rest::kParking;
    const bool busy = job->rest != jobs::Rest::kNone || balance_->in_doubt(facts.id);
    const auto left_for = leaving.find(facts.id);
    jobs.push_back({facts, job->spec.name, job->spec.home, parking, busy, {}});
    if (left_for != leaving.end()) jobs.back().leaves_for = left_for->second;
  }
  return jobs;
}

std::vector<balance::NodeLoad> Node::loads() const {
  std::vector<balance::NodeLoad> loads;
  for (const gossip::NodeView& seen : gossip_->view()) loads.push_back(load_of(seen));
  return loads;
}

// It has nowhere to go, and is waited for until the host says that it ended.
void Node::on(const FilesGoHome& event) {
  if (jobs_->find(event.job) == nullptr) return;
  ended_[event.job] = event.wait_status;
  on_local();
}

// What no triad has formed for is not begun any more, as the machine may be about to sleep.
void Node::withdraw_drain() {
  const auto moves = drain_moves_;  // each is answered here
  for (const auto& [token, job] : moves) to_balance(balance::PersonWithdraw{token});
}

// For the person: the owner's policy may drain it all the same.
std::vector<DrainStep> Node::end_drain() {
  if (drain_.on()) return {};
  std::vector<DrainStep> steps;
  const auto moves = drain_moves_;
  const auto targets = drain_.targets();
  withdraw_drain();
  for (const auto& [token, id] : moves) {
    const jobs::Job* const job = jobs_->find(id);
    const auto target = targets.find(id);
    if (job == nullptr || target == targets.end()) continue;
    DrainStep step{id, job->spec.name, {}, {}};
    const bool goes_on = drain_moves_.contains(token);
    if (!target->second) {
      step.why = "it is being parked already; then: tern wake " + id.brief();
    } else if (goes_on) {
      step.to = name_of(*target->second);
    } else {
      step.why = "its move to " + name_of(*target->second) + " is withdrawn";
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

// A job in doubt is moving already, by a rule or a person: it is seen again afterwards.
void Node::tend_drain() {
  drain_.reach(reach_now());
  if (!drain_.on()) withdraw_drain();
  if (!sampled_ || (!drain_.on() && drain_waiters_.empty())) return;
  drain_.at_once(sleep_.phase() == Sleep::kLeaving ? kLeaveAtOnce : 1);
  const std::vector<DrainJob> jobs = drain_jobs();
  const bool chooses = drain_.on() && !drain_.busy() &&
                       std::any_of(jobs.begin(), jobs.end(), [](const auto& j) { return !j.busy; });
  const std::vector<balance::NodeLoad> view = chooses ? loads() : std::vector<balance::NodeLoad>();
  for (std::size_t i = 0; i < kLeaveAtOnce; ++i) {
    const std::optional<Drain::Move> move = drain_.next(now_, self_, jobs, view);
    if (!move) break;
    const std::uint64_t token = next_query_++;
    drain_moves_[token] = move->job;
    drain_.moving(*move);
    if (move->target) {
      to_balance(balance::PersonMigrate{token, move->job, move->target});
    } else {
      start_park(token, *jobs_->find(move->job), false);
    }
  }
  tell_drain(jobs);
}

void Node::tell_drain(const std::vector<DrainJob>& jobs) {
  if (drain_waiters_.empty()) return;
  if (jobs.empty() && arriving_.empty() && ended_.empty()) {
    for (const DrainWaiter& waiter : std::exchange(drain_waiters_, {})) {
      reply(waiter.request, 0, "");
    }
    return;
  }
  std::string said = jobs_text(jobs.size()) + " still here";
  for (const auto& [id, wait_status] : ended_) {
    const jobs::Job* job = jobs_->find(id);
    if (job != nullptr) said += "; " + job->spec.name + kFilesComing;
  }
  const std::vector<Drain::Left> left = drain_.left(jobs);
  for (std::size_t i = 0; i < left.size() && i < kObstaclesMax; ++i) {
    const bool rests = jobs_->find(left[i].job)->rest != jobs::Rest::kNone;
    said += "; " + left[i].name + ": " + (rests ? "it is being parked or woken" : left[i].why);
  }
  for (DrainWaiter& waiter : drain_waiters_) {
    if (std::exchange(waiter.said, said) == said) continue;
    Reply progress;
    progress.request = waiter.request;
    progress.over = false;
    progress.sentence = said;
    out(std::move(progress));
  }
}

// Of a park, as answer_person() has it.
bool Node::take_drain_answer(std::uint64_t token, int exit_code, const std::string& sentence) {
  const auto move = drain_moves_.extract(token);
  if (!move) return false;
  drain_.moved(now_, move.mapped(),
               exit_code == 0 ? std::string() : "it cannot be parked: " + sentence);
  return true;
}

bool Node::take_drain_reply(const balance::PersonReply& said) {
  const auto move = drain_moves_.find(said.request);
  if (move == drain_moves_.end()) return false;
  if (!said.over) return true;
  drain_.moved(now_, move->second,
               said.code == balance::ReplyCode::kDone ? std::string() : said.sentence);
  drain_moves_.erase(move);
  return true;
}

std::vector<DrainStep> Node::drain_plan(bool parks) const {
  std::vector<DrainStep> plan;
  const std::vector<balance::NodeLoad> view = loads();
  for (const DrainJob& job : drain_jobs()) {
    DrainStep step{job.facts.id, job.name, {}, {}};
    const auto target = drain_target(job, self_, view);
    if (jobs_->find(job.facts.id)->rest != jobs::Rest::kNone) continue;
    if (!job.facts.movable) {
      step.why = job.facts.why_not;
    } else if (!target) {
      const bool rests = parks && job.home == self_;
      step.why = rests ? "parked, as no idle node has room for it" : "no idle node has room for it";
    } else {
      step.to = name_of(*target);
    }
    plan.push_back(std::move(step));
  }
  return plan;
}

}  // namespace node
