// What this member tells its node about the handovers of its triad.
#include <algorithm>

#include "balance/triad.h"

namespace balance {

void Triad::tell(Step step) {
  for (Handover& h : ledger_) {
    if (!h.told_over) tell_one(step, h);
  }
}

void Triad::tell_one(Step step, Handover& h) {
  const std::optional<EndRecord> source = report_of(h.id, Seat::kSource);
  const std::optional<EndRecord> sink = report_of(h.id, Seat::kSink);
  const bool sealed = source && source->state == EndState::kSourceSealed;
  const bool ready = sink && sink->state == EndState::kSinkReady;
  if (!h.sealed_at && (sealed || ready)) h.sealed_at = step.now;
  if (!h.ready_at && ready) h.ready_at = step.now;
  Phase phase = Phase::kFreezeAndStream;
  if (h.sealed_at) phase = Phase::kRestore;
  if (h.ready_at) phase = Phase::kDecide;
  if (h.outcome) phase = Phase::kResume;
  const auto end = ends_.find(h.id);
  // An end is done when it is; who has none hears it from both.
  const bool over = end != ends_.end() ? h.outcome && end->second->settled() : done_by_both(h);
  if (phase == h.told && !over) return;
  h.told = phase;
  h.told_over = over;
  step.out.act(event_of(step, h));
}

HandoverEvent Triad::event_of(Step step, const Handover& h) const {
  HandoverEvent event;
  event.id = h.id;
  event.cause = stored_.form.cause;
  event.source = stored_.form.seat(Seat::kSource)->node;
  event.sink = stored_.form.seat(Seat::kSink)->node;
  if (group_) {
    event.coordinator = group_->leader().value_or(NodeId{});
    event.term = group_->term();
  }
  event.told_by = seat_;
  event.phase = h.told;
  event.over = h.told_over;
  event.times.preflight = h.preflight;
  if (h.sealed_at) event.times.stream = *h.sealed_at - h.begun_at;
  if (h.sealed_at && h.ready_at) event.times.restore = *h.ready_at - *h.sealed_at;
  if (h.outcome) {
    event.outcome = h.outcome->decision;
    event.reason = h.outcome->reason;
    event.bytes = h.outcome->bytes;
    if (h.outcome->stream > base::Duration{}) event.times.stream = h.outcome->stream;
    if (h.outcome->restore > base::Duration{}) event.times.restore = h.outcome->restore;
    if (h.ready_at) event.times.decide = *h.decided_at - *h.ready_at;
    if (h.told_over) event.times.resume = step.now - *h.decided_at;
  }
  const auto end = ends_.find(h.id);
  if (end != ends_.end()) {
    event.bytes = std::max(event.bytes, end->second->bytes());
    const std::string& own = end->second->record().reason;
    const bool is_symptom = event.reason.find(kStreamBrokeOff) != std::string::npos;
    const bool knows_better = is_symptom && own.starts_with(kStreamFailed) &&
                              own.find(kStreamBrokeOff) == std::string::npos;
    if (event.reason.empty() || knows_better) event.reason = own;
    if (end->second->state() == EndState::kSinkVoid ||
        (event.outcome == Decision::kCommit && end->second->state() == EndState::kSourceResumed)) {
      event.reason = "the copy was gone, the original runs on";
    }
  }
  return event;
}

}  // namespace balance
