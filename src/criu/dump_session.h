// `criu dump`, its images taken from CRIU's pipes as they are made (ARCHITECTURE.md, handover).
//
//   running --(CRIU done, every pipe drained, its cgroup empty)--> checking frozen --> done(stats)
//      | failure, deadline or cancel()
//      v
//   ending (pipes broken; after 3 s CRIU's cgroup is killed) --> done(error)
//
// Rules
//  - The caller has frozen the job's cgroup and paused its keeper before, and keeps both so: CRIU
//    splices live pages, so a job that runs before the pipes are drained would corrupt its own
//    images. That is why `done` waits for all three.
//  - After success the job is frozen; that is checked, not assumed. After failure CRIU is dead but
//    the job may be thawed already: CRIU lifts the freezer while it holds the tasks, and one killed
//    in between cannot put it back. Nothing of a failed dump may be used; thaw the job.
//  - One thread, the loop's. Callbacks may pause, cancel or destroy the session. `done` comes once,
//    never from within start() or cancel(), and is the last callback.
//  - CRIU is first made to fail, by breaking its pipes, and killed only if it does not end. Killed
//    while its code runs inside the job it would leave the job damaged: that is what the guard is
//    for, and why `done` waits for the guard too.
//  - Destroying the session ends CRIU the same way; the rest goes on in the loop (criu/run.h).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

struct uv_loop_s;

namespace criu {

struct DumpSpec {
  std::string program;  // CRIU (criu/program.h)
  std::string owner;    // the node's cgroup name, for the work folder (criu/work_dir.h)
  int pid = 0;          // host PID of the job's init
  std::string job_cgroup;
  std::string run_cgroup;  // made by the session, gone when done: criu-<jobid>-e<epoch>-<n>
  std::string guard;       // tern-guard (machine/helpers.h); empty: without
  std::string gentle;      // tern-gentle, if there is a guard
  // The job's user. Root that lacks CAP_SYS_RESOURCE, as in containers, may not read the limits of
  // another user's processes (prlimit(2)): then CRIU runs as that user, with what else it needs.
  uid_t uid = 0;
  gid_t gid = 0;
  // Connections are left out, also those that wait to be accepted; the copy finds them closed. The
  // original keeps them: nothing is done to them here.
  bool tcp_close = false;
  // Its session or process group is led by somebody outside, as those of a shell's jobs are.
  bool shell_job = false;
  // Of the whole dump, pauses included; a consumer that stalls longer fails it.
  base::Duration deadline = std::chrono::minutes(10);
  std::uint64_t ghost_limit_bytes = 64ULL << 20;  // deleted files, each, that travel in the images
};

struct DumpStats {
  std::uint64_t images = 0;
  std::uint64_t bytes = 0;
  base::Duration elapsed{};  // start() to done
};

struct DumpCallbacks {
  // Images are numbered from 0 in CRIU's order; several are open at once, so their data interleave.
  std::function<void(std::uint32_t index, const std::string& name)> image;
  std::function<void(std::uint32_t index, base::ByteView data)> data;  // 1 to kPieceSize bytes
  std::function<void(std::uint32_t index)> image_end;
  std::function<void(base::Result<DumpStats>)> done;
};

class DumpSession {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<DumpSession>> start(uv_loop_s* loop,
                                                                        DumpSpec spec,
                                                                        DumpCallbacks callbacks);
  ~DumpSession();
  // Back-pressure: while paused no `data` and no `image_end` comes (from the next piece on), and
  // CRIU blocks on its full pipes.
  void pause();
  void resume();
  void cancel();  // done(error) follows once CRIU is gone
  // CRIU's own error lines of a failed dump; valid within `done`.
  [[nodiscard]] const std::string& original_error() const;
  // What CRIU's guard had to say, init::kNote...; empty as a rule; valid within `done`.
  [[nodiscard]] const std::string& guard_note() const;
  [[nodiscard]] int criu_pid() const;  // for tests; only while running

 private:
  struct Impl;
  explicit DumpSession(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace criu
