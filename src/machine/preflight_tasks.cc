#include "machine/preflight_tasks.h"

#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace machine {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kBorrowedMax{1000};  // between vfork(2) and exec, on a busy machine
constexpr milliseconds kBorrowedAgain{5};

bool same(pid_t one, pid_t other, int what) {
  return ::syscall(SYS_kcmp, one, other, what, 0, 0) == 0;
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

std::string shared_with_parent(pid_t pid, pid_t parent) {
  const auto until = std::chrono::steady_clock::now() + kBorrowedMax;
  while (same(pid, parent, KCMP_VM)) {
    if (std::chrono::steady_clock::now() >= until) {
      return "shares its memory with its parent, as between vfork and exec, which cannot move; try "
             "again when it runs a program of its own";
    }
    std::this_thread::sleep_for(kBorrowedAgain);
  }
  if (!same(pid, parent, KCMP_FS)) return {};
  return "shares its working folder with its parent (clone with CLONE_FS), which cannot move; "
         "have it not do so";
}

}  // namespace machine
