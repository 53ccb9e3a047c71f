// How this node comes to a seat: its own proposals, and its acceptances of others' (design.md §3).
//
//   Idle --propose--> Storing --durable--> Asking --all accepted--> Idle, `formed`
//     |                                      | refused, 3 s --> Erasing (then Cancel), `failed`
//     |                                      | withdraw() --> the same, and not `failed`
//     +--Propose, fits--> Storing --durable, Answer--> Accepted --Form matches--> Idle, `formed`
//                           | Cancel meanwhile            | 10 s, Cancel --> Erasing --> Idle
//                           +--durable--> Erasing --> Idle, never answered
//
// - One acceptance at a time, the proposer's own included, so that two proposals that cross refuse
//   each other; both try again after a random while.
// - An acceptance is durable before it is answered, and its lapse is durable before this node says
//   of any triad that it does not know it: until then a Form may still be on its way (busy()).
// - `formed`: the composition stores the form record, and erases the acceptance in the same write.
// - A proposal that was refused, cancelled or has lapsed here is not accepted when a double of it
//   comes late (the last kEndedProposalsMax are remembered).
// - After a restart a foreign acceptance lives on for 10 s more; an own proposal died with its
// maker.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "balance/end.h"
#include "balance/record.h"
#include "base/rng.h"

namespace balance {

class Formation {
 public:
  struct Failed {
    Roles roles;
    NodeId by;  // who refused; zero: somebody did not answer
    std::optional<wire::AnswerCode> code;
    std::string reason;
  };
  using Refusal = std::pair<wire::AnswerCode, std::string>;

  explicit Formation(base::Rng rng) : rng_(rng) {}
  void recover(base::Time now, Acceptance acceptance);

  // Legal while not busy().
  void propose(Step step, const Roles& roles);
  // `refusal`: why this node would not take the seat; none if it would (busy() is looked at here).
  void on_propose(Step step, const NodeId& from, const StoreId& store, const wire::Propose& message,
                  std::optional<Refusal> refusal);
  void on_answer(Step step, const NodeId& from, const StoreId& store, const wire::Answer& message);
  void on_cancel(Step step, const NodeId& from, const wire::Cancel& message);
  // The own proposal to move this job for a person, if there is one, comes to nothing: no triad
  // forms, and those who were asked are told.
  void withdraw(Step step, const JobId& job);
  // The form to store, if it is what this node accepted; it is then no longer held here.
  [[nodiscard]] std::optional<StoredForm> on_form(Step step, const NodeId& from,
                                                  const StoreId& store, const wire::Form& message);
  void persisted(Step step, std::uint64_t id);
  void tick(Step step);
  [[nodiscard]] base::Time next_deadline() const;

  [[nodiscard]] bool busy() const { return at_ != At::kIdle; }
  [[nodiscard]] bool proposing() const { return held_ && held_->from == self_ && busy(); }
  // The outcome of an own proposal, each told once.
  [[nodiscard]] std::optional<StoredForm> take_formed() { return std::exchange(formed_, {}); }
  [[nodiscard]] std::optional<Failed> take_failed() { return std::exchange(failed_, {}); }

 private:
  enum class At : std::uint8_t { kIdle, kStoring, kAsking, kAccepted, kErasing };
  void answer(Step step, const NodeId& to, const base::ProposalId& proposal,
              const std::optional<Refusal>& refusal);
  void ask(Step step);
  void form(Step step);
  void fail(Step step, NodeId by, std::optional<wire::AnswerCode> code, std::string reason);
  void erase(Step step);
  void remember_ended(const base::ProposalId& proposal);

  base::Rng rng_;
  At at_ = At::kIdle;
  NodeId self_;
  std::uint64_t write_ = 0;
  std::optional<Acceptance> held_;
  std::map<NodeId, StoreId> accepted_;  // of the own proposal
  base::Time resend_at_ = base::kNever;
  base::Time until_ = base::kNever;
  bool cancel_ = false;
  bool withdrawn_ = false;  // by its proposer, this node too, while the acceptance is being stored
  std::deque<base::ProposalId> ended_;
  std::optional<StoredForm> formed_;
  std::optional<Failed> failed_;
};

}  // namespace balance
