#include "balance/formation.h"

#include <algorithm>

namespace balance {

void Formation::recover(base::Time now, Acceptance acceptance) {
  held_ = std::move(acceptance);
  at_ = At::kAccepted;
  until_ = now + kAcceptanceLife;
}

void Formation::propose(Step step, const Roles& roles) {
  CHECK(!busy());
  self_ = step.out.self();
  Acceptance own;
  rng_.fill(own.proposal.bytes);
  own.from = self_;
  own.store = step.out.store();
  own.roles = roles;
  held_ = own;
  withdrawn_ = false;
  accepted_.clear();
  at_ = At::kStoring;
  write_ = step.out.persist({{kAcceptanceKey, encode(own)}});
}

void Formation::on_propose(Step step, const NodeId& from, const StoreId& store,
                           const wire::Propose& message, std::optional<Refusal> refusal) {
  self_ = step.out.self();
  if (held_ && held_->proposal == message.proposal && held_->from == from) {
    if (at_ == At::kAccepted) answer(step, from, message.proposal, std::nullopt);
    if (at_ == At::kStoring || at_ == At::kAccepted) return;
  }
  if (std::find(ended_.begin(), ended_.end(), message.proposal) != ended_.end()) return;
  if (busy())
    refusal = Refusal{wire::AnswerCode::kBusy, "this node is about to join another triad"};
  if (refusal) return answer(step, from, message.proposal, refusal);
  held_ = Acceptance{message.proposal, from, store, message.roles};
  withdrawn_ = false;
  at_ = At::kStoring;
  write_ = step.out.persist({{kAcceptanceKey, encode(*held_)}});
}

void Formation::answer(Step step, const NodeId& to, const base::ProposalId& proposal,
                       const std::optional<Refusal>& refusal) {
  wire::Answer out{proposal, !refusal, wire::AnswerCode::kBusy, {}};
  if (refusal) {
    out.code = refusal->first;
    out.reason = refusal->second;
  }
  step.out.send(to, std::move(out));
}

void Formation::on_answer(Step step, const NodeId& from, const StoreId& store,
                          const wire::Answer& message) {
  if (at_ != At::kAsking || message.proposal != held_->proposal) return;
  const std::vector<NodeId> nodes = held_->roles.nodes();
  if (std::find(nodes.begin(), nodes.end(), from) == nodes.end()) return;
  if (!message.ok) return fail(step, from, message.code, message.reason);
  accepted_[from] = store;
  if (accepted_.size() == nodes.size()) form(step);
}

void Formation::form(Step) {
  StoredForm stored;
  stored.proposal = held_->proposal;
  stored.proposer = self_;
  stored.form.cause = held_->roles.cause;
  stored.form.job = held_->roles.job;
  const Roles& roles = held_->roles;
  stored.form.members = {{roles.source, accepted_.at(roles.source), Seat::kSource}};
  if (!roles.third.is_zero()) {
    stored.form.members.push_back({roles.third, accepted_.at(roles.third), Seat::kCoordinator});
  }
  stored.form.members.push_back({roles.sink, accepted_.at(roles.sink), Seat::kSink});
  rng_.fill(stored.form.random);
  formed_ = std::move(stored);
  held_.reset();
  at_ = At::kIdle;
}

std::optional<StoredForm> Formation::on_form(Step step, const NodeId& from, const StoreId& store,
                                             const wire::Form& message) {
  if (at_ != At::kAccepted || held_->from == self_ || held_->proposal != message.proposal ||
      held_->from != from || held_->store != store) {
    return std::nullopt;
  }
  const Member* me = message.form.member(step.out.self());
  const Member* proposer = message.form.member(from);
  if (me == nullptr || me->store != step.out.store() || proposer == nullptr ||
      proposer->store != store || roles_of(message.form) != held_->roles) {
    return std::nullopt;
  }
  remember_ended(held_->proposal);
  held_.reset();
  at_ = At::kIdle;
  return StoredForm{message.proposal, from, message.form};
}

void Formation::on_cancel(Step step, const NodeId& from, const wire::Cancel& message) {
  if (!held_ || from == self_ || held_->from != from || held_->proposal != message.proposal) return;
  if (at_ == At::kStoring) withdrawn_ = true;  // erased once it is stored, and never answered
  if (at_ == At::kAccepted) erase(step);
}

void Formation::withdraw(Step step, const JobId& job) {
  if (!proposing() || held_->roles.cause != Cause::kPerson || held_->roles.job != job) return;
  if (at_ == At::kStoring) withdrawn_ = true;  // nobody has been asked
  if (at_ != At::kAsking) return;
  cancel_ = true;
  erase(step);
}

void Formation::persisted(Step step, std::uint64_t id) {
  if (id != write_) return;
  write_ = 0;
  if (at_ == At::kErasing) {
    if (std::exchange(cancel_, false)) {
      for (const NodeId& node : held_->roles.nodes()) {
        if (node != self_) step.out.send(node, wire::Cancel{held_->proposal});
      }
    }
    remember_ended(held_->proposal);
    held_.reset();
    at_ = At::kIdle;
    return;
  }
  if (at_ != At::kStoring) return;
  if (std::exchange(withdrawn_, false)) return erase(step);
  if (held_->from != self_) {
    at_ = At::kAccepted;
    until_ = step.now + kAcceptanceLife;
    answer(step, held_->from, held_->proposal, std::nullopt);
    return;
  }
  at_ = At::kAsking;
  until_ = step.now + kProposalWait;
  accepted_[self_] = step.out.store();
  ask(step);
}

void Formation::ask(Step step) {
  resend_at_ = step.now + kResendAfter;
  for (const NodeId& node : held_->roles.nodes()) {
    if (!accepted_.contains(node)) {
      step.out.send(node, wire::Propose{held_->proposal, held_->roles});
    }
  }
}

void Formation::fail(Step step, NodeId by, std::optional<wire::AnswerCode> code,
                     std::string reason) {
  failed_ = Failed{held_->roles, by, code, std::move(reason)};
  cancel_ = true;
  erase(step);
}

void Formation::erase(Step step) {
  at_ = At::kErasing;
  write_ = step.out.persist({{kAcceptanceKey, std::nullopt}});
}

void Formation::remember_ended(const base::ProposalId& proposal) {
  ended_.push_back(proposal);
  if (ended_.size() > kEndedProposalsMax) ended_.pop_front();
}

void Formation::tick(Step step) {
  self_ = step.out.self();
  if (at_ == At::kAsking) {
    if (step.now >= until_) {
      NodeId silent;
      for (const NodeId& node : held_->roles.nodes()) {
        if (!accepted_.contains(node)) silent = node;
      }
      return fail(step, silent, std::nullopt, "a node did not answer");
    }
    if (step.now >= resend_at_) ask(step);
  } else if (at_ == At::kAccepted && (step.now >= until_ || held_->from == self_)) {
    erase(step);
  }
}

base::Time Formation::next_deadline() const {
  if (at_ == At::kAsking) return std::min(until_, resend_at_);
  return at_ == At::kAccepted ? until_ : base::kNever;
}

}  // namespace balance
