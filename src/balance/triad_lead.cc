// The coordinator in office.
#include <algorithm>

#include "balance/triad.h"

namespace balance {

void Triad::lead(Step step) {
  if (!group_ || !group_->in_office()) {
    lead_.reset();
    return;
  }
  if (!lead_) {
    lead_ = Lead{};
    lead_->term = group_->term();
    lead_->since = lead_->resend_at = step.now;
    lead_->inherited = !ledger_.empty();
  }
  if (dissolved_) return;
  if (!ledger_.empty() && !done_by_both(ledger_.back())) {
    const Handover& open = ledger_.back();
    if (!open.outcome || step.now < *open.decided_at + kConfirmWait) return follow(step, open);
    lead_->begin_proposed.reset();  // it is `open`
    return dissolve(step);
  }
  if (lead_->begin_proposed) {
    if (ledger_.empty() || ledger_.back().id != *lead_->begin_proposed)
      return;  // not yet committed
    lead_->begin_proposed.reset();
    ++lead_->next;
    lead_->prepare_since = lead_->resend_at = step.now;
  }
  if (lead_->inherited) return dissolve(step);
  switch (lead_->at) {
    case Lead::At::kSettle:
      return settle_form(step);
    case Lead::At::kAsk:
      return ask_ends(step);
    case Lead::At::kPrepare:
      return prepare_next(step);
  }
}

// No handover begins before all members have stored the form record.
void Triad::settle_form(Step step) {
  bool all = true;
  for (const group::MemberView& m : group_->members()) {
    if (m.forgot) return dissolve(step);
    if (m.node != self_ && m.match < base::LogIndex{1}) all = false;
  }
  if (!all) {
    if (step.now >= lead_->since + kFormWait) dissolve(step);
    return;
  }
  lead_->since = lead_->prepare_since = lead_->resend_at = step.now;
  if (stored_.form.cause == Cause::kPerson) {
    lead_->plan = {stored_.form.job};
    lead_->at = Lead::At::kPrepare;
    return prepare_next(step);
  }
  lead_->at = Lead::At::kAsk;
  ask_ends(step);
}

void Triad::ask_ends(Step step) {
  if (lead_->offer && lead_->room) return make_plan(step);
  if (step.now >= lead_->since + kPlanWait) return dissolve(step);
  if (step.now < lead_->resend_at) return;
  lead_->resend_at = step.now + kResendAfter;
  if (!lead_->offer)
    step.out.send(stored_.form.seat(Seat::kSource)->node, wire::Ask{id_, lead_->term});
  if (!lead_->room)
    step.out.send(stored_.form.seat(Seat::kSink)->node, wire::Ask{id_, lead_->term});
}

void Triad::make_plan(Step step) {
  lead_->plan = plan_moves(*lead_->offer, *lead_->room, stored_.form.cause);
  lead_->at = Lead::At::kPrepare;
  lead_->prepare_since = lead_->resend_at = step.now;
  prepare_next(step);
}

void Triad::prepare_next(Step step) {
  if (lead_->next < lead_->plan.size() &&
      step.now >= lead_->prepare_since + kPreflightWait + kContactLost) {
    ++lead_->next;  // SOURCE does not answer
    lead_->prepare_since = lead_->resend_at = step.now;
  }
  if (lead_->next >= lead_->plan.size()) return dissolve(step);
  if (step.now < lead_->resend_at) return;
  lead_->resend_at = step.now + kResendAfter;
  step.out.send(stored_.form.seat(Seat::kSource)->node,
                wire::Prepare{id_, lead_->term, lead_->plan[lead_->next]});
}

void Triad::hear_prepared(Step step, const wire::Prepared& message) {
  if (!lead_ || lead_->at != Lead::At::kPrepare || message.term != lead_->term) return;
  if (lead_->begin_proposed || lead_->dissolve_proposed) return;
  if (lead_->next >= lead_->plan.size() || lead_->plan[lead_->next] != message.id.job) return;
  if (!ledger_.empty() && !done_by_both(ledger_.back())) return;
  if (!message.ok) {
    ++lead_->next;
    lead_->prepare_since = lead_->resend_at = step.now;
    return;
  }
  const BeginEntry begin{message.id.job, message.id.epoch, step.now - lead_->prepare_since};
  if (propose(step, begin, false)) lead_->begin_proposed = message.id;
}

// The last begun handover: an outcome, then both ends' word that they are done.
void Triad::follow(Step step, const Handover& open) {
  if (open.outcome || lead_->outcome_proposed == open.id) return;
  const std::optional<OutcomeEntry> decided = verdict(step, open);
  if (decided && propose(step, *decided, true)) lead_->outcome_proposed = open.id;
}

std::optional<OutcomeEntry> Triad::verdict(Step step, const Handover& open) const {
  OutcomeEntry out{open.id.job, open.id.epoch, Decision::kAbort, {}, {}, {}, 0};
  const auto reports = reports_.find(open.id);
  if (reports != reports_.end()) out.bytes = reports->second.bytes;
  const auto own_end = ends_.find(open.id);
  if (own_end != ends_.end()) out.bytes = std::max(out.bytes, own_end->second->bytes());
  if (open.sealed_at) out.stream = *open.sealed_at - open.begun_at;
  const std::optional<EndRecord> source = report_of(open.id, Seat::kSource);
  const std::optional<EndRecord> sink = report_of(open.id, Seat::kSink);
  if (sink && sink->state == EndState::kSinkReady) {
    if (open.sealed_at) out.restore = step.now - *open.sealed_at;
    out.decision = Decision::kCommit;
    return out;
  }
  if (source && is_final_state(source->state)) {
    out.reason = source->reason.empty() ? "the source gave up" : source->reason;
    return out;
  }
  const bool wants_out = sink && sink->state == EndState::kSinkExpecting && !sink->reason.empty();
  if (wants_out || (sink && is_final_state(sink->state))) {
    out.reason = sink->reason.empty() ? "the sink gave up" : sink->reason;
    return out;
  }
  const base::Time since = std::max(open.begun_at, lead_->since);
  if (lost_contact(step, stored_.form.seat(Seat::kSource)->node, since)) {
    out.reason = "the source cannot be reached";
  } else if (lost_contact(step, stored_.form.seat(Seat::kSink)->node, since)) {
    out.reason = "the sink cannot be reached";
  } else if (open.sealed_at && step.now >= *open.sealed_at + kReadyWait) {
    out.reason = "the restore took too long";
  } else if (step.now >= since + kHandoverWait) {
    out.reason = "the handover took too long";
  } else {
    return std::nullopt;
  }
  return out;
}

void Triad::dissolve(Step step) {
  if (lead_->dissolve_proposed || lead_->begin_proposed) return;
  lead_->dissolve_proposed = propose(step, DissolveEntry{}, true);
}

bool Triad::propose(Step step, const LogEntry& entry, bool closing) {
  proposal_taken_ = false;
  run_group(step, group::Propose{encode(entry), closing});
  return proposal_taken_;
}

std::optional<EndRecord> Triad::report_of(const HandoverId& id, Seat seat) const {
  if (seat == seat_) {
    const auto own = ends_.find(id);
    if (own == ends_.end() || !own->second->has_record()) return std::nullopt;
    return own->second->record();
  }
  const auto found = reports_.find(id);
  if (found == reports_.end()) return std::nullopt;
  return seat == Seat::kSource ? found->second.source : found->second.sink;
}

bool Triad::done_by_both(const Handover& handover) const {
  if (!handover.outcome) return false;
  const auto done = [&](Seat seat) {
    const std::optional<EndRecord> end = report_of(handover.id, seat);
    return end && end->acted && is_final_state(end->state);
  };
  return done(Seat::kSource) && done(Seat::kSink);
}

bool Triad::lost_contact(Step step, const NodeId& node, base::Time since) const {
  const auto found = contact_.find(node);
  if (node == self_ || found == contact_.end()) return false;
  return step.now >= std::max(found->second.heard, since) + kContactLost;
}

}  // namespace balance
