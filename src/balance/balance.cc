#include "balance/balance.h"

#include <algorithm>
#include <utility>

#include "balance/limits.h"

namespace balance {

Balance::Balance(Config config, base::Rng rng, const Recovered& records, base::Log& log)
    : config_(config),
      rng_(rng),
      log_(log),
      out_(config.self, config.store),
      own_(config.self),
      formation_(base::Rng(rng_.next())) {
  local_.policy.accepts_jobs = false;  // it may be drained: not before that is said
  recover(records);
}

Balance::~Balance() = default;

Actions Balance::step(base::Time now, const Event& event) {
  now_ = now;
  const Step step{now, out_};
  if (!std::exchange(started_, true)) {
    own_.tell_all(out_);
    if (recovered_acceptance_) formation_.recover(now, *recovered_acceptance_);
    on(step, Tick{});
  }
  std::visit([&](const auto& e) { on(step, e); }, event);
  // Bounded: a message to this node itself is answered by state, never by the same message.
  heeded_ = 0;
  do {
    while (out_.has_message_to_self()) {
      deliver(step, config_.self, {config_.store, out_.next_message_to_self()});
    }
    follow_up(step);
  } while (out_.has_message_to_self());
  leave_if_over(step);
  tell_seat(step);
  return out_.take();
}

base::Time Balance::next_deadline() const {
  if (!started_) return base::Time::min();
  base::Time at = formation_.next_deadline();
  for (const auto& [id, triad] : lingering_) at = std::min(at, triad->next_deadline(now_));
  for (const Person& person : people_) {
    if (!person.formed) at = std::min(at, person.until);
  }
  if (triad_) return std::min(at, triad_->next_deadline(now_));
  if (formation_.busy()) return at;
  if (wish_after_ > now_) at = std::min(at, wish_after_);
  for (const Person& person : people_) {
    if (!person.formed) at = std::min(at, person.retry_at);
  }
  return at;
}

std::vector<Balance::Unsettled> Balance::unsettled() const {
  std::vector<Unsettled> all;
  for (const Triad* triad : triads()) {
    const bool source = triad->seat().seat == Seat::kSource;
    for (const End* end : triad->bound_ends()) {
      all.push_back(
          {end->id().job, end->peer(), source, end->waits_for_others(), triad->lingers()});
    }
  }
  return all;
}

bool Balance::in_doubt(const JobId& job) const { return end_of(job) != nullptr; }

std::optional<NodeId> Balance::waits_for(const JobId& job) const {
  const End* const end = end_of(job);
  if (end == nullptr || !end->waits_for_others()) return std::nullopt;
  // Released or void comes from SINK after commit, resumed or gone from SOURCE after abort.
  const Decision of_peer = is_source_state(end->state()) ? Decision::kCommit : Decision::kAbort;
  return end->decided() == of_peer ? std::optional(end->peer()) : std::nullopt;
}

// ---- the triads of this node

std::vector<Triad*> Balance::triads() const {
  std::vector<Triad*> all;
  for (const auto& [id, triad] : lingering_) all.push_back(triad.get());
  if (triad_) all.push_back(triad_.get());
  return all;
}

Triad* Balance::find(const TriadId& id) const {
  if (triad_ && triad_->id() == id) return triad_.get();
  const auto found = lingering_.find(id);
  return found == lingering_.end() ? nullptr : found->second.get();
}

End* Balance::end_of(const JobId& job) const {
  for (Triad* triad : triads()) {
    if (End* const end = triad->end_of(job)) return end;
  }
  return nullptr;
}

// ---- events

void Balance::on(Step step, const Received& event) {
  auto message = wire::decode(event.bytes);
  if (!message || event.from == config_.self) {
    ++dropped_;
    log_.debug("message_dropped",
               {{"from", event.from.brief()}, {"why", message ? "own" : message.error().detail}});
    return;
  }
  deliver(step, event.from, *message);
}

void Balance::on(Step step, const Persisted& event) {
  const auto own = own_writes_.find(event.id);
  if (own != own_writes_.end()) {
    if (own_.find(own->second.first) == nullptr) {
      own_.set(own->second.first, own->second.second, step.out);
    }
    own_writes_.erase(own);
  }
  formation_.persisted(step, event.id);
  for (Triad* triad : triads()) triad->persisted(step, event.id);
}

void Balance::on(Step step, const Tick&) {
  formation_.tick(step);
  for (Triad* triad : triads()) triad->tick(step);
}

void Balance::on(Step step, const ViewChanged& event) {
  const auto place = [this](const NodeId& id) {
    return std::lower_bound(view_.begin(), view_.end(), id,
                            [](const NodeLoad& n, const NodeId& wanted) { return n.id < wanted; });
  };
  for (const NodeId& id : event.gone) {
    const auto at = place(id);
    if (at != view_.end() && at->id == id) view_.erase(at);
  }
  // In a large mesh a view is large only until it becomes a sample.
  if (view_.size() < view_.capacity() / 4) view_.shrink_to_fit();
  for (const NodeLoad& node : event.nodes) {
    const auto at = place(node.id);
    if (at != view_.end() && at->id == node.id) {
      *at = node;
    } else if (view_.size() < kViewMax) {
      view_.insert(at, node);
    }
  }
  if (!std::exchange(view_known_, true)) wake_after_ = step.now + kViewSettles;
  for (Person& person : people_) {
    if (person.lacks_third) person.retry_at = step.now;
  }
  apply_process_rule(step, false);
}

void Balance::on(Step step, const LocalState& event) {
  local_ = event;
  local_.cpus_millis = std::max<std::int64_t>(local_.cpus_millis, 1);
  if (local_.jobs.size() > kJobsMax) local_.jobs.resize(kJobsMax);
  local_known_ = true;
  // S counts this node as it is; others are told of it when its digest is due.
  for (NodeLoad& node : view_) {
    if (node.id == config_.self) node.trit = local_.trit;
  }
  apply_process_rule(step, true);
  wake_here(step);
}

void Balance::on(Step step, const JobStarted& event) {
  ended_.erase(event.job);
  if (own_.find(event.job) != nullptr) return;
  if (own_.full()) {
    log_.error("too_many_jobs", {{"job", event.job.brief()}});
    return;  // it runs, but never moves
  }
  const OwnRecord first{Epoch{1}, Epoch{1}, config_.self};
  own_writes_[step.out.persist({{own_key(event.job), encode(first)}})] = {event.job, first};
}

void Balance::on(Step step, const JobEnded& event) {
  for (Triad* triad : triads()) triad->job_ended(step, event.job);
  ended_.insert(event.job);
  // Its first record is still on its way to the disk.
  const auto of_job = [&](const auto& write) { return write.second.first == event.job; };
  if (std::erase_if(own_writes_, of_job) != 0) {
    (void)step.out.persist({{own_key(event.job), std::nullopt}});
  }
}

void Balance::on(Step step, const Stopping& event) {
  stopping_ = true;
  // Whoever waits for a triad would wait in vain; who has one hears what comes of it.
  std::vector<Person> waiting;
  for (const Person& person : people_) {
    if (!person.formed) waiting.push_back(person);
  }
  std::erase_if(people_, [](const Person& person) { return !person.formed; });
  for (const Person& person : waiting) {
    formation_.withdraw(step, person.job);
    reply(step, person, ReplyCode::kError, kIsStopping);
  }
  for (Triad* triad : triads()) triad->stopping(step, event.withdraw);
}

void Balance::on(Step step, const PersonResolve& event) {
  End* const end = end_of(event.job);
  const auto refuse = [&](std::string why) {
    step.out.act(PersonReply{event.request, true, ReplyCode::kError, std::move(why), {}, {}});
  };
  if (end == nullptr) return refuse("the job is not in doubt on this node");
  if (resolve_) return refuse("another job is being resolved");
  const OwnRecord* own = own_.find(event.job);
  const Epoch known = std::max(own == nullptr ? Epoch{} : own->next, end->id().epoch);
  // Far above: where the other copy lives after all, its node gives out the next ones meanwhile.
  const Epoch above{known.value + 1 + rng_.below(kResolveStride)};
  if (above.value > kEpochMax) return refuse("the job has no epochs left");
  end->resolve(step, above);
  if (!end->resolve_failed().empty()) return refuse(end->resolve_failed());
  resolve_ = Resolve{event.request, end->id()};
}

void Balance::heed_resolve(Step step) {
  if (!resolve_) return;
  const Triad* const triad = find(resolve_->id.triad);
  const End* const end = triad == nullptr ? nullptr : triad->end(resolve_->id);
  PersonReply answer{resolve_->request, true,         ReplyCode::kDone,
                     "it runs here",    resolve_->id, config_.self};
  if (end != nullptr && end->resolve_failed().empty()) {
    if (end->state() != EndState::kResolvedHere && !end->settled()) return;
    if (end->state() == EndState::kResolvedHere && !end->settled()) return;
  }
  if (end != nullptr && !end->resolve_failed().empty()) {
    answer.code = ReplyCode::kError;
    answer.sentence = end->resolve_failed();
  } else if (!own_.is_here(resolve_->id.job)) {
    answer.code = ReplyCode::kError;
    answer.sentence = "the job was decided meanwhile and runs elsewhere";
  }
  resolve_.reset();
  step.out.act(std::move(answer));
}

// ---- messages

void Balance::deliver(Step step, const NodeId& from, const wire::Message& message) {
  const TriadId* triad = wire::triad_of(message.body);
  if (triad == nullptr) return deliver_formation(step, from, message);
  if (const auto* report = std::get_if<wire::EndReport>(&message.body)) {
    if (answer_superseded(step, from, *report)) return;
  }
  if (const auto* superseded = std::get_if<wire::Superseded>(&message.body)) {
    if (is_decided_later(superseded->id)) return;
  }
  if (Triad* const known = find(*triad)) {
    known->receive(step, from, message.store, message.body);
  } else {
    stranger(step, from, *triad, message);
  }
}

// The job has moved on since, or is about to: the later handover's end knows whose it is.
bool Balance::is_decided_later(const HandoverId& id) const {
  const std::vector<Triad*> all = triads();
  return std::any_of(all.begin(), all.end(), [&](Triad* triad) {
    const End* const end = triad->end_of(id.job);
    return end != nullptr && end->id().epoch > id.epoch;
  });
}

void Balance::deliver_formation(Step step, const NodeId& from, const wire::Message& message) {
  if (const auto* propose = std::get_if<wire::Propose>(&message.body)) {
    formation_.on_propose(step, from, message.store, *propose, would_refuse(from, propose->roles));
  } else if (const auto* answer = std::get_if<wire::Answer>(&message.body)) {
    formation_.on_answer(step, from, message.store, *answer);
  } else if (const auto* cancel = std::get_if<wire::Cancel>(&message.body)) {
    formation_.on_cancel(step, from, *cancel);
  } else if (const auto* form = std::get_if<wire::Form>(&message.body)) {
    const TriadId id = triad_id_of(form->form);
    if (Triad* const known = find(id)) {
      return known->receive(step, from, message.store, message.body);
    }
    if (auto stored = formation_.on_form(step, from, message.store, *form)) {
      return start(step, std::move(*stored));
    }
    stranger(step, from, id, message);
  }
}

// A triad that this node is not in. While a form may still be on its way nothing is said, since
// Gone means never.
void Balance::stranger(Step step, const NodeId& from, const TriadId& triad,
                       const wire::Message& message) {
  const bool asks = !std::holds_alternative<wire::Gone>(message.body) &&
                    !std::holds_alternative<wire::FormStored>(message.body) &&
                    !std::holds_alternative<wire::Superseded>(message.body);
  const bool reports = std::holds_alternative<wire::EndReport>(message.body);
  if (asks && !formation_.busy() && !damaged_) {
    step.out.send(from, wire::Gone{triad, false, reports});
  }
}

// True when that is all there is to say. Who reports that its copy is gone needs no more than Gone;
// who has one, held or running, must not leave before it has heard of the higher epoch.
bool Balance::answer_superseded(Step step, const NodeId& from, const wire::EndReport& report) {
  const OwnRecord* own = own_.find(report.id.job);
  if (own == nullptr || own->epoch <= report.id.epoch) return false;
  const Triad* const triad = find(report.id.triad);
  const End* const end = triad == nullptr ? nullptr : triad->end(report.id);
  if (end != nullptr && end->state() != EndState::kResolvedHere) return false;
  const bool runs = report.end.state == EndState::kSourceWithdrawn ||
                    report.end.state == EndState::kSourceResumed ||
                    report.end.state == EndState::kSinkReleased;
  if (report.end.acted && !runs) {
    if (own->resolved && is_final_state(report.end.state)) confirm_resolved(step, report.id.job);
    return false;
  }
  step.out.send(from, wire::Superseded{report.id, own->epoch});
  return end == nullptr;
}

// The lower copy is gone: the record may go with the job.
void Balance::confirm_resolved(Step step, const JobId& job) {
  OwnRecord own = *own_.find(job);
  own.resolved = false;
  own_.set(job, own, step.out);
  (void)step.out.persist({{own_key(job), encode(own)}});
}

std::size_t Balance::other_live_nodes(const NodeId& a, const NodeId& b) const {
  return static_cast<std::size_t>(std::count_if(view_.begin(), view_.end(), [&](const NodeLoad& n) {
    return n.live && n.id != a && n.id != b && n.id != config_.self;
  }));
}

bool Balance::owes_too_many(const NodeId& node) const {
  const auto owed = std::count_if(lingering_.begin(), lingering_.end(),
                                  [&](const auto& t) { return t.second->owed_by(node); });
  return static_cast<std::size_t>(owed) >= kLingeringByOneMax;
}

// Live, as far as the view can tell: a triad with a node that nobody knows would never end.
bool Balance::may_exist(const NodeId& node) const {
  if (node == config_.self || !view_known_ || view_.size() >= kViewWholeMax) return true;
  return std::any_of(view_.begin(), view_.end(),
                     [&](const NodeLoad& n) { return n.id == node && n.live; });
}

std::optional<Formation::Refusal> Balance::would_refuse(const NodeId& from,
                                                        const Roles& roles) const {
  using Code = wire::AnswerCode;
  const std::vector<NodeId> nodes = roles.nodes();
  const auto has = [&](const NodeId& n) {
    return std::find(nodes.begin(), nodes.end(), n) != nodes.end();
  };
  if (!has(config_.self) || !has(from)) {
    return Formation::Refusal{Code::kRolesDoNotFit, "a proposal for other nodes"};
  }
  if (damaged_ || own_.full()) {
    return Formation::Refusal{Code::kFull, "this node's record table is full or damaged"};
  }
  if (lingering_.size() >= kLingeringMax) return Formation::Refusal{Code::kFull, kTooManyLinger};
  if (std::any_of(nodes.begin(), nodes.end(), [&](const NodeId& n) { return owes_too_many(n); })) {
    return Formation::Refusal{Code::kFull, kOwesTooMany};
  }
  if (triad_) return Formation::Refusal{Code::kBusy, "this node has a seat"};
  if (stopping_) return Formation::Refusal{Code::kBusy, kIsStopping};
  if (roles.third.is_zero() && (!view_known_ || other_live_nodes(roles.source, roles.sink) != 0)) {
    return Formation::Refusal{Code::kRolesDoNotFit, "this node knows a third one"};
  }
  if (!std::all_of(nodes.begin(), nodes.end(), [&](const NodeId& n) { return may_exist(n); })) {
    return Formation::Refusal{Code::kRolesDoNotFit, "this node does not see one of the three"};
  }
  const bool by_rule = roles.cause != Cause::kPerson;
  if (roles.cause == Cause::kWake && view_known_ &&
      mesh_rule(trit_sum(view_)) != MeshRule::kWaking) {
    return Formation::Refusal{Code::kRolesDoNotFit, "the mesh wakes no jobs now"};
  }
  if (roles.source == config_.self) {
    const bool sheds = roles.cause == Cause::kShed || roles.cause == Cause::kProcess;
    if (by_rule && !local_.policy.moves_jobs) {
      return Formation::Refusal{Code::kPolicy, "this node keeps its jobs"};
    }
    if (sheds && (!local_known_ || local_.trit != probe::Trit::kPlus)) {
      return Formation::Refusal{Code::kRolesDoNotFit, "this node is not PLUS any more"};
    }
    if (roles.cause == Cause::kMemory && (!local_known_ || !is_short_of_memory(local_))) {
      return Formation::Refusal{Code::kRolesDoNotFit, "this node is not short of memory any more"};
    }
  } else if (roles.sink == config_.self) {
    if (!local_.policy.accepts_jobs) {
      if (!local_known_) return Formation::Refusal{Code::kBusy, "that node has just started"};
      return Formation::Refusal{Code::kPolicy, no_jobs_sentence(local_.policy)};
    }
    if (by_rule && (!local_known_ || local_.trit != probe::Trit::kMinus)) {
      return Formation::Refusal{Code::kRolesDoNotFit, "this node is not MINUS any more"};
    }
  }
  return std::nullopt;
}

// ---- the seat

void Balance::start(Step step, StoredForm stored) {
  CHECK(!triad_);
  log_.info("triad_formed", {{"triad", triad_id_of(stored.form).brief()}});
  triad_ =
      std::make_unique<Triad>(step, std::move(stored), config_.incarnation, base::Rng(rng_.next()),
                              around(), std::vector<RecordChange>{{kAcceptanceKey, std::nullopt}});
}

void Balance::follow_up(Step step) {
  heed_formation(step);
  heed_own_events(step);
  heed_resolve(step);
  leave_if_over(step);
  for (auto job = ended_.begin(); job != ended_.end();) {
    const std::vector<Triad*> all = triads();
    const OwnRecord* own = own_.find(*job);
    const bool needed = damaged_ || (own != nullptr && own->resolved) ||
                        std::any_of(all.begin(), all.end(),
                                    [&](const Triad* triad) { return triad->involves(*job); });
    if (!needed) {
      if (own != nullptr) (void)step.out.persist({{own_key(*job), std::nullopt}});
      own_.erase(*job);
      asked_.erase(*job);
    }
    job = needed ? std::next(job) : ended_.erase(job);
  }
  act_for_person(step);
  act_on_wish(step);
}

void Balance::leave_if_over(Step step) {
  for (auto triad = lingering_.begin(); triad != lingering_.end();) {
    const JobId job = triad->second->form().job;
    const bool again = triad_ && triad_->form().job == job;
    if (triad->second->left() && !again) ask_again(step.now, job, {});
    triad = triad->second->left() ? lingering_.erase(triad) : std::next(triad);
  }
  if (!triad_ || !(triad_->left() || triad_->lingers())) return;
  const std::string refusal = triad_->refusal();
  const bool was_coordinator = triad_->seat().seat == Seat::kCoordinator;
  const JobId job = triad_->form().job;
  const bool lingers = triad_->lingers();
  if (lingers) lingering_.emplace(triad_->id(), std::move(triad_));
  triad_.reset();
  tell_who_waits(step);
  // The next wish waits for a sample that shows what has moved.
  if (!was_coordinator) local_known_ = false;
  wish_after_ = std::max(wish_after_, step.now + kResendAfter);
  // What is decided has its end still to come, and that is the answer.
  if (!lingers) ask_again(step.now, job, refusal);
}

// Whose triad has ended without a word of the job.
void Balance::ask_again(base::Time now, const JobId& job, const std::string& refusal) {
  for (Person& person : people_) {
    if (!person.formed || person.job != job) continue;
    person.formed = false;
    person.retry_at = now + kResendAfter;
    if (!refusal.empty()) person.last_reason = refusal;
  }
}

void Balance::tell_seat(Step step) {
  std::optional<SeatInfo> seat;
  if (triad_ && triad_->stored()) seat = triad_->seat();
  if (seat == told_seat_) return;
  told_seat_ = seat;
  step.out.act(SeatChanged{seat});
}

}  // namespace balance
