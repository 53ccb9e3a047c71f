#include "machine/init_root.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <vector>

namespace machine {
namespace {

constexpr unsigned kStackedMountsMax = 16;

pid_t plain_fork() {
  clone_args args = {};
  args.exit_signal = SIGCHLD;
  return static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
}

int end_of(pid_t child) {
  int status = 0;
  if (retry([&] { return ::waitpid(child, &status, 0); }) < 0) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

// A /proc shows the namespace of who mounts it, and only a child is in a namespace that setns(2)
// named: a child's child mounts. Both are copies of a process with threads, so they make system
// calls and nothing else. Their exit code is the errno.
[[noreturn]] void enter_and_mount(int pidfd, const char* target) {
  if (::setns(pidfd, CLONE_NEWPID) != 0) ::_exit(errno);
  const pid_t inner = plain_fork();
  if (inner < 0) ::_exit(errno);
  if (inner == 0) {
    const bool mounted =
        ::mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
    ::_exit(mounted ? 0 : errno);
  }
  ::_exit(end_of(inner));
}

constexpr std::int64_t kFreshSeconds = 600;  // more than a restore takes

bool is_somebodys_root(const std::string& root) {
  struct stat folder {};
  if (::stat(root.c_str(), &folder) != 0) return false;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end;
       at.increment(error)) {
    const std::string pid = at->path().filename().string();
    if (!std::all_of(pid.begin(), pid.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    // The working folder is that of an init that is held before it starts main.
    for (const char* of : {"/root", "/cwd"}) {
      struct stat theirs {};
      if (::stat(("/proc/" + pid + of).c_str(), &theirs) != 0) continue;  // it ended
      if (theirs.st_dev == folder.st_dev && theirs.st_ino == folder.st_ino) return true;
    }
  }
  return false;
}

}  // namespace

base::Status make_init_root(const std::string& root) {
  for (const std::string& path : {root, root + "/proc"}) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return io_error("make " + path);
  }
  // Made just now, whenever it was: see remove_unused_init_roots().
  if (::utimensat(AT_FDCWD, root.c_str(), nullptr, 0) != 0) return io_error("touch " + root);
  return {};
}

base::Status show_proc(const ProcessName& init, const std::string& root) {
  if (auto hidden = hide_proc(root); !hidden) return hidden;
  auto pidfd = open_process(init);
  if (!pidfd) return pidfd.error();
  const std::string target = root + "/proc";
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler of ours may run in the child
  const pid_t child = plain_fork();
  if (child == 0) enter_and_mount(pidfd->get(), target.c_str());
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child > 0) error = end_of(child);
  return error == 0 ? base::Status() : io_error("mount the job's /proc", error);
}

base::Status hide_proc(const std::string& root) {
  const std::string target = root + "/proc";
  for (unsigned count = 0; count < kStackedMountsMax; ++count) {
    if (::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      if (errno == EINVAL || errno == ENOENT) return {};  // nothing is mounted there
      return io_error("unmount " + target);
    }
  }
  return base::fail(base::Code::kIo, "too many mounts at " + target);
}

base::Status remove_init_root(const std::string& root) {
  if (is_somebodys_root(root)) return {};
  if (auto hidden = hide_proc(root); !hidden) return hidden;
  for (const std::string& path : {root + "/proc", root}) {
    if (::rmdir(path.c_str()) != 0 && errno != ENOENT) return io_error("remove " + path);
  }
  return {};
}

namespace {

// Another node of this machine may be about to restore a job into it: a parked one has no process.
bool is_fresh(const std::string& root) {
  struct stat folder {};
  if (::stat(root.c_str(), &folder) != 0) return false;
  return ::time(nullptr) - folder.st_mtime < kFreshSeconds;
}

}  // namespace

void remove_unused_init_roots(const std::string& helpers_dir) {
  std::error_code error;
  std::vector<std::string> roots;
  for (std::filesystem::directory_iterator at(helpers_dir, error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().starts_with("root-")) roots.push_back(at->path().string());
  }
  for (const std::string& root : roots) {
    if (!is_fresh(root)) (void)remove_init_root(root).ok();  // it is in nobody's way
  }
}

}  // namespace machine
