// What this node wants by itself, and what a person wants of it.
#include <algorithm>
#include <utility>

#include "balance/balance.h"
#include "balance/limits.h"

namespace balance {

namespace {

const JobFacts* facts_of(const LocalState& local, const JobId& job) {
  for (const JobFacts& facts : local.jobs) {
    if (facts.id == job) return &facts;
  }
  return nullptr;
}

const char* progress_sentence(Phase phase) {
  switch (phase) {
    case Phase::kPreflight:
      return "checking";
    case Phase::kFreezeAndStream:
      return "copying its files";
    case Phase::kRestore:
      return "restoring";
    case Phase::kDecide:
      return "restored, deciding";
    case Phase::kResume:
      break;
  }
  return "decided, resuming";
}

}  // namespace

void Balance::heed_formation(Step step) {
  if (auto formed = formation_.take_formed()) {
    // Of nobody who was told no: what had been proposed for him was withdrawn.
    for (Person& person : people_) {
      if (formed->form.cause == Cause::kPerson && formed->form.job == person.job) {
        person.formed = true;
      }
    }
    start(step, std::move(*formed));
  }
  if (auto failed = formation_.take_failed()) {
    wish_after_ = step.now + rng_.between(kBackoffMin, kBackoffMax);
    if (failed->by == failed->roles.sink) avoid_[failed->by] = wish_after_ + kBackoffMax;
    for (Person& person : people_) {
      if (failed->roles.cause != Cause::kPerson || failed->roles.job != person.job) continue;
      person.last_reason = failed->reason;
      person.last_code = failed->code;
      // At once some times, then with patience: another triad here lasts seconds.
      const bool soon = person.tries <= 3;
      person.retry_at = step.now + (soon ? rng_.between(base::Duration(50'000), kResendAfter)
                                         : rng_.between(kResendAfter, kBackoffMin));
      if (failed->code == wire::AnswerCode::kPolicy) person.until = step.now;
    }
  }
}

std::optional<Roles> Balance::roles_for(Cause cause, const JobId& job, const NodeId& sink) {
  Roles roles{cause, config_.self, sink, {}, cause == Cause::kPerson ? job : JobId{}};
  if (owes_too_many(sink)) {
    avoid_[sink] = now_ + kLingerEveryMax;
    return std::nullopt;
  }
  Thirds thirds = thirds_for(view_, config_.self, sink);
  for (std::vector<NodeId>* some : {&thirds.ergodic, &thirds.others}) {
    std::erase_if(*some, [&](const NodeId& node) { return owes_too_many(node); });
  }
  if (thirds.pair) return roles;
  const std::vector<NodeId>& from = thirds.ergodic.empty() ? thirds.others : thirds.ergodic;
  if (from.empty()) return std::nullopt;  // all have seats; soon one will not
  roles.third = from[static_cast<std::size_t>(rng_.below(from.size()))];
  return roles;
}

// The least loaded one that has not failed this job, or whose failure is the oldest: one that never
// takes it must not keep it from the others.
NodeId Balance::untried_sink(const Wish& wished) const {
  const auto failed = failed_at_.find(wished.job);
  if (failed == failed_at_.end()) return wished.sinks.front();
  const auto when = [&](const NodeId& sink) {
    const auto at = failed->second.find(sink);
    return at == failed->second.end() ? base::Time::min() : at->second;
  };
  return *std::min_element(wished.sinks.begin(), wished.sinks.end(),
                           [&](const auto& a, const auto& b) { return when(a) < when(b); });
}

void Balance::failed_at(const JobId& job, const NodeId& sink, base::Time now) {
  std::map<NodeId, base::Time>& failed = failed_at_[job];
  if (failed.size() >= kFailedSinksMax && !failed.contains(sink)) {
    failed.erase(std::min_element(failed.begin(), failed.end(), [](const auto& a, const auto& b) {
      return a.second < b.second;
    }));
  }
  failed[sink] = now;
}

// A MINUS node that has room and did not fail this job lately.
bool Balance::somebody_takes(const JobFacts& job, base::Time now) const {
  const auto failed = failed_at_.find(job.id);
  if (failed == failed_at_.end()) return has_sink(job, local_, view_, config_.self);
  std::vector<NodeLoad> view = view_;
  std::erase_if(view, [&](const NodeLoad& node) {
    const auto at = failed->second.find(node.id);
    return at != failed->second.end() && now - at->second < kFailedSinkCounts;
  });
  return has_sink(job, local_, view, config_.self);
}

void Balance::act_on_wish(Step step) {
  if (triad_ || formation_.busy() || damaged_ || stopping_ || own_.full()) return;
  if (lingering_.size() >= kLingeringMax) return;
  if (!view_known_ || !local_known_ || step.now < wish_after_ || !people_.empty()) return;
  std::erase_if(avoid_, [&](const auto& a) { return a.second <= step.now; });
  std::erase_if(rest_, [&](const auto& r) { return r.second.until <= step.now; });
  const bool wakes = step.now >= wake_after_ && !by_age(local_.jobs).empty();
  if (!may_wish(local_) && !wakes) return;
  LocalState local = local_;
  std::erase_if(local.jobs, [&](const JobFacts& job) {
    return rest_.contains(job.id) || !own_.is_here(job.id) || in_doubt(job.id) ||
           rests_yet(job, step.now);
  });
  std::vector<NodeLoad> view = view_;
  std::erase_if(view, [&](const NodeLoad& node) { return avoid_.contains(node.id); });
  std::optional<Wish> wished = wish(step.now, local, view, config_.self);
  // S is of all that live, also of those who refused lately.
  if (!wished && wakes && mesh_rule(trit_sum(view_)) == MeshRule::kWaking) {
    wished = wake_wish(local, view, config_.self);
  }
  if (!wished) return;
  const std::optional<Roles> roles = roles_for(wished->cause, wished->job, untried_sink(*wished));
  if (!roles) {
    wish_after_ = step.now + rng_.between(kResendAfter, kBackoffMin);
    return;
  }
  formation_.propose(step, *roles);
}

// On this node, by itself: with a seat its room may be promised to others.
void Balance::wake_here(Step step) {
  if (triad_ || formation_.busy() || damaged_ || stopping_) return;
  if (!view_known_ || step.now < wake_after_) return;
  std::erase_if(rest_, [&](const auto& r) { return r.second.until <= step.now; });
  LocalState local = local_;
  std::erase_if(local.jobs, [&](const JobFacts& job) {
    return !job.waking && (rest_.contains(job.id) || !own_.is_here(job.id) || in_doubt(job.id) ||
                           rests_yet(job, step.now));
  });
  for (const JobId& job : wake_rule(local, trit_sum(view_))) {
    // One that cannot be woken is not tried again and again.
    rest_[job] = {step.now + kResidence, {}};
    step.out.act(WakeHere{job});
  }
}

std::string Balance::why_rests(const JobId& job, base::Time now) const {
  const auto rest = rest_.find(job);
  return rest == rest_.end() || rest->second.until <= now ? std::string() : rest->second.why;
}

// ---- a person

void Balance::on(Step step, const PersonMigrate& event) {
  Person person;
  person.request = event.request;
  person.job = event.job;
  person.target = event.target;
  person.until = step.now + kPersonWait;
  person.retry_at = step.now;
  const Outlook refused = why_not_moved(event.job, event.target, step.now);
  if (!refused.why.empty()) return reply(step, person, refused.code, refused.why);
  const bool asked = std::any_of(people_.begin(), people_.end(),
                                 [&](const Person& p) { return p.job == event.job; });
  if (asked || people_.size() >= kPersonRequestsMax) {
    return reply(step, person, ReplyCode::kError, "the job is already being moved");
  }
  people_.push_back(std::move(person));
}

void Balance::on(Step step, const PersonWithdraw& event) {
  const auto who = std::find_if(people_.begin(), people_.end(), [&](const Person& p) {
    return p.request == event.request && !p.formed;
  });
  if (who == people_.end()) return;
  const Person person = *who;
  people_.erase(who);
  formation_.withdraw(step, person.job);
  reply(step, person, ReplyCode::kError, "it is not to be moved any more");
}

void Balance::on(Step step, const JobFroze& event) {
  for (const Person& person : people_) {
    if (person.job != event.job || !person.formed) continue;
    step.out.act(PersonReply{
        person.request, false, ReplyCode::kDone, "frozen, streaming", {}, config_.self});
  }
}

Balance::Outlook Balance::outlook(base::Time now, const JobId& job,
                                  const std::optional<NodeId>& target) const {
  Outlook refused = why_not_moved(job, target, now);
  return refused.why.empty() ? sink_for_person(job, target) : refused;
}

Balance::Outlook Balance::why_not_moved(const JobId& job, const std::optional<NodeId>& target,
                                        base::Time now) const {
  if (stopping_) return {ReplyCode::kError, kIsStopping, {}};
  const OwnRecord* own = own_.find(job);
  if (own == nullptr) return {ReplyCode::kError, "this node knows no such job", {}};
  if (own->at.is_zero()) return {ReplyCode::kError, "the job is lost", {}};
  if (!own_.is_here(job)) return {ReplyCode::kError, "the job is on node " + own->at.brief(), {}};
  const JobFacts* facts = facts_of(local_, job);
  const bool over = facts == nullptr || ended_.contains(job);
  if (over) return {ReplyCode::kError, "the job does not run here", {}};
  const bool rests = facts->state == JobState::kParked || facts->state == JobState::kQueued;
  if (target == config_.self && rests) {
    return {ReplyCode::kError, "the job rests here; to run it here: tern wake", {}};
  }
  if (target == config_.self) return {ReplyCode::kDone, "the job is already here", {}};
  if (in_doubt(job)) return {ReplyCode::kRefused, kIsInDoubt, {}};
  return {ReplyCode::kRefused, why_stays(*facts, now, /*by_person=*/true), {}};
}

Balance::Outlook Balance::sink_for_person(const JobId& job,
                                          const std::optional<NodeId>& target) const {
  if (target) {
    const bool live = std::any_of(view_.begin(), view_.end(),
                                  [&](const NodeLoad& n) { return n.id == *target && n.live; });
    if (!live) return {ReplyCode::kUnreachable, "the node cannot be reached", {}};
    if (owes_too_many(*target)) return {ReplyCode::kRefused, kOwesTooMany, {}};
    return {ReplyCode::kDone, "", *target};
  }
  const JobFacts* facts = facts_of(local_, job);
  const NodeLoad* best = nullptr;
  for (const NodeLoad& n : view_) {
    const bool fits =
        n.live && n.id != config_.self && n.accepts_jobs && n.trit == probe::Trit::kMinus &&
        !n.has_seat && !owes_too_many(n.id) &&
        (facts == nullptr ||
         facts->memory_bytes <= memory_room(n.memory_free_bytes, n.memory_total_bytes));
    if (!fits) continue;
    const bool better = best == nullptr || std::tie(n.effective_ratio_micros, n.id) <
                                               std::tie(best->effective_ratio_micros, best->id);
    if (better) best = &n;
  }
  if (best == nullptr) return {ReplyCode::kNothingFits, "no idle node has room", {}};
  return {ReplyCode::kDone, "", best->id};
}

void Balance::act_for_person(Step step) {
  // Also who waits behind a move that has no end.
  const auto late = [&](const Person& p) { return !p.formed && step.now >= p.until; };
  for (auto at = std::find_if(people_.begin(), people_.end(), late); at != people_.end();
       at = std::find_if(people_.begin(), people_.end(), late)) {
    if (triad_ && !at->last_code) {
      at->last_reason = "this node is not done with another move";
      at->last_code = wire::AnswerCode::kBusy;
    }
    person_failed(step, at);
  }
  if (people_.empty() || (triad_ && people_.front().formed)) return;
  // One after another, as this node has one seat; whose job's move is decided waits for nothing but
  // its end, and nobody waits for one who is to try again later.
  const auto waits = [](const Person& p) { return !p.formed; };
  auto next = std::find_if(people_.begin(), people_.end(), waits);
  if (next == people_.end()) return;
  Person& person = *next;
  if (stopping_) {
    person.last_reason = kIsStopping;
    person.last_code = wire::AnswerCode::kBusy;  // no matter of reachability
    return person_failed(step, next);
  }
  if (lingering_.size() >= kLingeringMax) {
    person.last_reason = kTooManyLinger;
    person.last_code = wire::AnswerCode::kFull;
    return person_failed(step, next);
  }
  if (triad_ || formation_.busy()) return;
  next = std::find_if(next, people_.end(),
                      [&](const Person& p) { return waits(p) && step.now >= p.retry_at; });
  if (next != people_.end()) propose_for(step, next);
}

void Balance::propose_for(Step step, People::iterator who) {
  Person& person = *who;
  const Outlook found = outlook(step.now, person.job, person.target);
  if (found.code == ReplyCode::kUnreachable) {
    person.last_reason = found.why;
    person.last_code.reset();
    return person_failed(step, who);
  }
  if (!found.why.empty()) {
    reply(step, person, found.code, found.why);
    people_.erase(who);
    return;
  }
  const NodeId sink = found.sink;
  const std::optional<Roles> roles = roles_for(Cause::kPerson, person.job, sink);
  person.retry_at = step.now + kResendAfter;
  person.lacks_third = !roles;
  if (!roles) return;
  if (++person.tries > 1) {
    step.out.act(PersonReply{person.request,
                             false,
                             ReplyCode::kDone,
                             "trying again: " + person.last_reason,
                             {},
                             config_.self});
  }
  formation_.propose(step, *roles);
}

// Who had the job moved is not kept waiting for a machine that may never come back.
void Balance::tell_who_waits(Step step) {
  for (auto person = people_.begin(); person != people_.end();) {
    const std::optional<NodeId> node = person->formed ? waits_for(person->job) : std::nullopt;
    if (node) {
      reply(step, *person, ReplyCode::kUnreachable,
            "decided, but node " + node->brief() +
                " has not confirmed: the job waits for it, or for `tern resolve " +
                person->job.brief() + " --run-here`");
    }
    person = node ? people_.erase(person) : std::next(person);
  }
}

void Balance::person_failed(Step step, People::iterator who) {
  const Person person = *who;
  people_.erase(who);
  formation_.withdraw(step, person.job);
  ReplyCode code = ReplyCode::kError;
  if (!person.last_code) code = ReplyCode::kUnreachable;
  if (person.last_code == wire::AnswerCode::kPolicy) code = ReplyCode::kRefused;
  std::string sentence =
      person.last_reason.empty() ? "no triad could be formed in time" : person.last_reason;
  reply(step, person, code, std::move(sentence));
}

void Balance::reply(Step step, const Person& person, ReplyCode code, std::string sentence,
                    std::optional<HandoverEvent> event) {
  PersonReply out{person.request, true, code, std::move(sentence), {}, config_.self};
  if (event) out.handover = event->id;
  const OwnRecord* own = own_.find(person.job);
  if (own != nullptr) out.at = own->at;
  step.out.act(std::move(out));
}

// The handovers' own words, of this step, as far as this node is SOURCE.
void Balance::heed_own_events(Step step) {
  std::vector<HandoverEvent> told;
  for (; heeded_ < step.out.pending().size(); ++heeded_) {
    const auto* event = std::get_if<HandoverEvent>(&step.out.pending()[heeded_]);
    if (event != nullptr && event->told_by == Seat::kSource) told.push_back(*event);
  }
  for (const HandoverEvent& event : told) {
    const bool moved = event.outcome == Decision::kCommit && !own_.is_here(event.id.job);
    if (event.over && !moved) {
      // What was refused or failed rests a while; else it would be frozen again and again.
      rest_[event.id.job] = {step.now + kResidence, event.reason};
      failed_at(event.id.job, event.sink, step.now);
      wish_after_ = step.now + rng_.between(kBackoffMin, kBackoffMax);
    }
    const auto person = std::find_if(people_.begin(), people_.end(), [&](const Person& p) {
      return p.job == event.id.job && p.formed;
    });
    if (person == people_.end()) continue;
    if (!event.over) {
      step.out.act(PersonReply{person->request, false, ReplyCode::kDone,
                               progress_sentence(event.phase), event.id, config_.self});
      continue;
    }
    if (moved) {
      reply(step, *person, ReplyCode::kDone, "moved to node " + event.sink.brief(), event);
    } else {
      reply(step, *person, event.outcome ? ReplyCode::kError : ReplyCode::kRefused, event.reason,
            event);
    }
    people_.erase(person);
  }
}

// ---- the process rule

void Balance::apply_process_rule(Step step, bool sampled) {
  if (!local_known_) return;
  for (const JobFacts& job : local_.jobs) {
    if (job.state == JobState::kParked || job.state == JobState::kQueued) continue;
    const Intent intent = process_rule(job, local_.trit, somebody_takes(job, step.now), step.now);
    Asked& asked = asked_[job.id];
    if (asked.times == 0 || asked.intent != intent) {
      asked = {intent, 0};
      step.out.act(Advised{job.id, intent});
    }
    if (sampled || asked.times == 0) ++asked.times;
    const bool throttles = intent == Intent::kThrottle || intent == Intent::kUnthrottle;
    if (!sampled || !throttles || asked.times < kThrottleSamples) continue;
    if (!local_.policy.throttles || stopping_) continue;
    if (!own_.is_here(job.id) || in_doubt(job.id)) continue;
    step.out.act(SetThrottle{job.id, intent == Intent::kThrottle});
  }
  std::erase_if(asked_, [&](const auto& a) { return facts_of(local_, a.first) == nullptr; });
  std::erase_if(failed_at_, [&](const auto& f) { return facts_of(local_, f.first) == nullptr; });
}

}  // namespace balance
