// The copies of jobs on this machine: their processes, cgroups, keepers and spools.
//
// A copy lives in the cgroup job-<id>-e<epoch>, where epoch is the one under which it was born
// here. Of one job there is at most one *settled* copy (it runs, or it is the frozen original of a
// handover) and at most one that arrives (handover_in.h holds those until they are let go).
//
//   launch ----> running <--thaw-- frozen (keeper paused)
//   attend -/       |  \--freeze-->   |
//   settle (a copy that was released) |
//                   v                 v
//                 ended            killed
//
// Besides, the owner's policy may hold a copy (pause()): in the same freezer, so that a copy stands
// still as long as either wants it. Its mark in the job's folder outlives the daemon and says
// whether a handover or a park holds it too, which the frozen group alone would not.
//
// Operations on one copy are done one after another, off the loop; their callbacks come on the loop
// and never from within the call. A keeper that dies is replaced. One that says nothing is asked
// every kKeeperAsk, and connected to anew where it does not answer: what it had to tell is then
// heard. Everything is idempotent.
//
// What is done to a job's folder beside its copy (an arrival is prepared, home's log grows, all is
// forgotten) is done one after another too, in the order in which it was asked for: in_folder().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "daemon/init_roots.h"
#include "daemon/paths.h"
#include "loop/handles.h"
#include "machine/cgroup.h"
#include "machine/helpers.h"
#include "machine/job_process.h"
#include "machine/keeper_client.h"
#include "machine/process_name.h"
#include "machine/spawn.h"
#include "node/job_wire.h"

namespace ternd {

inline constexpr base::Duration kKeeperAsk = std::chrono::seconds(5);
inline constexpr base::Duration kKeeperSilence = std::chrono::seconds(10);
inline constexpr base::Duration kSlowSaid = std::chrono::seconds(30);  // of what takes long; again

struct CopyView {  // for the sampler, `tern ps` and handovers
  base::JobId job;
  base::Epoch born;
  std::string cgroup;
  machine::ProcessName init;
  std::string init_root;  // empty: the job cannot be checkpointed
  bool frozen = false;    // for a handover or a park
  bool ended = false;
  std::int64_t limit_micros = 0;  // of CPU time, as ordered; 0: none
  node::StreamEnds bases{};       // where the output begins that is stored here
  bool paused = false;            // by the owner's policy
};

class Copies {
 public:
  using Done = std::function<void(base::Status)>;
  using Work = std::function<base::Status()>;
  struct Callbacks {
    std::function<void(base::JobId, node::StreamEnds bases, node::StreamEnds ends)> grew;
    // The copy is gone for good and its output complete.
    std::function<void(base::JobId, std::int32_t wait_status, node::StreamEnds)> ended;
    // Nothing of it runs, nobody knows how it ended, and that file of it is not there. Its output
    // is complete.
    std::function<void(base::JobId, const std::string& missing, node::StreamEnds)> vanished;
    std::function<void(base::JobId, const std::string& trouble)> trouble;  // the spool's disk
  };

  // `output_limit`: bytes of each stream that a job's folder may hold, where the job waits then; 0:
  // no limit.
  Copies(loop::Loop& loop, const Paths& paths, machine::Helpers helpers, base::Log& log,
         std::uint64_t output_limit, Callbacks callbacks);
  ~Copies();

  struct Start {  // what nobody stores
    std::vector<std::string> env;
    unsigned umask = 022;
    machine::JobInput input = machine::JobInput::kNothing;
  };
  void launch(const node::JobSpec& spec, base::Epoch epoch, Start how,
              std::function<void(base::Result<machine::ProcessName>)> done);
  // After a restart: finds the newest copy born at or before `epoch`. Without one: `ended` follows,
  // with the stored exit status, or as killed.
  void attend(const node::JobSpec& spec, base::Epoch epoch, const std::string& missing = {});
  // A released arrival (its cgroup is thawed) becomes the settled copy and gets a keeper.
  void settle(const base::JobId& job, base::Epoch epoch, Done done);

  void freeze(const base::JobId& job, std::function<void(base::Result<node::StreamEnds>)> done);
  // Of the original that handover `handover` froze, or did not. False: it is gone, and certainly
  // was gone before it ran on.
  void thaw(const base::JobId& job, base::Epoch handover,
            std::function<void(base::Result<bool> ran)> done);
  // The same without a handover: whatever stopped it, it goes on. Ok if there is no copy.
  void run_again(const base::JobId& job, Done done);
  // Whatever copies were born at or before `newest`, attended or not, seen empty; no `ended`.
  void kill(const base::JobId& job, base::Epoch newest, Done done);
  void signal(const base::JobId& job, int signal_number, Done done);  // passed on to main's group
  // but SIGPIPE: nobody reads its standard output any more, so it gets that by itself at its next
  // write
  // No more CPU time than that (machine/cpu_limit.h); 0: no limit. Of a frozen copy it is in force
  // once it runs on.
  void limit(const base::JobId& job, std::int64_t limit_micros, Done done);
  // By the owner's policy it stands still, or not any more; also over a restart. Its output is
  // taken in all the while, and what stops it otherwise is not touched. SIGKILL ends it all the
  // same, other signals reach it when it goes on.
  void pause(const base::JobId& job, bool on, Done done);
  // Whether the job's processes are there, frozen or not; after what is under way.
  void check(const base::JobId& job, base::Epoch newest,
             std::function<void(base::Result<bool> present)> done);
  // Removes its folder, after what was asked for before. Nothing is done while a copy is here that
  // runs; of one that is on its way out the folder goes with it.
  void forget(const base::JobId& job);
  void in_folder(const base::JobId& job, Work work, Done done);
  [[nodiscard]] const CopyView* find(const base::JobId& job) const;
  [[nodiscard]] std::vector<CopyView> all() const;

  // Spools. Offsets are of the whole stream; `read` gives where its bytes begin (behind `offset`
  // where that was trimmed), fewer bytes at the end, none past it, and where both streams end.
  void read(const base::JobId& job, int stream, std::uint64_t offset, std::size_t size_max,
            std::function<void(std::uint64_t begin, base::Bytes, node::StreamEnds)> done);
  // `end`: how much of that stream is on the disk now, whatever became of these bytes; none where
  // that cannot be known. kFull: at the limit.
  void append_home(const base::JobId& job, int stream, std::uint64_t offset, base::Bytes bytes,
                   std::function<void(base::Status, std::optional<std::uint64_t> end)> done);
  // job_folder::trim(), off the loop.
  void trim(const base::JobId& job, int stream, std::uint64_t floor, std::uint64_t limit,
            std::function<void(base::Result<std::uint64_t> first)> done);
  // For a log line: what is under way with the job's copy, its keeper and its folder.
  [[nodiscard]] std::string describe(const base::JobId& job) const;
  [[nodiscard]] std::uint64_t silent_keepers() const { return silent_keepers_; }
  // What the timer does every kKeeperAsk, at `now`.
  void look_after(base::Time now);
  [[nodiscard]] std::shared_ptr<InitRoots> roots() const { return roots_; }
  // The inits of jobs that were started here; of the others we are not the parent.
  [[nodiscard]] std::shared_ptr<machine::Children> children() const { return children_; }

 private:
  struct Copy;
  struct Found;
  // `what` for the log; a literal.
  void enqueue(const std::shared_ptr<Copy>& copy, const char* what, Work work, Done done);
  void run_next(const std::shared_ptr<Copy>& copy);
  void off_loop(Work work, Done done);
  void next_in_folder(const base::JobId& job);
  void look_for(const std::shared_ptr<Copy>& copy, base::Epoch newest);
  void settle_fresh(const base::JobId& job, base::Epoch epoch, Done done);
  void resume(const std::shared_ptr<Copy>& copy, Done done);
  [[nodiscard]] static base::Status run_on(Copy& copy);
  void connect_keeper(const std::shared_ptr<Copy>& copy);
  void on_keeper(const std::shared_ptr<Copy>& copy);
  void ask_keeper(const std::shared_ptr<Copy>& copy, base::Time now);
  void renew_keeper(const std::shared_ptr<Copy>& copy, base::Time now);
  void tell_trouble(Copy& copy, const init::Message& said);
  void keeper_lost(const std::shared_ptr<Copy>& copy);
  void replace_keeper(const std::shared_ptr<Copy>& copy);
  void end(const std::shared_ptr<Copy>& copy, std::int32_t wait_status, node::StreamEnds ends);
  void leave(const std::shared_ptr<Copy>& copy, std::function<void()> tell);
  void watch_keeper(const std::shared_ptr<Copy>& copy);
  static void take(Copy& copy, Found& found);
  static void read_end(const std::string& dir, Found& found);
  void ended_unseen(const std::shared_ptr<Copy>& copy, const Found& found);
  [[nodiscard]] machine::KeeperSpec keeper_spec(const std::string& dir, const Found& found) const;
  [[nodiscard]] base::Status open_copy(const std::string& dir, const base::JobId& job,
                                       base::Epoch born, Found& found) const;
  [[nodiscard]] std::shared_ptr<Copy> get(const base::JobId& job) const;

  loop::Loop& loop_;
  const Paths& paths_;
  machine::Helpers helpers_;
  base::Log& log_;
  std::uint64_t output_limit_;
  Callbacks callbacks_;
  std::optional<machine::Cgroup> keepers_;
  std::map<base::JobId, std::shared_ptr<Copy>> copies_;
  struct Folder {
    std::deque<std::pair<Work, Done>> queue;  // the first is under way
    base::Time began{};
  };
  std::map<base::JobId, Folder> in_folders_;
  std::uint64_t silent_keepers_ = 0;
  loop::Timer watch_;
  std::shared_ptr<InitRoots> roots_ =
      std::make_shared<InitRoots>();  // work off the loop has it too
  std::shared_ptr<machine::Children> children_ = std::make_shared<machine::Children>();
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
