#include "machine/preflight_tasks.h"

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
