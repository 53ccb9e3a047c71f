// The parts of criu/restore_session.h that need only the copy's cgroup.
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "criu/cgroup_wait.h"
#include "criu/restore_session.h"
#include "criu/run.h"
#include "machine/cgroup.h"
#include "machine/process_name.h"
#include "probe/proc_parse.h"

namespace criu {
namespace {

struct WaitingTask : CopyTask {
  CgroupWait wait;
};

// The PID in the process's own PID namespace; 0 if it is gone.
pid_t inner_pid(pid_t pid) {
  auto text = machine::read_small_file("/proc/" + std::to_string(pid) + "/status", 64 << 10);
  if (!text) return 0;
  auto status = probe::parse_process_status(*text);
  if (!status || status->ns_pids.empty()) return 0;
  return static_cast<pid_t>(status->ns_pids.back());
}

constexpr std::uint64_t kSigstopBit = 1ULL << (SIGSTOP - 1);

// The signals pending for a task and its process (SigPnd, ShdPnd of /proc/TASK/status).
bool stop_pending(pid_t task) {
  auto text = machine::read_small_file("/proc/" + std::to_string(task) + "/status", 64 << 10);
  if (!text) return false;
  for (const std::string_view key : {"\nSigPnd:\t", "\nShdPnd:\t"}) {
    const std::size_t at = text->find(key);
    if (at == std::string::npos) continue;
    std::uint64_t mask = 0;
    const char* begin = text->data() + at + key.size();
    std::from_chars(begin, text->data() + text->size(), mask, 16);
    if ((mask & kSigstopBit) != 0) return true;
  }
  return false;
}

// All are stopped and frozen, so none can end and its PID be somebody else's, except by SIGKILL.
base::Status wake_all(const std::string& job_cgroup, const std::vector<pid_t>& stopped) {
  auto cgroup = machine::Cgroup::open(job_cgroup);
  if (!cgroup) return cgroup.error();
  auto pids = cgroup->processes();
  if (!pids) return pids.error();
  for (const pid_t pid : *pids) {
    const bool stays = !stopped.empty() &&
                       std::find(stopped.begin(), stopped.end(), inner_pid(pid)) != stopped.end();
    if (!stays && ::kill(pid, SIGCONT) != 0 && errno != ESRCH) {
      return machine::io_error("continue process " + std::to_string(pid));
    }
  }
  return {};
}

}  // namespace

base::Status check_copy_held(const std::string& job_cgroup) {
  auto cgroup = machine::Cgroup::open(job_cgroup);
  if (!cgroup) return cgroup.error();
  auto events = cgroup->events();
  if (!events) return events.error();
  if (!events->frozen) return base::fail(base::Code::kRefused, "the copy is not frozen");
  auto tasks = cgroup->threads();
  if (!tasks) return tasks.error();
  if (tasks->empty()) return base::fail(base::Code::kNotFound, "nothing of the copy is left");
  for (const pid_t task : *tasks) {
    auto stat = machine::task_state(task);
    if (!stat) continue;  // it died: SIGKILL works on frozen tasks too
    const bool dead = stat->state == 'Z' || stat->state == 'X';
    if (stat->state == 'T' || dead || stop_pending(task)) continue;
    return base::fail(base::Code::kRefused,
                      "somebody woke the held copy (task " + std::to_string(task) + ")");
  }
  return {};
}

std::unique_ptr<CopyTask> release_copy(uv_loop_s* loop, const std::string& job_cgroup,
                                       std::vector<pid_t> stopped, CopyTask::Done done) {
  auto task = std::make_unique<WaitingTask>();
  // While the cgroup is frozen SIGCONT only ends the stop; nothing runs before the thaw, so that
  // no process of the copy sees another one still stopped.
  base::Status begun = wake_all(job_cgroup, stopped);
  if (begun) begun = freeze_cgroup(job_cgroup, false);
  task->wait.start(
      loop, job_cgroup, begun ? CgroupState::kThawed : CgroupState::kFrozen, kGonePatience,
      [begun, done = std::move(done)](base::Status status) { done(begun ? status : begun); });
  return task;
}

std::unique_ptr<CopyTask> discard_copy(uv_loop_s* loop, const std::string& job_cgroup,
                                       CopyTask::Done done) {
  auto task = std::make_unique<WaitingTask>();
  const base::Status sent = kill_cgroup(job_cgroup);
  task->wait.start(loop, job_cgroup, CgroupState::kEmpty, kGonePatience,
                   [sent, job_cgroup, done = std::move(done)](base::Status status) {
                     if (!status) return done(sent ? status : sent);
                     done(remove_cgroup(job_cgroup));
                   });
  return task;
}

}  // namespace criu
