// This node's membership in one triad or pair, from the stored form record until nothing is owed:
// consensus (balance/group.h), the committed decisions, this node's ends of handovers, and, while
// this node is coordinator in office, the plan and its execution.
//
//   Storing --form durable--> Member --dissolved (committed, or a member's word), both ends done,
//                               |      or not bound and a member's word Gone---> Leaving --> left
//                               | dissolved, and something is still owed            ^
//                               +--> Parting --durable--> Lingering --both ends done,
//                                                                     superseded, Gone
//
// - Decisions are read from the log in order: a Begin opens a handover, the first Outcome for its
//   (job, epoch) closes it, later ones mean nothing.
// - Seats end with the outcome, not with the last confirmation (design.md §3). What is still owed
//   then, an end that waits or has to act, the other end's word, the outcome for a member that is
//   away, lives on without a seat (triad_linger.cc): Lingering has no group and no log, only the
//   last begun handover, which is the only one that can be owed, since each Begin waits for both
//   ends of the one before. Durable, one write in place of the triad's records.
// - Leaving erases everything of the triad in one write. Never while an end here is bound: decided
//   or not, its records stay until both ends are done (design.md §4.5). A member says Gone only
//   when it can never be in this triad (again), and every Begin needs all members, so a node whose
//   ends are not bound may leave on any member's Gone, dissolved or unknown. Also by itself, when
//   nothing was decided for kSeatQuiet: in a triad as long as nothing has begun that it knows of
//   (then no vote of it can be missed, and it has said to nobody that it is ready), as SINK of a
//   pair, which has no vote, whenever its end is not bound.
// - The other end and the coordinator hear an end's report on every change and every second or so,
//   which is also how the coordinator knows who is in contact.
//
// The coordinator in office (triad_lead.cc):
//   Settle --all store the form--> Ask --offer, room--> Prepare --ready to begin--> Follow
//      | 15 s, a member forgot      | nothing fits         ^  | refused: the next one     |
//      +----------> Dissolve <------+----------------------+--+ <------ both ends done ---+
//                      ^-------------- an outcome, and 3 s without both ends' word -------+
// In the ordinary course both ends have confirmed within those 3 s, so that nothing lingers, and
// the loads that the next triad plans with are those after the move. A new coordinator follows the
// last Begin to its end and then dissolves; the plan died with its maker. All timers here save
// waiting only; any of them may be wrong without harm.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "balance/end.h"
#include "balance/group.h"
#include "balance/planner.h"
#include "balance/record.h"
#include "balance/sink_end.h"
#include "balance/source_end.h"
#include "base/log.h"

namespace balance {

class Triad;
// Dissolved triads of this node in which something is owed.
using Lingering = std::map<TriadId, std::unique_ptr<Triad>>;

// Jobs whose last move was refused or came to nothing, and why. No rule moves them until then.
struct Rest {
  base::Time until{};
  std::string why;
};
using Rests = std::map<JobId, Rest>;

// What a triad needs to know of its node; owned by Balance.
struct Surroundings {
  NodeId self;
  const LocalState& local;
  const std::vector<NodeLoad>& view;
  const bool& stopping;  // the daemon is to end: nothing new begins here
  OwnTable& own;
  const Lingering& lingering;
  const Rests& rests;
  base::Log& log;
};

struct TriadRecords {  // of an earlier life
  group::Recovered group;
  std::optional<OutcomeEntry> lingers;  // it was dissolved; then `group` is empty
  std::map<HandoverId, EndRecord> ends;
  std::vector<std::string> keys;  // all of them, to be erased one day
};

class Triad {
 public:
  // A new one: stores the form record, with `also` in the same write.
  Triad(Step step, StoredForm stored, base::Incarnation incarnation, base::Rng rng,
        Surroundings around, std::vector<RecordChange> also);
  // After a restart.
  Triad(StoredForm stored, base::Incarnation incarnation, base::Rng rng, Surroundings around,
        TriadRecords records);

  void receive(Step step, const NodeId& from, const StoreId& store, const wire::Body& body);
  void persisted(Step step, std::uint64_t id);
  void host_says(Step step, const HandoverId& id, const Event& event);
  void job_ended(Step step, const JobId& job);
  void stopping(Step step, bool withdraw);
  void tick(Step step);
  [[nodiscard]] base::Time next_deadline(base::Time now) const;

  [[nodiscard]] const TriadId& id() const { return id_; }
  [[nodiscard]] const FormRecord& form() const { return stored_.form; }
  [[nodiscard]] bool left() const { return stage_ == Stage::kLeft; }
  // Durably without a seat; whatever comes for this triad is still given to it, until left().
  [[nodiscard]] bool lingers() const { return stage_ == Stage::kLingering; }
  [[nodiscard]] bool stored() const { return stage_ == Stage::kMember; }
  [[nodiscard]] SeatInfo seat() const;
  // This node's end for a job that is in doubt or under way; null if none.
  [[nodiscard]] End* end_of(const JobId& job);
  [[nodiscard]] const End* end(const HandoverId& id) const;
  [[nodiscard]] bool involves(const JobId& job) const;
  // It lingers, and this other end has not confirmed.
  [[nodiscard]] bool owed_by(const NodeId& node) const;
  // The ends here that are not done.
  [[nodiscard]] std::vector<const End*> bound_ends() const;
  // Why nothing was moved, for the person who asked; empty if something was begun.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }

 private:
  enum class Stage : std::uint8_t { kStoring, kMember, kParting, kLingering, kLeaving, kLeft };
  struct Handover {
    HandoverId id;
    std::optional<OutcomeEntry> outcome;
    base::Duration preflight{};
    base::Time begun_at{};
    std::optional<base::Time> sealed_at;
    std::optional<base::Time> ready_at;
    std::optional<base::Time> decided_at;
    Phase told = Phase::kPreflight;
    bool told_over = false;
  };
  struct Reports {
    std::optional<EndRecord> source;
    std::optional<EndRecord> sink;
    std::uint64_t bytes = 0;
  };
  struct Contact {
    base::Time heard{};
    base::Time asked{};
  };
  // SOURCE: the next move, before anything is begun.
  struct Preparation {
    enum class At : std::uint8_t { kWriting, kCollecting, kAsking, kDone };
    HandoverId id;
    Term term;
    At at = At::kWriting;
    std::uint64_t write = 0;
    OwnRecord own;
    base::Bytes requirement;
    bool ok = false;
    std::string reason;
    base::Time resend_at{};
    base::Time give_up_at{};
  };
  // SINK: the answer to the newest preflight.
  struct Checked {
    HandoverId id;
    bool done = false;
    bool ok = false;
    std::string reason;
  };
  struct Lead {
    enum class At : std::uint8_t { kSettle, kAsk, kPrepare };
    Term term;
    At at = At::kSettle;
    bool inherited = false;  // from an earlier coordinator: finish, then dissolve
    base::Time since{};
    base::Time resend_at{};
    std::optional<wire::Offer> offer;
    std::optional<wire::Room> room;
    std::vector<JobId> plan;
    std::size_t next = 0;
    std::optional<HandoverId> begin_proposed;
    std::optional<HandoverId> outcome_proposed;
    bool dissolve_proposed = false;
    base::Time prepare_since{};
  };

  // triad.cc
  void open_group(base::Time now, group::Recovered recovered);
  void run_group(Step step, const group::Event& event);
  void perform(Step step, const group::Action& action);
  void store(Step step, const group::Persist& write);
  void note(const group::Entry& entry);
  void apply(Step step, const group::Committed& entry);
  void apply(Step step, const BeginEntry& entry);
  void apply(Step step, const OutcomeEntry& entry);
  void make_end(const HandoverId& id, std::optional<EndRecord> recovered);
  void hear(Step step, const NodeId& from, const wire::Body& body);
  void hear_report(Step step, const NodeId& from, const wire::EndReport& report);
  void hear_superseded(Step step, const NodeId& from, const wire::Superseded& message);
  void settle(Step step);
  void report_ends(Step step, bool again);
  void ask_silent(Step step);
  void resend_form(Step step);
  [[nodiscard]] bool active() const {
    return stage_ == Stage::kMember || stage_ == Stage::kParting || stage_ == Stage::kLingering;
  }
  [[nodiscard]] bool bound() const;
  [[nodiscard]] std::uint64_t write(Step step, std::vector<RecordChange> changes);
  [[nodiscard]] NodeId other_end() const;
  [[nodiscard]] Handover* handover(const HandoverId& id);

  // triad_linger.cc
  void hear_gone(Step step, const NodeId& from, const wire::Gone& gone);
  void hear_decided(Step step, const OutcomeEntry& outcome);
  void hear_late(Step step, const NodeId& from, const wire::Body& body);
  void end_if_over(Step step);
  void linger(Step step);
  void linger_on(Step step);
  void leave(Step step, bool dissolved);
  void leave_quietly(Step step);
  [[nodiscard]] bool live_on(Step step);
  [[nodiscard]] bool owed() const;
  [[nodiscard]] bool resolved_elsewhere() const;
  [[nodiscard]] bool may_linger() const;
  [[nodiscard]] bool may_leave_quietly() const;
  [[nodiscard]] bool in_doubt_elsewhere(const JobId& job) const;

  // triad_prepare.cc
  void prepare(Step step, const wire::Prepare& message);
  void collected(Step step, const RequirementCollected& event);
  void preflight(Step step, const NodeId& from, const wire::Preflight& message);
  void preflight_checked(Step step, const PreflightChecked& event);
  void preflight_done(Step step, const wire::PreflightDone& message);
  void preparation_over(Step step, bool ok, std::string reason);
  void preparation_tick(Step step);
  [[nodiscard]] std::string why_not_prepare(Step step, const JobId& job) const;
  [[nodiscard]] std::vector<JobFacts> to_offer(base::Time now) const;
  void answer_ask(Step step, const NodeId& from, Term term);

  // triad_lead.cc
  void lead(Step step);
  void settle_form(Step step);
  void ask_ends(Step step);
  void make_plan(Step step);
  void prepare_next(Step step);
  void hear_prepared(Step step, const wire::Prepared& message);
  void follow(Step step, const Handover& open);
  [[nodiscard]] std::optional<OutcomeEntry> verdict(Step step, const Handover& open) const;
  void dissolve(Step step);
  [[nodiscard]] bool propose(Step step, const LogEntry& entry, bool closing);
  [[nodiscard]] bool done_by_both(const Handover& handover) const;
  [[nodiscard]] std::optional<EndRecord> report_of(const HandoverId& id, Seat seat) const;
  [[nodiscard]] bool lost_contact(Step step, const NodeId& node, base::Time since) const;

  // triad_tell.cc
  void tell(Step step);
  void tell_one(Step step, Handover& handover);
  [[nodiscard]] HandoverEvent event_of(Step step, const Handover& handover) const;

  StoredForm stored_;
  TriadId id_;
  base::Incarnation incarnation_;
  base::Rng rng_;
  Surroundings around_;
  NodeId self_;
  Seat seat_ = Seat::kCoordinator;
  Stage stage_ = Stage::kStoring;
  std::uint64_t stage_write_ = 0;
  std::set<std::string> keys_;  // everything of this triad on disk

  std::optional<Group> group_;
  std::optional<group::Recovered> to_recover_;
  std::optional<OutcomeEntry> to_linger_;  // recovered, not yet taken
  std::deque<std::pair<std::uint64_t, group::PersistId>> group_writes_;
  bool proposal_taken_ = false;

  std::vector<Handover> ledger_;
  bool dissolved_ = false;
  bool begin_stored_ = false;                // in the log here, committed or not
  std::optional<OutcomeEntry> stored_last_;  // the newest outcome there, likewise
  base::Time quiet_since_{};                 // as a member: the last entry, or the beginning
  std::map<HandoverId, std::unique_ptr<End>> ends_;
  std::map<HandoverId, Reports> reports_;
  std::map<HandoverId, std::pair<EndState, bool>> reported_;
  base::Time report_at_{};
  base::Duration linger_every_ = kReportEvery;  // grows while nothing changes
  std::map<NodeId, Contact> contact_;
  bool contact_started_ = false;
  std::set<NodeId> form_stored_;
  base::Time form_at_{};

  std::optional<Preparation> preparation_;
  std::optional<Checked> checked_;
  std::optional<Lead> lead_;
  std::string refusal_;
};

}  // namespace balance
