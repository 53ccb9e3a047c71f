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
//   running here, at home --Vanished--> lost
//   known after a restart, and to balance not --Unowned--> at home lost; elsewhere forgotten
//   known to balance after a restart, and here not, or ended here at home --OverHere--> balance
//                                     forgets it too
//   running here --Ended--> exited: at home kept for `tern ps`; elsewhere told to home until home
//                           has acknowledged it with all of its output, then forgotten
//
// What runs here may be put to rest, on this disk, without anybody else's consent (Rest; the host's
// part is daemon/park_desk.h). Whether a job is parked is what its folder says, nothing else: the
// host tells it (Parked) when it happened and after each restart, in answer to Attend.
//
//   runs --ParkAsked--> parking --Parked--> parked --WakeAsked--> waking --Woken--> runs
//                          \--ParkFailed--> runs      ^--WakeFailed--/
//   Begin (queued) --Owner(here)--> parked             parked --RemoveAsked--> Ended
//
// A parked job is the host's as one that runs is: it may leave in a handover, and home hears of it.
//
// Output. A node that runs a job of another home sends what its spool gained, piece after piece,
// each sent again until home says how far it has it; nothing of that is remembered here, home's
// word is the state. Home follows whom the agreement made the host (job_wire.h), durably. Offsets
// count the bytes of one stream since the job first started, on all nodes, so nothing is ever
// missing or doubled: home takes a piece only where it continues, only from the newest epoch that
// it has heard of, and acknowledges it after the fsync. A job that leaves takes what home has not
// acknowledged along (daemon), so its next host can go on. Where nothing of it moves for
// kOutputStall, on either side, the host is told (OutputStalls).
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

struct ParkedFacts {
  bool queued = false;  // never started
  base::WallTime since{};
  std::int64_t memory_bytes = 0;  // as it was when it was parked, like the next
  std::int64_t load_micros = 0;
  std::uint64_t cpu_micros = 0;  // on all machines so far
  friend bool operator==(const ParkedFacts&, const ParkedFacts&) = default;
};
struct Begin {  // a person ran it; home is this node
  JobSpec spec;
  // It waits to be started; what that takes is in its folder, durably.
  std::optional<ParkedFacts> queued = std::nullopt;
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
  StreamEnds ends{};  // of the spool, when it was read; 0: not known
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
struct Vanished {  // in answer to Attend, at home: nothing of it runs, that file of it is not there
  base::JobId job;
  std::string missing;
  StreamEnds ends{};  // its spool is complete
};
struct ParkAsked {  // legal for a job that runs here and is in no handover
  base::JobId job;
};
struct Parked {  // its file is whole and on the disk, and nothing of it runs here any more
  base::JobId job;
  ParkedFacts facts;
  base::Duration ago{};  // found after a restart: it has rested so long, by the wall clock
};
struct ParkFailed {  // it runs on
  base::JobId job;
};
struct WakeAsked {  // legal for a job that is parked here and in no handover
  base::JobId job;
};
struct Woken {  // it runs; its file is gone
  base::JobId job;
  std::int64_t pid = 0;
};
struct WakeFailed {  // it stays parked
  base::JobId job;
};
struct RemoveAsked {  // a person ends a parked job
  base::JobId job;
  std::int32_t wait_status = 0;
};
struct Peer {
  base::NodeId from;
  Message message;
};
struct Kept {
  std::uint64_t id = 0;
};
struct Tick {};

using Event =
    std::variant<Begin, Launched, LaunchFailed, Owner, Arriving, DropArrival, SpoolGrew, SpoolRead,
                 HomeAppended, Unowned, Drop, Ended, Vanished, ParkAsked, Parked, ParkFailed,
                 WakeAsked, Woken, WakeFailed, RemoveAsked, Peer, Kept, Tick>;

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
// After a restart: a job that is owned here. If it is parked, report that; if its processes are
// there, give it a keeper (paused while frozen); if neither, report Ended, or Vanished.
struct Attend {
  JobSpec spec;
  base::Epoch epoch;
};
struct Park {  // answered by Parked or ParkFailed
  base::JobId job;
  base::Epoch epoch;
};
struct Wake {  // answered by Woken or WakeFailed
  base::JobId job;
  base::Epoch epoch;
};
struct Remove {  // the parked job's file; answered by Ended
  base::JobId job;
  base::Epoch epoch;
  std::int32_t wait_status = 0;
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
struct OutputStalls {  // nothing of it moved for so long; said again when that has doubled
  base::JobId job;
  int stream = 0;
  base::Duration since{};
  bool at_home = false;    // an AppendHome is not answered; else home lacks what the spool has
  std::uint64_t home = 0;  // so far home has it, as far as is known here
  std::uint64_t spool = 0;
  bool reading = false;    // a ReadSpool is not answered
  bool in_flight = false;  // a piece is not acknowledged; it was sent `sent_ago`
  base::Duration sent_ago{};
};
struct Changed {  // for `tern events` and those who wait for this job
  base::JobId job;
  std::string what;
};

using Action = std::variant<Keep, Announce, Launch, Attend, Park, Wake, Remove, Stored, Tell,
                            ReadSpool, AppendHome, Forget, OverHere, OutputStalls, Changed>;
using Actions = std::vector<Action>;

// ---- what is known of one job

enum class Rest : std::uint8_t { kNone, kParking, kParked, kWaking, kRemoving };

struct Job {
  JobSpec spec;
  base::Epoch epoch;
  bool here = false;                  // owned here
  bool arriving = false;              // described only: a copy of it may become ours
  base::Epoch arriving_under;         // durable: owned from this epoch on it has moved once more
  bool lost = false;                  // at home: see Unowned, Vanished
  std::string missing;                // of a lost one, where that is known
  bool launched = false;              // here and under way
  bool recovered = false;             // known from before this start of the daemon
  Rest rest = Rest::kNone;            // here
  std::optional<ParkedFacts> parked;  // from kParked on, and of a queued job from its beginning
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
  // Either side: since when a piece waits for home, or for home's disk.
  std::array<std::optional<base::Time>, kStreams> waits_since{};
  std::optional<base::Time> stall_said;
  base::Time told_exit{};
  base::Time told_here{};
  bool here_acked = false;
  bool left = false;  // for another node; home has to hear of it
  base::Time told_moved{};
  // At home, for a job elsewhere.
  bool parked_there = false;
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
  // jobs_parked.cc
  void on(base::Time now, const Vanished& event);
  void on(base::Time now, const ParkAsked& event);
  void on(base::Time now, const Parked& event);
  void on(base::Time now, const ParkFailed& event);
  void on(base::Time now, const WakeAsked& event);
  void on(base::Time now, const Woken& event);
  void on(base::Time now, const WakeFailed& event);
  void on(base::Time now, const RemoveAsked& event);
  void tell_rest(base::Time now, Job& job);
  void on(base::Time now, const Peer& event);
  void on(base::Time now, const Kept& event);
  void on(base::Time now, const Tick& event);
  [[nodiscard]] bool is_over(const Job* job, const Owner& event) const;  // null: not known
  void on_output_ack(base::Time now, base::NodeId from, const OutputAck& message);
  void on_here_ack(base::NodeId from, const HereAck& message);
  void on_where(base::Time now, base::NodeId from, const Where& message);
  // jobs_home.cc
  [[nodiscard]] bool believes(base::Time now, Job& job, base::NodeId from, base::Epoch epoch);
  void on_lost(base::Time now, Job& job, const std::string& why);
  static void follow(Job& job, base::NodeId at, base::Epoch epoch);
  void on_output(base::Time now, base::NodeId from, const Output& message);
  void on_here(base::Time now, base::NodeId from, const Here& message);
  void on_exited(base::Time now, base::NodeId from, const Exited& message);
  void on_moved(base::Time now, base::NodeId from, const Moved& message);
  void on_exited_ack(base::NodeId from, const ExitedAck& message);

  void relay(base::Time now, Job& job);
  // jobs_stalls.cc
  static void watch_spool(base::Time now, Job& job);
  void tell_stall(base::Time now, Job& job);
  [[nodiscard]] static base::Time next_stall(const Job& job);
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
