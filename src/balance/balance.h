// The agreement: what should move, who decides it, and that every job runs exactly once. One pure
// core; balance/event.h says what goes in and comes out and what the host must do.
//
// Parts, each with its rules in its header: rules and planner (pure), formation (who sits with
// whom), triad with group (consensus), source_end and sink_end (one handover). A node holds at most
// one seat: `triad_` while it has one, else at most one acceptance in `formation_`.
//
//   no seat --form stored--> triad_ --nothing owed--> no seat
//                              +--dissolved, something owed: `lingering_`, kept beside any seat,
//                                 until both ends have confirmed (balance/triad.h). At
//                                 kLingeringMax of these the node takes no seat.
//
// A job whose end here is not settled takes part in no other handover.
//
// Epochs of a job only grow. JobStarted gives 1; each preparation burns the next one of the
// SOURCE's store, durably; who takes a job over continues from its epoch. What an older epoch says
// runs nothing: an end begins only if its epoch is above that of the ownership record, and who
// learns that a higher one runs elsewhere (Superseded, after `tern resolve`) kills what it has.
//
// An ownership record goes with JobEnded, once nothing needs it: no end of the job here is under
// way, and no person's word waits for the lower copy to be gone. Then no old copy can pass for the
// job: a move begins only where SOURCE's own record says that it has the newest epoch, what has
// begun keeps the records of both its ends, a triad that was left begins nothing, and whom a
// person's word has to beat hears it from the node where it was said. The job's description is
// stored before the record and goes before it, and only with JobEnded to follow; so after a restart
// a record without description is of a job that is over here (node/jobs.cc).
//
// After a restart: construct with the records, and with a start counter (Config::incarnation) above
// that of every earlier life of the store; then step(Tick) at once (next_deadline() says so).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "balance/end.h"
#include "balance/event.h"
#include "balance/formation.h"
#include "balance/outbox.h"
#include "balance/rules.h"
#include "balance/triad.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rng.h"

namespace balance {

struct Config {
  NodeId self;
  StoreId store;
  base::Incarnation incarnation;
};

class Balance {
 public:
  // Records that do not decode are left alone on disk and reported to the log as errors; a node
  // that has any takes no seat (refuses()), since it cannot know what it promised. `log` outlives
  // this object.
  Balance(Config config, base::Rng rng, const Recovered& records,
          base::Log& log = base::null_log());
  ~Balance();

  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;

  [[nodiscard]] std::optional<SeatInfo> seat() const { return told_seat_; }
  [[nodiscard]] const Triad* triad() const { return triad_.get(); }
  [[nodiscard]] std::size_t lingering() const { return lingering_.size(); }
  // The epoch and place of a job, as this node's store knows it.
  [[nodiscard]] const OwnRecord* owner(const JobId& job) const { return own_.find(job); }
  // The copy or original here is held until an outcome, or the other end, is known.
  [[nodiscard]] bool in_doubt(const JobId& job) const;
  // The outcome is known, and only that other end, which has not been heard since, can say what
  // becomes of the job here; a person can, too (PersonResolve). None: it waits for no one.
  [[nodiscard]] std::optional<NodeId> waits_for(const JobId& job) const;
  // The handovers whose end here is not done.
  struct Unsettled {
    JobId job;
    NodeId other;  // the other end
    bool source = false;
    bool waits_for_others = false;  // sealed or ready: only the outcome ends that
    bool lingers = false;           // decided; the seats are free, and the other end is away
  };
  [[nodiscard]] std::vector<Unsettled> unsettled() const;
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }  // peer input that made no sense
  [[nodiscard]] bool refuses() const { return damaged_; }

  // What a person's move of this job would come to at this moment, as far as this node can tell
  // without asking anybody: its sink, or in `why` the answer that it would get.
  struct Outlook {
    ReplyCode code = ReplyCode::kDone;
    std::string why;
    NodeId sink;
  };
  [[nodiscard]] Outlook outlook(base::Time now, const JobId& job,
                                const std::optional<NodeId>& target) const;
  // Why a job's last move came to nothing, while it rests after that; empty: it does not.
  [[nodiscard]] std::string why_rests(const JobId& job, base::Time now) const;

 private:
  struct Person {
    std::uint64_t request = 0;
    JobId job;
    std::optional<NodeId> target;
    base::Time until{};
    base::Time retry_at{};
    int tries = 0;
    bool formed = false;
    bool lacks_third = false;  // every other node has a seat, as the view has it
    std::string last_reason;
    std::optional<wire::AnswerCode> last_code;
  };
  using People = std::vector<Person>;
  struct Resolve {
    std::uint64_t request = 0;
    HandoverId id;
  };

  void recover(const Recovered& records);
  using Ends = std::map<HandoverId, EndRecord>;
  void damaged(const std::string& key);
  void recover_triad(const TriadId& id, const Recovered& records, Ends ends);
  void recover_lingering(const std::string& key, base::ByteView value, Ends ends);
  void on(Step step, const Received& event);
  void on(Step step, const Persisted& event);
  void on(Step step, const Tick& event);
  void on(Step step, const ViewChanged& event);
  void on(Step step, const LocalState& event);
  void on(Step step, const JobStarted& event);
  void on(Step step, const JobEnded& event);
  void on(Step step, const PersonMigrate& event);
  void on(Step step, const PersonWithdraw& event);
  void on(Step step, const PersonResolve& event);
  void on(Step step, const JobFroze& event);
  void on(Step step, const Stopping& event);
  template <typename HostEvent>
  void on(Step step, const HostEvent& event) {
    if (Triad* const triad = find(event.id.triad)) triad->host_says(step, event.id, event);
  }
  // The seat's or one that lingers; null: this node knows no such triad (any more).
  [[nodiscard]] Triad* find(const TriadId& id) const;
  [[nodiscard]] End* end_of(const JobId& job) const;  // bound; null: none
  // All of them; none comes or goes meanwhile.
  [[nodiscard]] std::vector<Triad*> triads() const;
  void deliver(Step step, const NodeId& from, const wire::Message& message);
  void deliver_formation(Step step, const NodeId& from, const wire::Message& message);
  [[nodiscard]] bool is_decided_later(const HandoverId& id) const;
  void stranger(Step step, const NodeId& from, const TriadId& triad, const wire::Message& message);
  [[nodiscard]] bool answer_superseded(Step step, const NodeId& from,
                                       const wire::EndReport& report);
  void confirm_resolved(Step step, const JobId& job);
  [[nodiscard]] std::optional<Formation::Refusal> would_refuse(const NodeId& from,
                                                               const Roles& roles) const;
  [[nodiscard]] bool owes_too_many(const NodeId& node) const;
  [[nodiscard]] bool may_exist(const NodeId& node) const;
  [[nodiscard]] std::size_t other_live_nodes(const NodeId& a, const NodeId& b) const;
  void start(Step step, StoredForm stored);
  void follow_up(Step step);
  void leave_if_over(Step step);
  void heed_formation(Step step);
  void act_on_wish(Step step);
  void wake_here(Step step);
  void act_for_person(Step step);
  void propose_for(Step step, People::iterator who);
  // The first half needs no view; `why` empty: nothing speaks against it.
  [[nodiscard]] Outlook why_not_moved(const JobId& job, const std::optional<NodeId>& target,
                                      base::Time now) const;
  [[nodiscard]] Outlook sink_for_person(const JobId& job,
                                        const std::optional<NodeId>& target) const;
  [[nodiscard]] NodeId untried_sink(const Wish& wished) const;
  void failed_at(const JobId& job, const NodeId& sink, base::Time now);
  [[nodiscard]] bool somebody_takes(const JobFacts& job, base::Time now) const;
  [[nodiscard]] std::optional<Roles> roles_for(Cause cause, const JobId& job, const NodeId& sink);
  void reply(Step step, const Person& person, ReplyCode code, std::string sentence,
             std::optional<HandoverEvent> event = std::nullopt);
  void heed_own_events(Step step);
  void person_failed(Step step, People::iterator who);
  void tell_who_waits(Step step);
  void ask_again(base::Time now, const JobId& job, const std::string& refusal);
  void heed_resolve(Step step);
  void apply_process_rule(Step step, bool sampled);  // sampled: on a LocalState
  void tell_seat(Step step);
  [[nodiscard]] Surroundings around() {
    return {config_.self, local_, view_, stopping_, own_, lingering_, rest_, log_};
  }

  Config config_;
  base::Rng rng_;
  base::Log& log_;
  Outbox out_;
  OwnTable own_;
  Formation formation_;
  std::unique_ptr<Triad> triad_;
  Lingering lingering_;
  std::optional<Acceptance> recovered_acceptance_;
  bool started_ = false;
  bool damaged_ = false;
  bool stopping_ = false;
  std::vector<NodeLoad> view_;  // by id
  bool view_known_ = false;
  LocalState local_;
  bool local_known_ = false;
  std::map<std::uint64_t, std::pair<JobId, OwnRecord>> own_writes_;  // JobStarted under way
  std::set<JobId> ended_;  // their ownership records go when no end needs them
  People people_;
  std::optional<Resolve> resolve_;
  base::Time wish_after_{};               // back off until then
  base::Time wake_after_ = base::kNever;  // a view that has just begun to fill says nothing of S
  std::map<NodeId, base::Time> avoid_;    // sinks that refused lately
  Rests rest_;
  // By job: the sinks where its last moves came to nothing, and when.
  std::map<JobId, std::map<NodeId, base::Time>> failed_at_;
  struct Asked {  // of the process rule
    Intent intent = Intent::kNone;
    int times = 0;  // LocalStates in a row
  };
  std::map<JobId, Asked> asked_;
  std::optional<SeatInfo> told_seat_;
  std::size_t heeded_ = 0;  // of this step's actions
  std::uint64_t dropped_ = 0;
  base::Time now_{};
};

}  // namespace balance
