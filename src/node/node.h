// One node: gossip, balance and jobs composed; still pure. The daemon and the simulator host it.
//
//   datagrams, contacts -> gossip  --view-->  balance  <--- load samples (effective ratio, trit)
//   messages  -> [envelope] -> balance | jobs | queries
//   balance  --OwnerChanged-->  jobs        jobs  --JobStarted, JobEnded-->  balance
//   balance's host operations -> HandoverOrder        jobs' -> JobOrder
//
// No core calls another: each returns actions, and this class turns one core's word into another's
// event, in order, until nothing is left.
//
// Durable records, all in one store: "own/", "end/", "acc/", "tri/", "lin/" are balance's, "job/"
// are jobs', "member/<node>" are certificate chains that gossip learned, "addr/<node>" where a
// member was seen (who left in order is sought by nobody, so it must find the others), "met/<node>"
// where those are with whom this node has to do although its view may not show them,
// "throttle/" what is throttled here (node/throttles.h), "incarnation" this node's.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "balance/balance.h"
#include "base/id_map.h"
#include "base/log.h"
#include "gossip/gossip.h"
#include "node/drain.h"
#include "node/event.h"
#include "node/inputs.h"
#include "node/jobs.h"
#include "node/limits.h"
#include "node/move_metadata.h"
#include "node/owner.h"
#include "node/pauses.h"
#include "node/sleep.h"
#include "node/throttles.h"
#include "probe/load_average.h"
#include "probe/moved_load.h"
#include "probe/sample.h"
#include "probe/trit.h"

namespace node {

struct Picture;  // node/sentence.h

// Which people of other members may act here as the users of those uids: the same whose foreign
// jobs may run here (node/job_wire.h, "Who may ask what").
struct PeoplePolicy {
  bool root = false;
  std::vector<std::uint32_t> uids;
};

struct Config {
  identity::NodeKeys keys;
  base::Bytes chain;
  base::crypto::SignPublic root{};
  base::StoreId store;
  base::Incarnation incarnation;
  gossip::Salt salt{};
  base::Secret<32> gossip_secret;
  std::uint64_t seed = 0;
  std::string version;
  std::vector<base::Endpoint> addresses;
  base::Duration load_window = std::chrono::seconds(60);
  bool accepts_jobs = true;
  std::string why_no_jobs = {};  // where it does not
  bool moves_jobs = true;
  std::string no_throttle = {};  // why this machine cannot throttle; empty where it can
  std::uint64_t capabilities = 0;
  base::WallTime wall{};
  PeoplePolicy people;
  OwnerPolicy owner = {};
  std::shared_ptr<gossip::Pool> pool = nullptr;  // shared with other nodes of this process, if any
};

// What `tern status` shows of this node and its view.
struct StatusNode {
  gossip::NodeView view;
  bool self = false;
};
struct Status {
  std::vector<StatusNode> nodes;
  int sum = 0;              // S: the trits of all live nodes known here
  int seats_sum_mod_3 = 0;  // over the seats that the view shows
  std::optional<balance::SeatInfo> seat;
  std::int64_t ratio_micros = 0;
  std::int64_t effective_ratio_micros = 0;
  probe::Trit trit = probe::Trit::kErgodic;
};

struct ThrottleCounts {  // since this daemon started
  std::uint64_t by_rule = 0;
  std::uint64_t by_person = 0;
  std::uint64_t by_owner = 0;
  std::uint64_t lifted = 0;
  std::uint64_t failed = 0;
};

class Node {
 public:
  using Records = std::map<std::string, base::Bytes>;
  // `records`: the whole store; `home_ends`: how far this home's logs reach. `log` outlives this.
  Node(Config config, const Records& records, const std::map<base::JobId, StreamEnds>& home_ends,
       base::Log& log);
  ~Node();

  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;

  [[nodiscard]] base::NodeId self() const { return self_; }
  [[nodiscard]] Status status() const;
  [[nodiscard]] const std::optional<balance::SeatInfo>& seat() const { return seat_; }
  [[nodiscard]] const jobs::Jobs& jobs() const { return *jobs_; }
  [[nodiscard]] std::vector<base::Endpoint> addresses_of(const base::NodeId& node) const;
  [[nodiscard]] std::string name_of(const base::NodeId& node) const;
  // Where a job goes that is run without saying where: here, unless this node is PLUS; then to a
  // MINUS node that has room, or, with none, into the queue. A new job counts as one CPU.
  struct Placement {
    bool here = true;
    std::optional<base::NodeId> elsewhere;
    std::string why;  // not here
  };
  [[nodiscard]] Placement placement() const;
  // SOURCE: what travels with the checkpoint, as it is now. None: the job is not here.
  [[nodiscard]] std::optional<MoveMetadata> describe(const base::JobId& job) const;
  // Of a job that is here: a move that begins or is under way may close its TCP connections.
  [[nodiscard]] bool may_close_tcp(const base::JobId& job) const;
  // Handovers whose end on this node is not done: a daemon that ends now leaves their jobs standing
  // still.
  [[nodiscard]] std::vector<balance::Balance::Unsettled> unsettled() const {
    return balance_->unsettled();
  }
  // An end of one of them is of this job.
  [[nodiscard]] bool in_doubt(const base::JobId& job) const { return balance_->in_doubt(job); }
  [[nodiscard]] bool draining() const { return person_drains_; }
  [[nodiscard]] const Stance& stance() const { return stance_; }
  // `parks`: as a drain would that parks what fits nowhere.
  [[nodiscard]] std::vector<DrainStep> drain_plan(bool parks) const;
  [[nodiscard]] const gossip::Counters& counters() const { return gossip_->counters(); }
  [[nodiscard]] const ThrottleCounts& throttle_counts() const { return throttle_counts_; }
  // What is throttled; also what a person keeps from being throttled.
  [[nodiscard]] const Throttle* throttle_of(const base::JobId& job) const;
  [[nodiscard]] std::size_t paused() const { return pauses_.count(); }
  [[nodiscard]] const identity::Roster& roster() const { return gossip_->roster(); }

 private:
  struct Waiting {  // a person's question that peers answer
    std::uint64_t request = 0;
    std::optional<Message> question;  // said again to those that are missing
    base::Time asked{};
    base::Time again_at = base::kNever;
    base::Duration again_after = kAskAgainMin;
    base::Time deadline{};
    base::Time news{};  // an order's: when something new was told
    std::set<base::NodeId> missing;
    std::map<base::JobId, JobInfo> jobs;
    bool is_jobs = false;
    bool is_sentence = false;
    std::map<base::NodeId, std::string> told;  // of a sentence
  };
  struct Remote {  // an order that a peer gave us
    base::NodeId from;
    std::uint64_t query = 0;
    friend auto operator<=>(const Remote&, const Remote&) = default;
  };
  // SOURCE: a dry run. Looking at the job -> asking the sink -> told; the token is its own all
  // along.
  struct Trial {
    base::JobId job;
    base::NodeId sink;
    base::Time deadline{};
    bool asked = false;  // the sink
    bool parks = false;  // nobody is asked
  };
  struct NeedsAsked {  // SINK: whose question the host looks into
    base::NodeId from;
    std::uint64_t query = 0;
  };
  struct Met {
    Whereabouts other;
    bool stored = false;
  };
  struct Limiting {  // what the host is to do, once it is stored
    base::JobId job;
    base::Epoch epoch;
    std::int64_t limit_micros = 0;
    std::uint64_t token = 0;
    bool is_news = true;
    bool is_owners = false;  // her policy wants it, or wanted it until now
  };
  struct Timing {  // SOURCE: for frozen_seconds
    base::Time ordered{};
    std::optional<base::Time> frozen;
  };

  void on(const Start& event);
  void on(const Tick& event);
  void on(const WallClock& event);
  void on(const DatagramIn& event);
  void on(const MessageIn& event);
  void on(const Introduced& event);
  void on(const SeedPeer& event);
  void on(const Persisted& event);
  void on(const Sample& event);
  void on(const Handover& event);
  void on(const JobNews& event);
  void on(const FilesGoHome& event);
  void on(const Rested& event);
  void on(const JobFrozen& event);
  void on(const MoveArrived& event);
  void on(const RunJob& event);
  void on(const MigrateJob& event);
  void on(const ParkJob& event);
  void on(const WakeJob& event);
  void on(const ResolveJob& event);
  void on(const KillJob& event);
  void on(const DrainNode& event);
  void on(const ThrottleJob& event);
  void on(const CpuLimited& event);
  void on(const JobPaused& event);
  void on(const SleepNews& event);
  void on(const AskJobs& event);
  void on(const AskSentence& event);
  void on(const AskLog& event);
  void on(const DeskEvent& event);
  void on(const JobFed& event);
  void on(const LogRead& event);
  void on(const Signalled& event);
  void on(const NeedsLooked& event);
  void on(const Stopping& event);
  void on(const Leave& event);

  void to_gossip(const gossip::Event& event);
  void to_balance(const balance::Event& event);
  void to_jobs(const jobs::Event& event);
  template <typename Said>
  void route(Said said);
  void take(gossip::Action& action);
  void take(balance::Action& action);
  void take(const jobs::Action& action);
  void take_owner(const balance::OwnerChanged& change);
  [[nodiscard]] bool stood_before(const base::JobId& job) const;
  void look_for_unowned();
  void after_doubt();
  void take_handover(const balance::HandoverEvent& event);
  void take_person_reply(const balance::PersonReply& reply);
  void on_view(const gossip::ViewChanged& view);
  void remember_address_of(const gossip::NodeView& view);
  void remember_address(const base::NodeId& node, const base::Endpoint& at);
  [[nodiscard]] std::vector<Whereabouts> whereabouts_of(
      const std::vector<base::NodeId>& nodes) const;
  void meet(const Whereabouts& told);
  void meet_host(const base::NodeId& host, const base::JobId& job);
  void keep_met(std::vector<balance::RecordChange> changes);
  void called(const Whereabouts& by);
  [[nodiscard]] bool has_met(const base::NodeId& node) const;
  void seek_remembered();
  void on_local(bool is_sample = false);  // or between two: work came or went
  // node_throttle.cc
  void throttle_by_rule(const balance::SetThrottle& order);
  void throttle_by_person(std::uint64_t token, const jobs::Job& job, std::uint64_t number);
  void limit_again(const base::JobId& job, base::Epoch epoch);
  void limit_attended();
  void keep_throttle(const jobs::Job& job, std::uint64_t token, bool is_news);
  void limit_now(const Limiting& limiting);
  void throttle_stays(const base::JobId& job, base::Epoch epoch);
  void forget_throttles();
  [[nodiscard]] bool is_limiting(const base::JobId& job) const;
  [[nodiscard]] std::int64_t load_without_throttles() const;
  void on_message(base::NodeId from, const Message& message);
  // node_pause.cc
  [[nodiscard]] std::map<base::JobId, base::Epoch> running_guests() const;
  void hold_guests();
  // node_parked.cc
  void on_queued(const base::JobId& job);
  void start_park(std::uint64_t token, const jobs::Job& job, bool trial);
  void start_wake(std::uint64_t token, const jobs::Job& job);
  [[nodiscard]] bool wake_resolved(const balance::PersonReply& said);
  [[nodiscard]] base::Duration rested(const jobs::ParkedFacts& facts) const;
  [[nodiscard]] bool kill_parked(std::uint64_t token, const jobs::Job& job, int signal_number);
  // node_orders.cc
  void ask_peers(Waiting waiting, std::uint64_t query, Message question);
  void tend_waiting();
  void forward(std::uint64_t request, base::NodeId host, Order order);
  void give_order(std::uint64_t request, base::NodeId host, const Order& order);
  void carry_out(std::uint64_t token, const jobs::Job& job, const Order& order);
  void on_order(base::NodeId from, const Order& order);
  void on_order_reply(base::NodeId from, const OrderReply& answer);
  void order_done(const Remote& order, OrderReply answer);
  // node_inputs.cc
  void on_input(base::NodeId from, const Input& input);
  void take(inputs::Actions actions);
  void tend_inputs();
  void on_log_query(base::NodeId from, const LogQuery& query);
  void on_log_reply(base::NodeId from, const LogReply& log);
  void on_needs_query(base::NodeId from, const NeedsQuery& query);
  void on_needs_reply(base::NodeId from, const NeedsReply& reply);
  void start_trial(std::uint64_t token, const base::JobId& job,
                   const std::optional<base::NodeId>& target, bool tcp_close);
  void end_trial(std::uint64_t token, int exit_code, const std::string& sentence,
                 const std::vector<std::string>& obstacles = {});
  void end_late_trials();
  void answer_person(std::uint64_t token, int exit_code, const std::string& sentence,
                     const std::string& json);
  // node_drain.cc
  void recover_drain(const Records& records);
  [[nodiscard]] std::vector<DrainJob> drain_jobs() const;
  [[nodiscard]] std::vector<balance::NodeLoad> loads() const;
  void tend_drain();
  void withdraw_drain();
  [[nodiscard]] std::vector<DrainStep> end_drain();
  void tell_drain(const std::vector<DrainJob>& jobs);
  [[nodiscard]] bool take_drain_answer(std::uint64_t token, int exit_code,
                                       const std::string& sentence);
  [[nodiscard]] bool take_drain_reply(const balance::PersonReply& said);
  [[nodiscard]] bool accepts() const {
    return config_.accepts_jobs && !person_drains_ && stance_.yield == Yield::kNothing;
  }
  [[nodiscard]] std::string why_no_guests() const;  // empty: it takes them
  [[nodiscard]] Reach reach() const;
  [[nodiscard]] Reach reach_now() const;
  void heed_owner();
  // node_sleep.cc
  [[nodiscard]] std::size_t leave_before_sleep() const;
  void tend_sleep();
  void sleep_changed(std::string what);
  void answer_jobs(std::uint64_t query);
  // node_sentence.cc
  [[nodiscard]] Picture picture() const;
  void on_why_query(base::NodeId from, const WhyQuery& query);
  void on_why_reply(base::NodeId from, const WhyReply& answer);
  void answer_sentence(std::uint64_t query);
  void merge(Waiting& waiting, const JobInfo& info);
  void persist(std::vector<balance::RecordChange> changes, std::uint64_t inner, int owner);
  void send(base::NodeId to, const Message& message);
  void reply(std::uint64_t request, int exit_code, std::string sentence);
  void out(Action action) { actions_.push_back(std::move(action)); }
  [[nodiscard]] gossip::DigestFields digest_fields() const;
  [[nodiscard]] std::vector<JobInfo> job_infos() const;
  [[nodiscard]] JobsReply jobs_reply(std::uint64_t query, const base::NodeId& asker) const;
  // As it would be were it neither throttled nor paused.
  [[nodiscard]] JobSample counted(const JobSample& job) const;
  [[nodiscard]] JobInfo info_of(const jobs::Job& job) const;
  // Empty, or why not: whether `uid`, as `asker` says, may do what the job's owner may.
  [[nodiscard]] std::string why_not(const jobs::Job& job, std::uint32_t uid,
                                    const base::NodeId& asker) const;

  Config config_;
  base::NodeId self_;
  base::Log& log_;
  base::Time now_{};
  std::unique_ptr<gossip::Gossip> gossip_;
  std::unique_ptr<balance::Balance> balance_;
  std::unique_ptr<jobs::Jobs> jobs_;
  inputs::Inputs inputs_;
  Actions actions_;
  // What the cores said and was not routed yet, in the order in which they said it. Were it routed
  // from within, a batch that was decided later could reach the store before an earlier one.
  std::deque<std::variant<gossip::Action, balance::Action, jobs::Action>> said_;
  bool routing_ = false;
  base::NodeMap<base::Endpoint> addresses_;  // as stored
  std::deque<Met> met_;                      // oldest first, as are:
  std::deque<Whereabouts> callers_;          // whose messages came last
  bool starting_ = false;

  // This node's own load.
  Sample sample_;
  balance::LocalState local_;  // as balance was told
  bool sampled_ = false;
  probe::MovedLoad moved_;
  probe::TritFilter trit_;
  std::int64_t effective_micros_ = 0;
  std::optional<balance::SeatInfo> seat_;
  std::optional<balance::HandoverEvent> under_way_;
  Throttles throttles_;
  std::map<std::uint64_t, Limiting> limits_stored_;  // by write, until it is durable
  std::map<std::uint64_t, Limiting> limiting_;       // by token, until the host has answered
  std::set<base::JobId> attended_;                   // after a restart, and not seen yet
  ThrottleCounts throttle_counts_;
  Pauses pauses_;
  SleepDelay sleep_;
  // As guests here, by their wait status, whose files are on their way home.
  std::map<base::JobId, std::int32_t> ended_;

  struct DrainWaiter {
    std::uint64_t request = 0;
    std::string said;
  };
  Stance stance_;  // what the owner's presence asks for
  bool person_drains_ = false;
  bool person_parks_ = false;  // meanwhile, what fits nowhere
  Drain drain_;
  std::map<std::uint64_t, base::JobId> drain_moves_;  // under way, by balance's request
  std::vector<DrainWaiter> drain_waiters_;

  struct Persisting {
    int owner = 0;  // 0 nobody, 1 balance, 2 jobs, 3 throttles
    std::uint64_t inner = 0;
  };
  std::uint64_t next_persist_ = 1;
  std::map<std::uint64_t, Persisting> persisting_;

  std::uint64_t next_query_ = 1;
  std::map<std::uint64_t, Waiting> waiting_;            // by query: jobs, orders, logs
  std::map<std::uint64_t, std::uint64_t> local_ops_;    // token to a local person's request
  std::map<std::uint64_t, Remote> remote_ops_;          // token to a peer's order
  std::map<Remote, std::optional<OrderReply>> orders_;  // none: it is being carried out
  std::deque<Remote> orders_done_;                      // oldest first
  base::Time started_at_{};
  base::WallTime wall_{};                              // when the host said it last
  std::map<std::uint64_t, LogQuery> log_reads_;        // token to what was asked
  std::map<std::uint64_t, Trial> trials_;              // token to a person's dry run
  std::map<std::uint64_t, base::JobId> closing_;       // token to a migrate that may close TCP
  std::map<std::uint64_t, NeedsAsked> needs_asked_;    // token to a peer's question
  std::map<base::JobId, std::uint64_t> running_;       // RunJob requests until the launch
  std::map<base::JobId, std::uint64_t> resting_;       // tokens of who wants it parked or woken
  std::set<std::uint64_t> resolving_;                  // tokens of who resolves a job
  std::map<base::JobId, jobs::Ended> ended_in_doubt_;  // until the handover is decided
  std::map<base::JobId, balance::OwnerChanged> owner_in_doubt_;
  std::map<base::JobId, balance::HandoverId> arriving_;  // SINK: the newest attempt of each job
  std::map<balance::HandoverId, Timing> timings_;
  std::map<std::uint64_t, HandoverSummary> summaries_;  // person's token to what came of it
  std::map<base::JobId, HandoverSummary> last_handover_;
};

[[nodiscard]] balance::NodeLoad load_of(const gossip::NodeView& seen);
// A dry run: {"job","from","to","from_name","to_name","obstacles":[sentence...]}; none: it would
// move.
struct TrialSummary {
  base::JobId job;
  base::NodeId source;
  base::NodeId sink;  // zero where it did not come to that
  std::string source_name;
  std::string sink_name;
  std::vector<std::string> obstacles;
};
[[nodiscard]] std::string trial_json(const TrialSummary& trial);
// {"job","node","node_name","what":"park|wake","outcome":"done|failed","reason","bytes",
// "stored_bytes","frozen_seconds","phases":{name: seconds}}
[[nodiscard]] std::string rest_json(const Rested& rested, const base::NodeId& node,
                                    const std::string& node_name);
// A JSON string: quotes and backslashes escaped, control characters shown as spaces.
[[nodiscard]] std::string quoted(std::string_view text);
// Of the triads that the view shows whole (design.md §2): what one end's digest tells before the
// other's, or what a dead node said last, is no seat too many.
[[nodiscard]] int seats_sum_mod_3(const std::vector<gossip::NodeView>& nodes);
// cli.md's object for one handover.
[[nodiscard]] std::string handover_json(const HandoverSummary& summary);

}  // namespace node
