#include "machine/preflight_tasks.h"

#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "machine/fd.h"

namespace machine {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kBorrowedAgain{5};
constexpr std::size_t kTimersSizeMax = 4 << 20;

bool same(pid_t one, pid_t other, int what) {
  return ::syscall(SYS_kcmp, one, other, what, 0, 0) == 0;
}

// A zombie has neither memory nor a folder, so two of them compare as equal.
bool has_memory(pid_t pid) {
  char byte = 0;
  return ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), &byte, 1) > 0;
}

}  // namespace

bool may_read_limits() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return false;
  return (sets[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE)) != 0;
}

std::string other_user(const probe::ProcessStatus& job, const probe::ProcessStatus& process) {
  if (job.uids == process.uids && job.gids == process.gids) return {};
  if (may_read_limits()) return {};
  return "runs as another user or group than the job, and tern may not read its limits "
         "(CAP_SYS_RESOURCE is missing, as in containers); have all of the job run as one user";
}

std::string shared_with_parent(pid_t pid, pid_t parent, milliseconds& patience) {
  const auto began = std::chrono::steady_clock::now();
  milliseconds left = patience;
  const auto wait = [&] {
    std::this_thread::sleep_for(std::min(kBorrowedAgain, left));
    const auto waited = std::chrono::steady_clock::now() - began;
    left = std::max(patience - std::chrono::duration_cast<milliseconds>(waited), milliseconds(0));
  };
  bool memory = same(pid, parent, KCMP_VM);
  for (; memory && left > milliseconds(0); memory = same(pid, parent, KCMP_VM)) wait();
  patience = left;
  const bool folder = !memory && same(pid, parent, KCMP_FS);
  if ((!memory && !folder) || !has_memory(pid)) return {};
  if (folder) {
    return "shares its working folder with its parent (clone with CLONE_FS), which cannot move; "
           "have it not do so";
  }
  return "shares its memory with its parent, as between vfork and exec, which cannot move; try "
         "again when it runs a program of its own";
}

std::string timer_obstacle(pid_t pid) {
  const std::string number = std::to_string(pid);
  auto timers = read_small_file("/proc/" + number + "/timers", kTimersSizeMax);
  // "notify: signal/tid.7"
  if (!timers || timers->find("/tid." + number + "\n") == std::string::npos) return {};
  return "has a timer that signals its first thread alone (timer_create with SIGEV_THREAD_ID), "
         "which cannot move; one that signals the process, or another thread, can";
}

}  // namespace machine
