// One CRIU process: started inside a cgroup, watched, and seen gone.
//
//   start -> running -> exited -> (own cgroup: killed, seen empty, removed) -> done
//              | kill()
//              v
//           cgroup.kill -> exited ...
//
// Rules
//  - CRIU is born in its cgroup (machine/spawn.h), so that no moment exists in which
//    killing the cgroup misses it. The cgroup is the protection, not a death signal: CRIU forks.
//  - A cgroup of its own is created by start() and removed at the end, whatever the end is. A run
//    in a job's cgroup (restore) leaves that to its session.
//  - `done` comes once, never from within start() or kill(), and only when nothing of CRIU is left
//    (own cgroup), or says why something is.
//  - Destroying a Run kills it; the rest (reaping, cgroup, work folder) goes on in the loop, which
//    stays alive for it, at most as long as kill() takes. `done` does not come then.
//  - After kill() the end comes, or is said not to have come, within the guard's patience, if there
//    is one, and twice kGonePatience.
//  - With a guard (src/init/guard_main.cc), it starts CRIU, and its end stands for CRIU's: nothing
//    of the run is over before the guard has repaired what a killed CRIU left in the job. It lives
//    in guard_cgroup_of(), a group of its own. kill() kills that too while the job is not recorded
//    yet, and after the guard's patience. If it is killed by others, CRIU goes on and is left to
//    end; what became of it is then not known, and the run has failed.
//  - Standard input is /dev/null, output goes to a file in the work folder, the environment is PATH
//    and LC_ALL only: CRIU_CONFIG_FILE and the like cannot change what runs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "criu/work_dir.h"
#include "machine/spawn.h"

struct uv_loop_s;

namespace criu {

// How long killed processes may take to be gone. Longer means stuck in the kernel.
inline constexpr base::Duration kGonePatience = std::chrono::seconds(10);
// More than a guard grants itself for all that it does.
inline constexpr base::Duration kGuardPatience = std::chrono::seconds(60);
// A CRIU without its guard ends by itself; until then only kill() ends it.
inline constexpr base::Duration kOrphanPatience = std::chrono::hours(1);

// Where the guard of the run in `cgroup` lives: guard-<name> beside it.
[[nodiscard]] std::string guard_cgroup_of(const std::string& cgroup);

struct RunGuard {
  std::string program;  // tern-guard
  std::string library;  // tern-gentle
  std::string job_cgroup;
  base::Duration patience = kGuardPatience;  // after kill(), then as long again at most
};

struct RunSpec {
  std::string program;
  std::vector<std::string> arguments;  // without argv[0]; -D, -o and --no-default-config are added
  std::string cgroup;                  // absolute path of a cgroup v2 folder
  bool own_cgroup = true;              // created and removed by the run; else it must exist
  std::optional<machine::SpawnUser> user;  // none: as we run
  std::optional<RunGuard> guard;           // takes a cgroup of its own
};

struct RunResult {
  bool clean_exit = false;  // exit status 0, not killed, nothing left over
  bool killed = false;      // by kill() or a deadline
  // What went wrong, as a plain sentence with CRIU's words; meaningless after a clean exit.
  base::Error error{base::Code::kIo, {}};
  std::string original;  // CRIU's own error lines
  // What the guard has to say, one line each (init/contract.h); empty as a rule.
  std::string guard_note;
};

class Run {
 public:
  using Done = std::function<void(const RunResult&, const WorkDir&)>;
  // The folder is the run's from here on; it is gone when `done` returns.
  [[nodiscard]] static base::Result<std::unique_ptr<Run>> start(uv_loop_s* loop, RunSpec spec,
                                                                WorkDir dir, Done done);
  ~Run();
  void kill();  // idempotent
  // Only in state running: CRIU's process, 0 if it is gone.
  [[nodiscard]] int pid() const;

 private:
  struct Impl;
  explicit Run(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace criu
