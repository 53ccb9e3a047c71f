// Puts jobs of this machine to rest on its disk, and wakes them: an affair of this machine alone,
// exactly once, whatever is killed when (the folder's files say it all: park_file.h).
//
//   park   preflight, free space -> `.part` -> frozen -> dumped into it -> renamed, on the disk
//          [from here on the job is parked] -> its processes killed -> reported
//          \__ any failure before: thawed, `.part` removed, it runs on
//   wake   the whole file read and checked -> restored (or launched), held -> `woken` on the disk
//          [from here on it may run] -> let go -> keeper -> file removed -> reported
//          \__ any failure before: the held copy killed, it stays parked
//
// After a restart attend() finds out which of the two it was, and ends what was begun. Orders for a
// job that is busy here fail. Everything is reported once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "daemon/copies.h"
#include "daemon/paths.h"
#include "daemon/preflight_desk.h"
#include "loop/handles.h"
#include "machine/helpers.h"
#include "node/event.h"
#include "node/park_manifest.h"

namespace ternd {

class ParkDesk {
 public:
  struct Callbacks {
    std::function<void(node::Rested)> report;
    // The metadata's description, as it is now; none when the job is gone.
    std::function<std::optional<node::MoveMetadata>(const base::JobId&)> describe;
    std::function<std::uint64_t()> memory_available;  // bytes
    // It has one that is not over, which decides whether it runs.
    std::function<bool(const base::JobId&)> in_handover;
    // A parked job was removed.
    std::function<void(const base::JobId&, std::int32_t wait_status, node::StreamEnds)> ended;
  };
  ParkDesk(loop::Loop& loop, const Paths& paths, const machine::Helpers& helpers, Copies& copies,
           PreflightDesk& preflight, base::Log& log, Callbacks callbacks);
  ~ParkDesk();

  void park(const node::jobs::Park& order);
  void wake(const node::jobs::Wake& order);
  void remove(const node::jobs::Remove& order);
  // After a restart, instead of Copies::attend(), which it calls where the job is not parked.
  void attend(const node::JobSpec& spec, base::Epoch epoch);
  // For a handover of a parked job, by what the disk says of epochs up to `newest`.
  struct Parked {
    node::ParkManifest manifest;
    std::string file;
  };
  void find(const base::JobId& job, base::Epoch newest,
            std::function<void(base::Result<std::optional<Parked>>)> then);
  void collect(const balance::CollectRequirement& order, PreflightDesk::Report report);
  // A job that was never started begins to wait, before the node hears of it: durable when told.
  void queue(const node::JobSpec& spec, const node::LaunchPlan& plan,
             std::function<void(base::Result<node::jobs::ParkedFacts>)> then);
  // What parking would meet, for a dry run.
  void look(const base::JobId& job, bool tcp_close, PreflightDesk::Then then);
  // The daemon ends: parks that are not committed are given up, and none begins.
  void withdraw();
  [[nodiscard]] std::vector<base::JobId> parking() const;  // they may stand still
  // A park or a wake of it is under way.
  [[nodiscard]] bool has(const base::JobId& job) const { return tasks_.count(job) != 0; }
  [[nodiscard]] std::size_t busy() const { return tasks_.size(); }

 private:
  struct Task;
  using Handle = std::shared_ptr<Task>;
  void off_loop(const Handle& task, std::function<base::Status()> work,
                std::function<void(const base::Status&)> done);
  void again(const Handle& task, std::function<void()> what);  // a second later
  void phase(Task& task, const char* name);                    // ends it
  void over(const Handle& task);
  [[nodiscard]] Handle begin(const base::JobId& job, base::Epoch epoch);  // null: it is busy
  // park
  void freeze(const Handle& task);
  void dump(const Handle& task, const base::Result<node::StreamEnds>& ends);
  void take(const Handle& task, std::function<base::Status()> piece, std::size_t size);
  void write(const Handle& task);
  void dumped(const Handle& task, const base::Status& status);
  void commit(const Handle& task);
  void settle(const Handle& task);
  void end_processes(const Handle& task);
  void give_up(const Handle& task, const std::string& reason, bool refused = false);
  void run_on(const Handle& task);
  // wake
  void load(const Handle& task);
  void restore(const Handle& task);
  void held(const Handle& task);
  void mark(const Handle& task);
  void let_go(const Handle& task);
  void clean(const Handle& task);
  void stay(const Handle& task, const std::string& reason);
  void resume_wake(const Handle& task, const node::JobSpec& spec, base::Epoch epoch);
  // a restart
  void found_parked(const Handle& task, base::Epoch epoch);
  void end_part(const Handle& task);
  void refuse_busy(const base::JobId& job, bool wakes);

  loop::Loop& loop_;
  const Paths& paths_;
  const machine::Helpers& helpers_;
  Copies& copies_;
  PreflightDesk& preflight_;
  base::Log& log_;
  Callbacks callbacks_;
  std::map<base::JobId, Handle> tasks_;
  std::uint64_t runs_ = 0;
  bool withdrawing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
