// tern-enter: starts CRIU inside a job's capsule, to restore adopted processes there.
//
// tern-enter --init PID --start TICKS --pid N --library FILE -- PROGRAM [ARG...]
//
// The capsule is the pid, ipc and uts namespace of a tern-init that waits (init_main.cc,
// --adopted). PROGRAM becomes process N of it and leads a session there, which those become members
// of who were of a shell's; N is above or below all PIDs that it is to make, and so are those that
// it gets itself, as the namespace counts on from N. The mount namespace stays the machine's;
// PROGRAM gets the capsule's /proc as an open mount (proc_view.cc).
//
// Lives in the job's cgroup like PROGRAM, so that killing that leaves neither. Ends as PROGRAM
// does: with its status, or 128 and the signal. Takes root.
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "init/contract.h"
#include "init/job_files.h"
#include "init/sys.h"

namespace init {
namespace {

constexpr int kProcDescriptor = 200;  // at least: CRIU uses the low ones

struct EnterOptions {
  pid_t init = 0;
  std::uint64_t start = 0;
  pid_t pid = 0;
  const char* library = nullptr;
  char** command = nullptr;
};

[[noreturn]] void give_up(const char* what, int error) {
  std::fprintf(stderr, "tern-enter: %s: %s\n", what, strerror(error));
  _exit(kExitGuardFailed);
}

bool parse_option(const char* name, const char* value, EnterOptions* out) {
  std::uint64_t number = 0;
  if (std::strcmp(name, "--library") == 0) {
    out->library = value;
    return true;
  }
  if (std::strcmp(name, "--start") == 0) return parse_number(value, 10, UINT64_MAX, &out->start);
  if (!parse_number(value, 10, INT32_MAX, &number)) return false;
  if (std::strcmp(name, "--init") == 0) {
    out->init = static_cast<pid_t>(number);
  } else if (std::strcmp(name, "--pid") == 0) {
    out->pid = static_cast<pid_t>(number);
  } else {
    return false;
  }
  return true;
}

bool parse_options(char** argv, EnterOptions* out) {
  if (*argv == nullptr) return false;
  for (++argv; *argv != nullptr && std::strcmp(*argv, "--") != 0; argv += 2) {
    if (argv[1] == nullptr || !parse_option(argv[0], argv[1], out)) return false;
  }
  if (*argv == nullptr || argv[1] == nullptr) return false;
  out->command = argv + 1;
  return out->init > 1 && out->start != 0 && out->pid > 1 && out->library != nullptr;
}

// Of the PID namespace that we are in.
int open_proc() {
  const auto context = static_cast<int>(syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC));
  if (context < 0) give_up("open a /proc", errno);
  if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    give_up("make a /proc", errno);
  }
  const auto mount = static_cast<int>(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0));
  const int high = mount < 0 ? -1 : fcntl(mount, F_DUPFD, kProcDescriptor);
  if (high < 0) give_up("open a /proc", errno);
  return high;
}

// Where the system has no such file, the namespace counts on from its first PIDs; then a PID that
// is taken fails the restore, without harm.
void count_on(pid_t from) {
  const int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
  char text[16];
  const int size = std::snprintf(text, sizeof text, "%d", from);
  if (fd >= 0) (void)write_all(fd, text, static_cast<std::size_t>(size));
}

[[noreturn]] void run_criu(const EnterOptions& options) {
  char number[16];
  std::snprintf(number, sizeof number, "%d", open_proc());
  setsid();
  count_on(options.pid);
  setenv("TERN_PROC", number, 1);
  setenv("LD_PRELOAD", options.library, 1);
  execv(options.command[0], options.command);
  give_up(options.command[0], errno);
}

pid_t start_criu(const EnterOptions& options) {
  const pid_t wanted = options.pid;
  clone_args args = {};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&wanted);
  args.set_tid_size = 1;  // of the capsule alone
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) give_up("start CRIU in the capsule", errno);
  if (pid == 0) run_criu(options);
  return static_cast<pid_t>(pid);
}

}  // namespace
}  // namespace init

int main(int, char** argv) {
  init::EnterOptions options;
  if (!init::parse_options(argv, &options)) init::give_up("wrong arguments", EINVAL);
  const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, options.init, 0));
  if (pidfd < 0) init::give_up("find the capsule", errno);
  // After the pidfd: it is this process's, or nobody's.
  if (init::start_of(options.init) != options.start) init::give_up("find the capsule", ESRCH);
  if (setns(pidfd, CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    init::give_up("enter the capsule", errno);
  }
  close(pidfd);
  const pid_t criu = init::start_criu(options);
  int status = 0;
  if (init::retry([&] { return waitpid(criu, &status, 0); }) < 0) {
    init::give_up("wait for CRIU", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : init::kExitSignalled + WTERMSIG(status);
}
