#include "balance/sink_end.h"

#include <algorithm>
#include <utility>

namespace balance {

SinkEnd::SinkEnd(HandoverId id, NodeId self, NodeId source, OwnTable& own,
                 std::optional<EndRecord> recovered)
    : End(id, self, source, own, std::move(recovered)),
      check_first_(durable_ && state() == EndState::kSinkExpecting) {}

void SinkEnd::give_up(Step step, std::string reason) {
  if (durable_ && state() != EndState::kSinkExpecting) return;
  // Perhaps the last copy that can run: the coordinator is asked for an abort, SOURCE for its word.
  if (sealed_ || check_first_) {
    wish_ = std::move(reason);
  } else if (failure_.empty()) {
    failure_ = std::move(reason);
  }
  decide(step);
}

bool SinkEnd::may_start() const {
  const OwnRecord* own = own_.find(id_.job);
  return own == nullptr || (own->at != self_ && own->epoch < id_.epoch);
}

bool SinkEnd::can_resolve() const { return state() == EndState::kSinkReady; }

bool SinkEnd::source_runs() const {
  return heard_ && heard_->acted &&
         (heard_->state == EndState::kSourceResumed || heard_->state == EndState::kSourceWithdrawn);
}

bool SinkEnd::source_gone() const {
  return heard_ && heard_->acted && heard_->state == EndState::kSourceGone;
}

void SinkEnd::hear(Step, const Event& event) {
  if (const auto* progress = std::get_if<StreamProgress>(&event)) {
    bytes_ = std::max(bytes_, progress->bytes);
  } else if (const auto* failed = std::get_if<StreamFailed>(&event)) {
    // Once the seal is here the connection has done its work.
    if (failure_.empty() && !sealed_) failure_ = std::string(kStreamFailed) + failed->reason;
  } else if (const auto* sealed = std::get_if<StreamSealed>(&event)) {
    if (expecting_) sealed_ = true;
    bytes_ = std::max(bytes_, sealed->bytes);
  } else if (const auto* held = std::get_if<Held>(&event)) {
    if (restoring_ && !held_) held_ = held->offsets;
  } else if (const auto* restore = std::get_if<RestoreFailed>(&event)) {
    if (failure_.empty()) failure_ = "the restore failed: " + restore->reason;
  } else if (const auto* copy = std::get_if<CopyState>(&event)) {
    const bool asked =
        state() == EndState::kSinkReady || (state() == EndState::kSinkExpecting && check_first_);
    if (asked && !writing()) answer_ = copy->present;
  } else if (const auto* released = std::get_if<Released>(&event)) {
    if (state() == EndState::kSinkReleased || state() == EndState::kResolvedHere) {
      answer_ = released->ran;
    }
  } else if (std::get_if<Discarded>(&event) != nullptr) {
    if (state() == EndState::kSinkFailed || state() == EndState::kSinkVoid ||
        state() == EndState::kSinkDiscarded) {
      answer_ = true;
    }
  } else if (std::get_if<Killed>(&event) != nullptr) {
    if (state() == EndState::kSourceGoneAway) answer_ = true;
  }
}

void SinkEnd::decide(Step step) {
  if (writing()) return;
  if (!durable_) {
    if (!begun_) return;
    if (!may_start()) failure_ = "this epoch of the job is out of date here";
    if (outcome_ && failure_.empty()) failure_ = "decided before it began here";
    enter(step, failure_.empty() ? EndState::kSinkExpecting : EndState::kSinkFailed);
    return;
  }
  if (superseded_ && state() != EndState::kSourceGoneAway &&
      !(settled() && !own_.is_here(id_.job))) {
    return give_way(step);
  }
  switch (state()) {
    case EndState::kSinkExpecting:
      return decide_expecting(step);
    case EndState::kSinkReady:
      recovered_ = false;
      return decide_ready(step);
    case EndState::kSinkReleased:
    case EndState::kResolvedHere:
      recovered_ = false;
      if (!record_.acted) decide_released(step);
      return;
    case EndState::kSourceGoneAway:
      recovered_ = false;
      if (record_.acted) return;
      if (answer_) return mark_acted(step);
      if (ask(step)) step.out.act(KillOriginal{id_, doomed()});
      return;
    default:  // Failed, Void, Discarded
      recovered_ = false;
      if (record_.acted) return;
      if (answer_) return mark_acted(step);
      if (ask(step)) step.out.act(DiscardCopy{id_});
  }
}

void SinkEnd::decide_expecting(Step step) {
  if (!failure_.empty()) return enter(step, EndState::kSinkFailed);
  if (held_) {
    record_.offsets = *held_;
    record_.reason.clear();  // of a wish that came too late
    return enter(step, EndState::kSinkReady);
  }
  const bool perhaps_whole = sealed_ || check_first_;
  if (outcome_ == Decision::kAbort && (source_runs() || (source_gone() && !perhaps_whole))) {
    return enter(step, EndState::kSinkDiscarded);
  }
  if (check_first_) return check_first(step);
  if (!wish_.empty() && record_.reason.empty()) {
    record_.reason = cut_reason(wish_);
    return enter(step, EndState::kSinkExpecting);
  }
  if (!std::exchange(expecting_, true)) step.out.act(ExpectStream{id_, peer_});
  if (sealed_ && !std::exchange(restoring_, true)) return step.out.act(Restore{id_});
  // The last copy that can run: the host is asked until it knows whether it will.
  if (restoring_ && outcome_ == Decision::kAbort && source_gone() && ask(step)) {
    step.out.act(Restore{id_});
  }
}

// The daemon was killed, perhaps when the copy was held and nobody knew of it yet.
void SinkEnd::check_first(Step step) {
  recovered_ = false;
  if (!answer_) {
    if (ask(step)) step.out.act(CheckCopy{id_});
    return;
  }
  check_first_ = false;
  if (*answer_) {
    record_.reason.clear();
    return enter(step, EndState::kSinkReady);
  }
  failure_ = "the daemon was restarted";
  enter(step, EndState::kSinkFailed);
}

void SinkEnd::decide_ready(Step step) {
  const bool may_run = outcome_ == Decision::kCommit ||
                       (outcome_ == Decision::kAbort && source_gone()) || resolve_epoch_;
  if (!may_run) {
    if (outcome_ == Decision::kAbort && source_runs()) enter(step, EndState::kSinkDiscarded);
    return;
  }
  if (!answer_) {
    if (ask(step)) step.out.act(CheckCopy{id_});
    return;
  }
  const bool present = *answer_;
  if (resolve_epoch_) return decide_resolve(step, present);
  if (present) {
    enter(step, EndState::kSinkReleased, own_.moved(id_.job, id_.epoch, self_));
  } else {
    enter(step, outcome_ == Decision::kCommit ? EndState::kSinkVoid : EndState::kSinkDiscarded);
  }
}

void SinkEnd::decide_released(Step step) {
  if (!answer_) {
    if (ask(step)) step.out.act(ReleaseCopy{id_, peer_, record_.offsets});
    return;
  }
  if (*answer_ || state() == EndState::kResolvedHere) return mark_acted(step);
  // It never ran. After a restart the log tells the outcome again; until then nobody hears a word.
  if (!outcome_) return;
  enter(step, outcome_ == Decision::kCommit ? EndState::kSinkVoid : EndState::kSinkDiscarded,
        own_.moved(id_.job, id_.epoch, peer_));
}

void SinkEnd::give_way(Step step) {
  const bool let_go = state() == EndState::kSinkReleased;
  if (!let_go && is_final_state(state())) {
    superseded_ = false;  // already discarding
    return decide(step);
  }
  if (let_go) {
    const OwnRecord* own = own_.find(id_.job);
    enter(step, EndState::kSourceGoneAway,
          own_.moved(id_.job, own == nullptr ? id_.epoch : std::max(own->epoch, id_.epoch), peer_));
  } else {
    enter(step, EndState::kSinkDiscarded);
  }
}

}  // namespace balance
