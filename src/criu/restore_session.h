// `criu restore` inside the copy's cgroup, its images served from an ImageSource, the copy held
// before its first instruction (ARCHITECTURE.md, handover).
//
//   serving --(CRIU exits 0)--> freezing --(frozen, every task still stopped)--> HELD: done(copy)
//      | failure, deadline, cancel()  | failure, a task that is not stopped
//      v                              v
//   discarding: cgroup.kill, wait until empty, rmdir --> done(error)
//
// Rules
//  - The copy is born in its cgroup, stopped. Stop alone does not hold: any SIGCONT wakes it. So it
//    is frozen, and then every task must still be stopped, or about to be, or somebody woke it in
//    between and the copy is killed. Frozen tasks that are signalled run nothing in user space.
//  - After `done(error)` nothing of the copy is left, its cgroup included.
//  - Destroying the session before HELD kills and removes (in the loop, at most kGonePatience).
//    Destroying it after HELD leaves the copy held: nobody destroys on silence. release_copy() and
//    discard_copy() need only the cgroup, so that a restarted daemon can end what it finds;
//    check_copy_held() tells whether it is still held.
//  - SIGPIPE is set to be ignored if it was at its default: pipes know no MSG_NOSIGNAL.
//  - One thread, the loop's. `done` comes once, never from within start() or cancel().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "machine/process_name.h"

struct uv_loop_s;

namespace criu {

// Where images come from. CRIU asks for the inventory first and for pages last, reads each image
// once and in order, and asks for about a dozen that do not exist. So everything must be there
// before the restore begins (CRIU's dump makes the inventory last), and what is served can go.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  [[nodiscard]] virtual bool exists(std::string_view name) = 0;
  // False: what comes next is being fetched; `then` is called on the loop, not from within, when it
  // is there. peek() is for what is ready.
  [[nodiscard]] virtual bool ready(std::string_view /*name*/, std::function<void()> /*then*/) {
    return true;
  }
  // The next bytes of an image that exists, as many as lie together; empty at its end. Valid until
  // the next call for the same image.
  [[nodiscard]] virtual base::ByteView peek(std::string_view name) = 0;
  virtual void consume(std::string_view name, std::size_t count) = 0;  // count <= peek().size()
};

// Processes that were dumped in the machine's own PID namespace are restored into that of a
// tern-init (JobSpec::adopted) that stands stopped in the copy's cgroup, and become its children.
struct Capsule {
  std::string enter;    // tern-enter (machine/helpers.h)
  std::string library;  // tern-procview
  machine::ProcessName init;
  pid_t criu_pid = 0;      // that CRIU gets within; it and some hundred above it are to be free
  bool shell_job = false;  // as it was dumped (DumpSpec)
};

struct RestoreSpec {
  std::string program;     // CRIU (criu/program.h)
  std::string owner;       // the node's cgroup name, for the work folder (criu/work_dir.h)
  std::string job_cgroup;  // made by the session: job-<jobid>-e<epoch>
  base::Duration deadline = std::chrono::minutes(5);  // of CRIU's run
  std::optional<Capsule> capsule = std::nullopt;      // then the cgroup is there
};

struct HeldCopy {
  machine::ProcessName init;  // the job's, in our PID namespace
  std::uint64_t bytes = 0;    // images served
  base::Duration elapsed{};   // start() to held
};

class RestoreSession {
 public:
  using Done = std::function<void(base::Result<HeldCopy>)>;
  // `images` must live until `done` or the session's destruction. kExists: the cgroup is there.
  [[nodiscard]] static base::Result<std::unique_ptr<RestoreSession>> start(uv_loop_s* loop,
                                                                           RestoreSpec spec,
                                                                           ImageSource& images,
                                                                           Done done);
  ~RestoreSession();
  void cancel();                                            // before HELD only, later ignored
  [[nodiscard]] const std::string& original_error() const;  // CRIU's lines, within `done`
  [[nodiscard]] int criu_pid() const;                       // for tests; only while serving

 private:
  struct Impl;
  explicit RestoreSession(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// An operation under way on a held copy. Destroying it ends the waiting, not what was begun.
class CopyTask {
 public:
  using Done = std::function<void(base::Status)>;
  virtual ~CopyTask() = default;
};

// Lets a held copy go: SIGCONT to every process but those that were stopped when they were dumped
// (`stopped`: their PIDs in the job's own namespace), then thaw. `done`: all thawed. Once begun
// there is no way back. Repeating it is harmless.
[[nodiscard]] std::unique_ptr<CopyTask> release_copy(uv_loop_s* loop, const std::string& job_cgroup,
                                                     std::vector<pid_t> stopped,
                                                     CopyTask::Done done);
// Kills everything in the cgroup, waits until it is empty, removes it. Harmless if it is gone.
[[nodiscard]] std::unique_ptr<CopyTask> discard_copy(uv_loop_s* loop, const std::string& job_cgroup,
                                                     CopyTask::Done done);
// Ok when the cgroup is frozen and no task of it can have run: each is stopped (T), dead, or has
// its SIGSTOP still pending. The last is common: CRIU sends SIGSTOP and detaches, and the kernel
// serves the freezer before it takes signals (kernel/signal.c, get_signal), so a task that was
// overtaken is frozen on its way to the stop. SIGCONT would have removed that SIGSTOP. kRefused: a
// task is neither; kNotFound: nothing is left.
base::Status check_copy_held(const std::string& job_cgroup);

}  // namespace criu
