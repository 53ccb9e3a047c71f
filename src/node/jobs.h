// The jobs that this node is home to or runs: their descriptions, where they are, their output and
// how they ended. Who may run a job is balance's decision; this core follows it (Owner).
//
// A job as one node sees it:
//
//   Begin -> [stored] -> Announce -> Owner(here) -> Launch --Launched--> running here
//                                                     \--LaunchFailed--> forgotten
//   Arriving(spec) -> [stored] -> Stored -> Owner(here) -> running here   (DropArrival: forgotten)
//   running here --Owner(not here)--> elsewhere (its home keeps it, anybody else forgets it once
//                                     home knows where it went: Moved)
//   known after a restart, and to balance not --Unowned--> at home lost; elsewhere forgotten
//   known to balance after a restart, and here not, or ended here at home --OverHere--> balance
//                                     forgets it too
//   running here --Ended--> exited: at home kept for `tern ps`; elsewhere told to home until home
//                           has acknowledged it with all of its output, then forgotten
//
// Output. A node that runs a job of another home sends what its spool gained, piece after piece,
// each sent again until home says how far it has it; nothing of that is remembered here, home's
// word is the state. Home follows whom the agreement made the host (job_wire.h), durably. Offsets
// count the bytes of one stream since the job first started, on all nodes, so nothing is ever
// missing or doubled: home takes a piece only where it continues, only from the newest epoch that
// it has heard of, and acknowledges it after the fsync. A job that leaves takes what home has not
// acknowledged along (daemon), so its next host can go on.
//
// Rules for callers: actions are performed in order; Keep is answered by Kept after the fsync, and
// what depends on it is emitted only then.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "node/job_wire.h"
#include "node/limits.h"

namespace node::jobs {

// ---- events

struct Begin {  // a person ran it; home is this node
  JobSpec spec;
};
struct Launched {
  base::JobId job;
  std::int64_t pid = 0;
};
struct LaunchFailed {
  base::JobId job;
  std::string reason;
};
struct Owner {  // balance::OwnerChanged
  base::JobId job;
  base::Epoch epoch;
  bool here = false;
  base::NodeId at;
  bool at_start = false;  // as it was before this start of the daemon
};
struct Arriving {  // SINK: a checkpoint's metadata came; answered by Stored
  JobSpec spec;
  base::Epoch epoch;  // under which it would be ours
};
struct DropArrival {  // SINK: nothing of that attempt is left
  base::JobId job;
};
struct SpoolGrew {  // what the local spool holds: the output from `bases` to `ends`
  base::JobId job;
  StreamEnds bases{};  // home acknowledged everything before
  StreamEnds ends{};
};
struct SpoolRead {  // answers ReadSpool; empty bytes: there was nothing (any more)
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;
  base::Bytes bytes;
};
struct HomeAppended {  // answers AppendHome, after the fsync or in vain
  base::JobId job;
  int stream = 0;
  std::optional<std::uint64_t> end;  // of this stream, as far as it is synced; none: not known
};
// After a restart: balance knows nothing of this job. Home began it and never launched it, or its
// ownership record is lost: it is *lost*, and shown so. Anywhere else: forgotten.
struct Unowned {
  base::JobId job;
};
struct Drop {  // a person gave up a lost job
  base::JobId job;
};
struct Ended {  // the copy that ran here is gone; its spool is complete
  base::JobId job;
  std::int32_t wait_status = 0;
  StreamEnds ends{};
};
struct Peer {
  base::NodeId from;
  Message message;
};
struct Kept {
  std::uint64_t id = 0;
};
struct Tick {};

using Event = std::variant<Begin, Launched, LaunchFailed, Owner, Arriving, DropArrival, SpoolGrew,
                           SpoolRead, HomeAppended, Unowned, Drop, Ended, Peer, Kept, Tick>;

// ---- actions

struct Keep {  // durable; answered by Kept{id}
  std::uint64_t id = 0;
  std::string key;
  std::optional<base::Bytes> value;
};
struct Announce {  // tell balance: JobStarted
  base::JobId job;
};
struct Launch {
  JobSpec spec;
  base::Epoch epoch;
};
// After a restart: a job that is owned here. If its processes are there, give it a keeper (paused
// while frozen); if not, report Ended.
struct Attend {
  JobSpec spec;
  base::Epoch epoch;
};
struct Stored {  // answers Arriving
  base::JobId job;
};
struct Tell {
  base::NodeId to;
  Message message;
};
struct ReadSpool {
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;
  std::size_t size_max = 0;
};
struct AppendHome {  // to home's log of a job that runs elsewhere, exactly at `offset`
  base::JobId job;
  int stream = 0;
  std::uint64_t offset = 0;
  base::Bytes bytes;
};
struct Forget {  // the job's folder is of no more use here
  base::JobId job;
};
struct OverHere {  // tell balance: JobEnded
  base::JobId job;
};
struct Changed {  // for `tern events` and those who wait for this job
  base::JobId job;
  std::string what;
};

using Action = std::variant<Keep, Announce, Launch, Attend, Stored, Tell, ReadSpool, AppendHome,
                            Forget, OverHere, Changed>;
using Actions = std::vector<Action>;

// ---- what is known of one job

struct Job {
  JobSpec spec;
  base::Epoch epoch;
  bool here = false;           // owned here
  bool arriving = false;       // described only: a copy of it may become ours
  base::Epoch arriving_under;  // durable: owned from this epoch on it has moved once more
  bool lost = false;           // at home: see Unowned
  bool launched = false;       // here and under way
  bool recovered = false;      // known from before this start of the daemon
  std::int64_t pid = 0;
  base::Time arrived{};
  base::NodeId at;  // where it runs, as far as known
  std::optional<std::int32_t> wait_status;
  bool exit_kept = false;  // wait_status is durable
  // Here, for another home: what the spool holds, how far home has it, what was sent last.
  StreamEnds spool{};
  StreamEnds home_has{};
  std::array<bool, kStreams> reading{};
  std::array<base::Time, kStreams> sent_at{};
  std::array<bool, kStreams> in_flight{};
  base::Time told_exit{};
  base::Time told_here{};
  bool here_acked = false;
  bool left = false;  // for another node; home has to hear of it
  base::Time told_moved{};
  // At home, for a job elsewhere.
  StreamEnds have{};
  std::array<bool, kStreams> appending{};
  std::uint64_t kept_moves = 0;  // as far as they are on the disk
  std::optional<Exited> pending_exit;
  // Somebody whom nobody named says that it is there; `at` was asked, and has said nothing since.
  std::optional<base::Time> claimed;
  base::Time asked_where{};
  base::NodeId named_by;  // who said Moved last
  bool naming = false;    // that is not on the disk yet
};

class Jobs {
 public:
  // `records` are those under "job/", `home_ends` what home's logs held at start.
  Jobs(base::NodeId self, const std::map<std::string, base::Bytes>& records,
       const std::map<base::JobId, StreamEnds>& home_ends);
  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;

  [[nodiscard]] const std::map<base::JobId, Job>& all() const { return jobs_; }
  [[nodiscard]] const Job* find(base::JobId job) const;
  [[nodiscard]] bool full() const { return jobs_.size() >= kJobsMax; }
  [[nodiscard]] std::uint64_t unreadable_records() const { return unreadable_records_; }

 private:
  void on(base::Time now, const Begin& event);
  void on(base::Time now, const Launched& event);
  void on(base::Time now, const LaunchFailed& event);
  void on(base::Time now, const Owner& event);
  void on(base::Time now, const Arriving& event);
  void on(base::Time now, const DropArrival& event);
  void on(base::Time now, const SpoolGrew& event);
  void on(base::Time now, const SpoolRead& event);
  void on(base::Time now, const HomeAppended& event);
  void on(base::Time now, const Unowned& event);
  void on(base::Time now, const Drop& event);
  void on(base::Time now, const Ended& event);
  void on(base::Time now, const Peer& event);
  void on(base::Time now, const Kept& event);
  void on(base::Time now, const Tick& event);
  [[nodiscard]] bool is_over(const Job* job, const Owner& event) const;  // null: not known
  void on_output_ack(base::Time now, base::NodeId from, const OutputAck& message);
  void on_here_ack(base::NodeId from, const HereAck& message);
  void on_where(base::Time now, base::NodeId from, const Where& message);
  // jobs_home.cc
  [[nodiscard]] bool believes(base::Time now, Job& job, base::NodeId from, base::Epoch epoch);
  void on_lost(base::Time now, Job& job);
  static void follow(Job& job, base::NodeId at, base::Epoch epoch);
  void on_output(base::Time now, base::NodeId from, const Output& message);
  void on_here(base::Time now, base::NodeId from, const Here& message);
  void on_exited(base::Time now, base::NodeId from, const Exited& message);
  void on_moved(base::Time now, base::NodeId from, const Moved& message);
  void on_exited_ack(base::NodeId from, const ExitedAck& message);

  void relay(base::Time now, Job& job);
  void tell_here(base::Time now, Job& job);
  void tell_exit(base::Time now, Job& job);
  void tell_moved(base::Time now, Job& job);
  void finish_at_home(Job& job, std::int32_t wait_status, base::NodeId teller);
  void trim_exited();
  void forget(base::JobId job);
  void keep(const Job& job, std::function<void()> then);
  void out(Action action) { actions_.push_back(std::move(action)); }
  [[nodiscard]] Job* get(base::JobId job);

  base::NodeId self_;
  std::map<base::JobId, Job> jobs_;
  std::map<std::uint64_t, std::function<void()>> waiting_;  // for Kept, by id
  std::uint64_t next_keep_ = 1;
  std::deque<base::JobId> exited_;  // at home, oldest first
  std::uint64_t unreadable_records_ = 0;
  Actions actions_;
};

}  // namespace node::jobs
