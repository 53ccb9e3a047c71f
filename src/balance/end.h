// What both ends of a handover have in common: durable states, one write at a time, questions to
// the host that are asked again until answered.
//
// An end is level-triggered: whatever arrives (committed entries, the other end's report, what the
// host tells) is kept as a fact, and decide() looks at state and facts together. So events may come
// in any order, doubled, or during a write, and none is lost. `state` is what the disk says: it is
// reported, and acted upon, only once Persisted.
//
//   write(next state) -> Persisted -> entered: decide() runs again in the new state
//
// "settled": in a final state whose work is done, durably. Reports of a final state count for the
// other end only with `acted` set: a copy is discarded when the original *was* thawed, and the
// original killed when the copy *was* let go, so that what dies in between is still noticed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "balance/event.h"
#include "balance/outbox.h"
#include "balance/record.h"

namespace balance {

struct Step {
  base::Time now;
  Outbox& out;
};

// Ownership records of this node. In memory a new owner counts when it is durable, a new `next` at
// once.
class OwnTable {
 public:
  explicit OwnTable(NodeId self) : self_(self) {}
  [[nodiscard]] const OwnRecord* find(const JobId& job) const;
  [[nodiscard]] bool is_here(const JobId& job) const;
  [[nodiscard]] bool full() const { return records_.size() >= kOwnRecordsMax; }
  // With `next` never below what was given out before.
  [[nodiscard]] OwnRecord moved(const JobId& job, Epoch epoch, const NodeId& at) const;
  // Now durable; tells OwnerChanged if it matters.
  void set(const JobId& job, const OwnRecord& record, Outbox& out);
  void erase(const JobId& job) { records_.erase(job); }
  void tell_all(Outbox& out) const;

 private:
  NodeId self_;
  std::map<JobId, OwnRecord> records_;
};

class End {
 public:
  End(HandoverId id, NodeId self, NodeId peer, OwnTable& own, std::optional<EndRecord> recovered);
  virtual ~End() = default;
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  // Committed entries, each possibly seen before.
  void begin(Step step);
  void outcome(Step step, Decision decision);
  // The other end's word, durable there.
  void peer_says(Step step, const EndRecord& report);
  // A higher epoch of the job runs somewhere by a person's word: what is here is to go.
  void superseded(Step step);
  // Why this attempt shall not go on; does nothing once that is not this end's to say.
  virtual void give_up(Step step, std::string reason) = 0;
  // A person's word that the other copy is gone. `epoch` is above all that this node knows. Answer:
  // state() becomes kResolvedHere, or resolve_failed() says why not.
  void resolve(Step step, Epoch epoch);
  [[nodiscard]] const std::string& resolve_failed() const { return resolve_failed_; }
  void host_says(Step step, const Event& event);
  void persisted(Step step, std::uint64_t id);
  void tick(Step step);  // also the first thing after recovery
  [[nodiscard]] base::Time next_deadline() const;

  [[nodiscard]] const HandoverId& id() const { return id_; }
  [[nodiscard]] bool has_record() const { return durable_; }
  [[nodiscard]] const EndRecord& record() const { return record_; }
  [[nodiscard]] EndState state() const { return record_.state; }
  [[nodiscard]] bool settled() const {
    return durable_ && record_.acted && is_final_state(record_.state);
  }
  // Must stay: it has begun, and what it has to wait for or to do is not over.
  [[nodiscard]] bool bound() const { return writing() || (durable_ && !settled()); }
  // Nothing but the outcome, or the other end, can end the wait here.
  [[nodiscard]] bool waits_for_others() const {
    return !writing_ &&
           (record_.state == EndState::kSourceSealed || record_.state == EndState::kSinkReady);
  }
  [[nodiscard]] const NodeId& peer() const { return peer_; }
  [[nodiscard]] bool writing() const { return writing_ != 0; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::optional<Decision> decided() const { return outcome_; }

 protected:
  virtual void decide(Step step) = 0;
  virtual void hear(Step step, const Event& event) = 0;
  [[nodiscard]] virtual bool can_resolve() const = 0;
  [[nodiscard]] virtual base::Time own_deadline() const { return base::kNever; }

  // Writes the next state, with the ownership record that belongs to it.
  void enter(Step step, EndState state, std::optional<OwnRecord> own = std::nullopt);
  void mark_acted(Step step, std::optional<OwnRecord> own = std::nullopt);
  // True when a question is due (at once in a new state, then every kCheckAgain).
  [[nodiscard]] bool ask(Step step);
  void forget_answers() {
    ask_at_ = base::Time::min();
    answer_.reset();
  }
  // GoneAway: the newest copy here that has to go.
  [[nodiscard]] Epoch doomed() const;
  // While a person's word waits for the check of the copy here.
  void decide_resolve(Step step, bool present);

  HandoverId id_;
  NodeId self_;
  NodeId peer_;
  OwnTable& own_;
  EndRecord record_;
  bool durable_ = false;
  bool begun_ = false;
  bool recovered_ = false;  // from an earlier life, nothing decided in this one yet
  std::optional<Decision> outcome_;
  std::optional<EndRecord> heard_;  // the other end's newest report
  bool superseded_ = false;
  std::optional<Epoch> resolve_epoch_;
  std::optional<bool> answer_;  // to the question of the present state
  std::string failure_;         // why the attempt failed here; empty while it did not
  std::uint64_t bytes_ = 0;

 private:
  std::uint64_t writing_ = 0;  // id of the write under way
  EndRecord next_;
  std::optional<OwnRecord> next_own_;
  base::Time ask_at_ = base::Time::min();
  std::string resolve_failed_;
};

}  // namespace balance
