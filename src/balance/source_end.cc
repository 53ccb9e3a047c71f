#include "balance/source_end.h"

#include <algorithm>
#include <utility>

namespace balance {

SourceEnd::SourceEnd(HandoverId id, NodeId self, NodeId sink, OwnTable& own,
                     std::optional<EndRecord> recovered)
    : End(id, self, sink, own, std::move(recovered)) {
  if (durable_ && state() == EndState::kSourceBegun) failure_ = "the daemon was restarted";
}

void SourceEnd::give_up(Step step, std::string reason) {
  if (durable_ && state() != EndState::kSourceBegun) return;
  if (failure_.empty()) failure_ = std::move(reason);
  decide(step);
}

bool SourceEnd::may_start() const {
  const OwnRecord* own = own_.find(id_.job);
  return own != nullptr && own->at == self_ && own->epoch < id_.epoch && own->next == id_.epoch;
}

bool SourceEnd::can_resolve() const { return state() == EndState::kSourceSealed; }

base::Time SourceEnd::own_deadline() const {
  return durable_ && state() == EndState::kSourceBegun ? stalled_at_ : base::kNever;
}

void SourceEnd::hear(Step step, const Event& event) {
  if (const auto* progress = std::get_if<StreamProgress>(&event)) {
    if (progress->bytes > bytes_) {
      bytes_ = progress->bytes;
      stalled_at_ = step.now + kStreamStall;
    }
  } else if (const auto* complete = std::get_if<StreamComplete>(&event)) {
    if (streaming_ && !complete_) complete_ = complete->seal;
    bytes_ = complete->bytes;
  } else if (const auto* failed = std::get_if<StreamFailed>(&event)) {
    if (failure_.empty()) failure_ = std::string(kStreamFailed) + failed->reason;
  } else if (const auto* original = std::get_if<OriginalState>(&event)) {
    if (state() == EndState::kSourceSealed && !writing()) answer_ = original->present;
  } else if (const auto* thawed = std::get_if<Thawed>(&event)) {
    if (state() != EndState::kSourceGoneAway && is_final_state(state())) answer_ = thawed->ran;
  } else if (std::get_if<Killed>(&event) != nullptr) {
    if (state() == EndState::kSourceGoneAway) answer_ = true;
  }
}

void SourceEnd::decide(Step step) {
  if (writing()) return;
  if (!durable_) {
    if (!begun_) return;
    if (!may_start()) failure_ = "this epoch of the job was not offered any more";
    if (outcome_ || !failure_.empty()) {
      enter(step, EndState::kSourceWithdrawn);
    } else {
      enter(step, EndState::kSourceBegun);
    }
    return;
  }
  // Also what runs again: a person's word elsewhere beats it.
  const bool nothing_here =
      settled() && (state() == EndState::kSourceGone || !own_.is_here(id_.job));
  if (superseded_ && !nothing_here && state() != EndState::kSourceGoneAway) {
    const OwnRecord* own = own_.find(id_.job);
    enter(step, EndState::kSourceGoneAway,
          own_.moved(id_.job, own == nullptr ? id_.epoch : std::max(own->epoch, id_.epoch), peer_));
    return;
  }
  switch (state()) {
    case EndState::kSourceBegun:
      return decide_begun(step);
    case EndState::kSourceSealed:
      return decide_sealed(step);
    default:
      recovered_ = false;
      if (!record_.acted) return entered(step);
      if (lost()) mark_acted(step, own_.moved(id_.job, id_.epoch, NodeId{}));
  }
}

// Gone here, and SINK's copy is gone too: whose it was is the one to say so, for `tern ps`.
bool SourceEnd::lost() const {
  if (state() != EndState::kSourceGone || !heard_ || !heard_->acted) return false;
  const OwnRecord* own = own_.find(id_.job);
  if (own == nullptr || own->epoch != id_.epoch || own->at != peer_) return false;
  return heard_->state == EndState::kSinkFailed || heard_->state == EndState::kSinkVoid ||
         heard_->state == EndState::kSinkDiscarded;
}

void SourceEnd::decide_begun(Step step) {
  if (outcome_ && failure_.empty()) failure_ = "decided before the stream was complete";
  if (streaming_ && step.now >= stalled_at_ && failure_.empty()) failure_ = "the stream stalled";
  if (!failure_.empty()) return enter(step, EndState::kSourceWithdrawn);
  if (complete_) {
    record_.seal = *complete_;
    return enter(step, EndState::kSourceSealed);
  }
  if (!std::exchange(streaming_, true)) {
    stalled_at_ = step.now + kStreamStall;
    step.out.act(FreezeAndStream{id_, peer_});
  }
}

void SourceEnd::decide_sealed(Step step) {
  if (!recovered_ && !std::exchange(seal_sent_, true)) {
    step.out.act(SendSeal{id_, peer_, record_.seal});
  }
  recovered_ = false;
  if (outcome_ == Decision::kCommit && !resolve_epoch_) {
    if (!heard_ || !heard_->acted) return;
    if (heard_->state == EndState::kSinkReleased) {
      enter(step, EndState::kSourceGoneAway, own_.moved(id_.job, id_.epoch, peer_));
    } else if (heard_->state == EndState::kSinkVoid) {
      // SINK may have owned it for a moment, and said so: home believes no lower epoch any more.
      enter(step, EndState::kSourceResumed, own_.moved(id_.job, id_.epoch, self_));
    }
    return;
  }
  if (outcome_ != Decision::kAbort && !resolve_epoch_) return;
  if (answer_) {
    const bool present = *answer_;
    if (resolve_epoch_) return decide_resolve(step, present);
    return present ? enter(step, EndState::kSourceResumed)
                   : enter(step, EndState::kSourceGone, own_.moved(id_.job, id_.epoch, peer_));
  }
  if (ask(step)) step.out.act(CheckOriginal{id_});
}

// A final state whose work is not done yet.
void SourceEnd::entered(Step step) {
  switch (state()) {
    case EndState::kSourceGoneAway:
      if (answer_) return mark_acted(step);
      if (ask(step)) step.out.act(KillOriginal{id_, doomed()});
      return;
    case EndState::kSourceGone:
      return mark_acted(step);
    default:  // Withdrawn, Resumed, ResolvedHere: it runs on
      if (answer_ == false && state() == EndState::kSourceResumed && outcome_ == Decision::kAbort) {
        return enter(step, EndState::kSourceGone, own_.moved(id_.job, id_.epoch, peer_));
      }
      // After a restart the outcome is told again by the log; only then is it known who may run.
      if (answer_ == false && state() == EndState::kSourceResumed && !outcome_) return;
      if (answer_) return mark_acted(step);
      if (ask(step)) step.out.act(Thaw{id_});
  }
}

}  // namespace balance
