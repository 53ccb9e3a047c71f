// The end of a triad: who leaves when, and what lives on without a seat.
//
// Who lingers asks the ends that it has not heard confirm, with its own report, at growing
// intervals, and tells whoever still takes the triad for alive what was decided (Decided). Nothing
// is answered that is an answer itself, so two who linger do not keep each other busy.
#include <algorithm>

#include "balance/triad.h"

namespace balance {

namespace {

// Of an end that has acted: its copy is no more.
bool is_gone(EndState state) {
  return state == EndState::kSourceGoneAway || state == EndState::kSourceGone ||
         state == EndState::kSinkFailed || state == EndState::kSinkVoid ||
         state == EndState::kSinkDiscarded;
}

}  // namespace

// Where the other end has not confirmed, a person may have resolved the job there: then it answers
// this end's report with Superseded. So only its own Gone, and only in answer to a report, says
// that there is no more to hear; anybody else's frees the seat. After a restart there may be an end
// before the log tells of its handover again.
void Triad::hear_gone(Step step, const NodeId& from, const wire::Gone& gone) {
  if (bound()) {
    around_.log.warn("in_doubt", {{"triad", id_.brief()}});
    return;
  }
  const bool confirmed = !ledger_.empty() && done_by_both(ledger_.back());
  // SOURCE that withdrew never sent the whole: there is nothing that could run at the other end.
  const bool withdrew = std::all_of(ends_.begin(), ends_.end(), [](const auto& end) {
    return end.second->state() == EndState::kSourceWithdrawn;
  });
  const bool unconfirmed = !gone.dissolved && !withdrew && !confirmed;
  if (!unconfirmed || (gone.to_report && from == other_end())) return leave(step, false);
  if (stage_ == Stage::kMember) (void)live_on(step);
}

// A member that lingers knows the whole log, so this is the last handover and there is no other.
void Triad::hear_decided(Step step, const OutcomeEntry& outcome) {
  const HandoverId id{id_, outcome.job, outcome.epoch};
  const bool is_last = ledger_.empty() || ledger_.back().id == id || handover(id) == nullptr;
  if (!is_last || dissolved_) return;
  apply(step, BeginEntry{outcome.job, outcome.epoch, {}});
  apply(step, outcome);
  dissolved_ = true;
}

// Something of the triad for one who lingers.
void Triad::hear_late(Step step, const NodeId& from, const wire::Body& body) {
  const auto* report = std::get_if<wire::EndReport>(&body);
  const bool gone = std::holds_alternative<wire::Gone>(body);
  const bool superseded = std::holds_alternative<wire::Superseded>(body);
  const bool knows = gone || superseded || std::holds_alternative<wire::Decided>(body) ||
                     std::holds_alternative<wire::FormStored>(body) ||
                     (report != nullptr && is_final_state(report->end.state));
  if (!knows) step.out.send(from, wire::Decided{id_, *ledger_.back().outcome});
  if (std::holds_alternative<wire::Ask>(body)) {
    for (const auto& [id, end] : ends_) {
      if (end->has_record()) step.out.send(from, wire::EndReport{id, end->record(), end->bytes()});
    }
  }
  if (gone || superseded || report != nullptr) hear(step, from, body);
}

// An end runs under a person's word.
bool Triad::resolved_elsewhere() const {
  const auto found = reports_.find(ledger_.back().id);
  if (found == reports_.end()) return false;
  const auto resolved = [](const std::optional<EndRecord>& end) {
    return end && end->state == EndState::kResolvedHere && end->acted;
  };
  return resolved(found->second.source) || resolved(found->second.sink);
}

bool Triad::owed() const {
  if (ledger_.empty() || !ledger_.back().outcome) return false;
  const HandoverId& last = ledger_.back().id;
  if (!resolved_elsewhere()) return !done_by_both(ledger_.back());
  // Who has no end has nothing to keep any more; what runs here has to hear of the higher epoch.
  const auto own = ends_.find(last);
  if (own == ends_.end()) return false;
  const EndState state = own->second->state();
  const bool runs = state == EndState::kSinkReleased || state == EndState::kSourceResumed ||
                    state == EndState::kSourceWithdrawn;
  return !own->second->settled() || (runs && around_.own.is_here(last.job));
}

bool Triad::may_linger() const {
  const HandoverId& last = ledger_.back().id;
  return owed() && std::all_of(ends_.begin(), ends_.end(), [&](const auto& e) {
           return e.first == last || !e.second->bound();
         });
}

void Triad::end_if_over(Step step) {
  const bool resolved = std::any_of(ends_.begin(), ends_.end(), [](const auto& e) {
    return e.second->state() == EndState::kResolvedHere && e.second->settled();
  });
  // Not "dissolved": the other end is not to leave on it before it has heard of the higher epoch.
  if (resolved && !bound()) {
    // What the other end said before the person's word was stored here it does not say again.
    for (const auto& [id, end] : ends_) {
      const auto heard = report_of(id, seat_ == Seat::kSource ? Seat::kSink : Seat::kSource);
      const OwnRecord* const known = around_.own.find(id.job);
      if (!heard || !heard->acted || !is_gone(heard->state) || known == nullptr) continue;
      if (!known->resolved) continue;
      OwnRecord own = *known;
      own.resolved = false;
      around_.own.set(id.job, own, step.out);
      (void)step.out.persist({{own_key(id.job), encode(own)}});
    }
    return leave(step, false);
  }
  if (!dissolved_) return;
  if (!bound() && !owed()) return leave(step, ledger_.empty() || !resolved_elsewhere());
  if (stage_ == Stage::kMember && !ledger_.empty() && may_linger()) linger(step);
}

void Triad::linger(Step step) {
  const Handover last = ledger_.back();
  for (const Member& m : stored_.form.members) {
    // True from now on, durable or not: the log that says so is durable.
    if (m.node != self_) step.out.send(m.node, wire::Decided{id_, *last.outcome});
  }
  std::vector<RecordChange> changes;
  for (const std::string& key : keys_) changes.push_back({key, std::nullopt});
  for (const auto& [id, end] : ends_) {
    if (id != last.id && end->has_record()) changes.push_back({end_key(id), std::nullopt});
  }
  std::erase_if(ends_, [&](const auto& e) { return e.first != last.id; });
  ledger_ = {last};
  keys_ = {linger_key(id_)};
  changes.push_back({linger_key(id_), encode(LingerRecord{stored_, *last.outcome})});
  group_.reset();
  group_writes_.clear();
  lead_.reset();
  preparation_.reset();
  checked_.reset();
  linger_every_ = kReportEvery;
  report_at_ = step.now + linger_every_;
  stage_ = Stage::kParting;
  stage_write_ = step.out.persist(std::move(changes));
  around_.log.info(
      "triad_lingers",
      {{"triad", id_.brief()}, {"job", last.id.job.brief()}, {"bound", bound() ? 1 : 0}});
}

void Triad::linger_on(Step step) {
  if (to_linger_) {
    const OutcomeEntry outcome = *std::exchange(to_linger_, std::nullopt);
    hear_decided(step, outcome);
    // Told in an earlier life.
    const auto own = ends_.find(ledger_.back().id);
    ledger_.back().told = Phase::kResume;
    ledger_.back().told_over = own != ends_.end() && own->second->settled();
  }
  for (auto& [id, end] : ends_) end->tick(step);
  if (step.now < report_at_) return;
  report_at_ = step.now + linger_every_;
  linger_every_ = std::min(2 * linger_every_, kLingerEveryMax);
  for (const Seat seat : {Seat::kSource, Seat::kSink}) {
    const std::optional<EndRecord> heard = report_of(ledger_.back().id, seat);
    const bool resolved = heard && heard->state == EndState::kResolvedHere;
    if (seat == seat_ || (heard && heard->acted && is_final_state(heard->state) && !resolved)) {
      continue;
    }
    const NodeId& node = stored_.form.seat(seat)->node;
    for (const auto& [id, end] : ends_) {
      if (end->has_record()) step.out.send(node, wire::EndReport{id, end->record(), end->bytes()});
    }
    step.out.send(node, wire::Ask{id_, Term{}});
  }
}

bool Triad::owed_by(const NodeId& node) const {
  if (stage_ != Stage::kLingering && stage_ != Stage::kParting) return false;
  if (ledger_.empty() || to_linger_) return stored_.form.member(node) != nullptr;  // not yet taken
  for (const Seat seat : {Seat::kSource, Seat::kSink}) {
    if (stored_.form.seat(seat)->node != node) continue;
    const std::optional<EndRecord> end = report_of(ledger_.back().id, seat);
    return !end || !end->acted || !is_final_state(end->state);
  }
  return false;
}

bool Triad::may_leave_quietly() const {
  if (stage_ != Stage::kMember || dissolved_) return false;
  if (!begin_stored_ && ends_.empty()) return true;
  if (!stored_.form.is_pair() || seat_ != Seat::kSink || bound()) return false;
  // What its end has done must be known to SOURCE one day, unless there is nothing to know.
  return std::all_of(ends_.begin(), ends_.end(), [&](const auto& end) {
    const bool last = stored_last_ && stored_last_->job == end.first.job &&
                      stored_last_->epoch == end.first.epoch;
    return last || end.second->state() != EndState::kSinkReleased;
  });
}

// Without the seat, as if dissolved; false while the outcome is not known here. After a restart it
// is the one in the log by which the end that is settled here has acted.
bool Triad::live_on(Step step) {
  if (!ledger_.empty() && ledger_.back().outcome) {
    dissolved_ = true;
  } else if (ledger_.empty() && stored_last_ &&
             ends_.contains({id_, stored_last_->job, stored_last_->epoch})) {
    hear_decided(step, *stored_last_);
  }
  return dissolved_;
}

void Triad::leave_quietly(Step step) {
  around_.log.warn("nothing_decided", {{"triad", id_.brief()}});
  if (live_on(step)) return settle(step);
  leave(step, false);
}

void Triad::leave(Step step, bool dissolved) {
  if (!active()) return;
  for (const Member& m : stored_.form.members) {
    // True from now on, durable or not: a restart only makes this node ask again.
    if (dissolved && m.node != self_) step.out.send(m.node, wire::Gone{id_, true});
  }
  std::vector<RecordChange> changes;
  for (const std::string& key : keys_) changes.push_back({key, std::nullopt});
  for (const auto& [id, end] : ends_) {
    if (end->has_record()) changes.push_back({end_key(id), std::nullopt});
  }
  stage_ = Stage::kLeaving;
  stage_write_ = step.out.persist(std::move(changes));
  around_.log.info("triad_left", {{"triad", id_.brief()}, {"dissolved", dissolved ? 1 : 0}});
}

bool Triad::in_doubt_elsewhere(const JobId& job) const {
  return std::any_of(around_.lingering.begin(), around_.lingering.end(), [&](const auto& other) {
    return other.second.get() != this && other.second->end_of(job) != nullptr;
  });
}

}  // namespace balance
