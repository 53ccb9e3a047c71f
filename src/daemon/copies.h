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
// Operations on one copy are done one after another, off the loop; their callbacks come on the loop
// and never from within the call. A keeper that dies is replaced. Everything is idempotent.
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
#include "machine/keeper_client.h"
#include "machine/process_name.h"
#include "node/job_wire.h"

namespace ternd {

struct CopyView {  // for the sampler, `tern ps` and handovers
  base::JobId job;
  base::Epoch born;
  std::string cgroup;
  machine::ProcessName init;
  std::string init_root;  // empty: the job cannot be checkpointed
  bool frozen = false;
  bool ended = false;
  node::StreamEnds bases{};  // where the output begins that is stored here
};

class Copies {
 public:
  using Done = std::function<void(base::Status)>;
  using Work = std::function<base::Status()>;
  struct Callbacks {
    std::function<void(base::JobId, node::StreamEnds bases, node::StreamEnds ends)> grew;
    // The copy is gone for good and its output complete.
    std::function<void(base::JobId, std::int32_t wait_status, node::StreamEnds)> ended;
    std::function<void(base::JobId, const std::string& trouble)> trouble;  // the spool's disk
  };

  Copies(loop::Loop& loop, const Paths& paths, machine::Helpers helpers, base::Log& log,
         Callbacks callbacks);
  ~Copies();

  void launch(const node::JobSpec& spec, base::Epoch epoch, std::vector<std::string> env,
              unsigned umask, std::function<void(base::Result<machine::ProcessName>)> done);
  // After a restart: finds the newest copy born at or before `epoch`. Without one: `ended` follows,
  // with the stored exit status, or as killed.
  void attend(const node::JobSpec& spec, base::Epoch epoch);
  // A released arrival (its cgroup is thawed) becomes the settled copy and gets a keeper.
  void settle(const base::JobId& job, base::Epoch epoch, Done done);

  void freeze(const base::JobId& job, std::function<void(base::Result<node::StreamEnds>)> done);
  // Of the original that handover `handover` froze, or did not. False: it is gone, and certainly
  // was gone before it ran on.
  void thaw(const base::JobId& job, base::Epoch handover,
            std::function<void(base::Result<bool> ran)> done);
  // Whatever copies were born at or before `newest`, attended or not, seen empty; no `ended`.
  void kill(const base::JobId& job, base::Epoch newest, Done done);
  void signal(const base::JobId& job, int signal_number, Done done);  // passed on to main's group
  // Whether the job's processes are there, frozen or not; after what is under way.
  void check(const base::JobId& job, base::Epoch newest,
             std::function<void(base::Result<bool> present)> done);
  // Removes its folder, after what was asked for before. Nothing is done while a copy is here that
  // runs; of one that is on its way out the folder goes with it.
  void forget(const base::JobId& job);
  void in_folder(const base::JobId& job, Work work, Done done);
  [[nodiscard]] const CopyView* find(const base::JobId& job) const;
  [[nodiscard]] std::vector<CopyView> all() const;

  // Spools. Offsets are of the whole stream; `read` gives fewer bytes at the end, none past it, and
  // where both streams end.
  void read(const base::JobId& job, int stream, std::uint64_t offset, std::size_t size_max,
            std::function<void(base::Bytes, node::StreamEnds)> done);
  // `end`: how much of that stream is on the disk now, whatever became of these bytes; none where
  // that cannot be known.
  void append_home(const base::JobId& job, int stream, std::uint64_t offset, base::Bytes bytes,
                   std::function<void(base::Status, std::optional<std::uint64_t> end)> done);
  [[nodiscard]] std::shared_ptr<InitRoots> roots() const { return roots_; }

 private:
  struct Copy;
  struct Found;
  void enqueue(const std::shared_ptr<Copy>& copy, Work work, Done done);
  void run_next(const std::shared_ptr<Copy>& copy);
  void off_loop(Work work, Done done);
  void next_in_folder(const base::JobId& job);
  void look_for(const std::shared_ptr<Copy>& copy, base::Epoch newest);
  void settle_fresh(const base::JobId& job, base::Epoch epoch, Done done);
  void resume(const std::shared_ptr<Copy>& copy, Done done);
  [[nodiscard]] static base::Status run_on(Copy& copy);
  void connect_keeper(const std::shared_ptr<Copy>& copy);
  void on_keeper(const std::shared_ptr<Copy>& copy);
  void keeper_lost(const std::shared_ptr<Copy>& copy);
  void replace_keeper(const std::shared_ptr<Copy>& copy);
  void end(const std::shared_ptr<Copy>& copy, std::int32_t wait_status, node::StreamEnds ends);
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
  Callbacks callbacks_;
  std::optional<machine::Cgroup> keepers_;
  std::map<base::JobId, std::shared_ptr<Copy>> copies_;
  std::map<base::JobId, std::deque<std::pair<Work, Done>>> in_folders_;  // the first is under way
  std::shared_ptr<InitRoots> roots_ =
      std::make_shared<InitRoots>();  // work off the loop has it too
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
