#include "balance/end.h"

#include <algorithm>
#include <utility>

namespace balance {

const OwnRecord* OwnTable::find(const JobId& job) const {
  const auto found = records_.find(job);
  return found == records_.end() ? nullptr : &found->second;
}

bool OwnTable::is_here(const JobId& job) const {
  const OwnRecord* record = find(job);
  return record != nullptr && record->at == self_;
}

OwnRecord OwnTable::moved(const JobId& job, Epoch epoch, const NodeId& at) const {
  const OwnRecord* before = find(job);
  if (before == nullptr) return {epoch, epoch, at};
  return {epoch, std::max(before->next, epoch), at, before->resolved};
}

void OwnTable::set(const JobId& job, const OwnRecord& record, Outbox& out) {
  const OwnRecord* before = find(job);
  const bool news = before == nullptr || before->epoch != record.epoch || before->at != record.at;
  records_[job] = record;
  if (news) out.act(OwnerChanged{job, record.epoch, record.at == self_, record.at});
}

void OwnTable::tell_all(Outbox& out) const {
  for (const auto& [job, record] : records_) {
    out.act(OwnerChanged{job, record.epoch, record.at == self_, record.at});
  }
}

End::End(HandoverId id, NodeId self, NodeId peer, OwnTable& own, std::optional<EndRecord> recovered)
    : id_(id), self_(self), peer_(peer), own_(own) {
  if (recovered) {
    record_ = std::move(*recovered);
    durable_ = true;
    begun_ = true;
    recovered_ = true;
  }
}

void End::begin(Step step) {
  begun_ = true;
  decide(step);
}

void End::outcome(Step step, Decision decision) {
  if (!outcome_) outcome_ = decision;  // the first one counts, for ever
  decide(step);
}

void End::peer_says(Step step, const EndRecord& report) {
  // A delayed report of an earlier state must not hide that the final one was acted upon.
  if (heard_ && heard_->acted && !report.acted) return;
  heard_ = report;
  decide(step);
}

void End::superseded(Step step) {
  if (state() == EndState::kResolvedHere) return;  // two persons' words: nothing here can decide
  superseded_ = true;
  decide(step);
}

void End::resolve(Step step, Epoch epoch) {
  resolve_failed_.clear();
  if (writing_ || !durable_ || !can_resolve()) {
    resolve_failed_ = "the job is not in doubt here";
    return;
  }
  resolve_epoch_ = epoch;
  forget_answers();
  decide(step);
}

void End::decide_resolve(Step step, bool present) {
  const Epoch epoch = *resolve_epoch_;
  resolve_epoch_.reset();
  if (!present) {
    resolve_failed_ = "the copy of the job on this node is gone too";
    forget_answers();
    return;
  }
  OwnRecord own = own_.moved(id_.job, epoch, self_);
  own.resolved = true;
  enter(step, EndState::kResolvedHere, own);
}

void End::host_says(Step step, const Event& event) {
  hear(step, event);
  decide(step);
}

void End::persisted(Step step, std::uint64_t id) {
  if (writing_ == 0 || id != writing_) return;
  writing_ = 0;
  const bool new_state = !durable_ || record_.state != next_.state;
  record_ = next_;
  durable_ = true;
  if (new_state) {
    recovered_ = false;
    forget_answers();
  }
  if (next_own_) own_.set(id_.job, *std::exchange(next_own_, std::nullopt), step.out);
  decide(step);
}

void End::tick(Step step) { decide(step); }

base::Time End::next_deadline() const {
  if (writing_ != 0) return base::kNever;  // Persisted will wake it
  base::Time at = own_deadline();
  if (recovered_ && ask_at_ == base::Time::min()) return base::Time::min();
  if (ask_at_ != base::Time::min() && !answer_ && !(durable_ && record_.acted)) {
    at = std::min(at, ask_at_);
  }
  return at;
}

void End::enter(Step step, EndState state, std::optional<OwnRecord> own) {
  next_ = record_;
  next_.state = state;
  next_.acted = false;
  if (!failure_.empty()) next_.reason = cut_reason(failure_);
  std::vector<RecordChange> changes{{end_key(id_), encode(next_)}};
  if (own) changes.push_back({own_key(id_.job), encode(*own)});
  next_own_ = own;
  writing_ = step.out.persist(std::move(changes));
}

void End::mark_acted(Step step, std::optional<OwnRecord> own) {
  next_ = record_;
  next_.acted = true;
  std::vector<RecordChange> changes{{end_key(id_), encode(next_)}};
  if (own) changes.push_back({own_key(id_.job), encode(*own)});
  next_own_ = own;
  writing_ = step.out.persist(std::move(changes));
}

Epoch End::doomed() const {
  const OwnRecord* own = own_.find(id_.job);
  return own == nullptr || own->at == self_ ? id_.epoch : std::max(own->epoch, id_.epoch);
}

bool End::ask(Step step) {
  if (step.now < ask_at_) return false;
  ask_at_ = step.now + kCheckAgain;
  return true;
}

}  // namespace balance
