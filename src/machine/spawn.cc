#include "machine/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>

#include "base/check.h"
#include "init/become.h"

namespace machine {
namespace {

enum class Stage : int { kFds, kDir, kUser, kExec };
struct Failure {
  Stage stage;
  int error;
};

// Everything the child needs, laid out before it exists.
struct ChildPlan {
  std::vector<char*> argv;
  std::vector<char*> env;
  const char* program;
  const char* dir;        // or null
  const SpawnUser* user;  // or null
  std::vector<PassedFd> fds;
  int report;  // CLOEXEC, at kPassedFdMax or above
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// The child's memory is a copy (no CLONE_VM), but only the calling thread came along: locks of
// others may be held for ever. Async-signal-safe calls only.
[[noreturn]] void child_fails(const ChildPlan& plan, Stage stage) {
  const Failure failure{stage, errno};
  (void)!::write(plan.report, &failure, sizeof failure);
  ::_exit(127);
}

void default_signals() {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void child_runs(const ChildPlan& plan) {
  for (const PassedFd& fd : plan.fds) {
    if (::dup2(fd.from, fd.to) < 0) child_fails(plan, Stage::kFds);  // also clears CLOEXEC
  }
  // What was not passed closes at exec, the report pipe with it.
  int next = 0;
  for (const PassedFd& fd : plan.fds) {  // ordered by `to`
    if (fd.to > next) {
      ::syscall(SYS_close_range, next, fd.to - 1, CLOSE_RANGE_CLOEXEC);
    }
    next = fd.to + 1;
  }
  if (::syscall(SYS_close_range, next, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    child_fails(plan, Stage::kFds);
  }
  if (plan.dir != nullptr && ::chdir(plan.dir) != 0) child_fails(plan, Stage::kDir);
  if (plan.user != nullptr && !init::become(*plan.user)) child_fails(plan, Stage::kUser);
  default_signals();
  ::execve(plan.program, plan.argv.data(), plan.env.data());
  child_fails(plan, Stage::kExec);
}

// Out of the way of the numbers that are to be given to the child.
base::Result<Fd> moved_up(int fd) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, kPassedFdMax));
  if (!copy.valid()) return io_error("copy a descriptor");
  return copy;
}

struct Clone {
  pid_t pid = -1;
  Fd pidfd;
};

base::Result<Clone> clone_child(const SpawnSpec& spec, const ChildPlan& plan) {
  int pidfd = -1;
  clone_args args = {};
  args.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | spec.namespaces;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (spec.cgroup != nullptr) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<std::uint64_t>(spec.cgroup->fd());
  }
  // No handler of ours may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) child_runs(plan);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    base::Error failed = io_error("start " + spec.program, error);
    if (spec.namespaces != 0 && error == EPERM) failed.code = base::Code::kUnsupported;
    return failed;
  }
  return Clone{static_cast<pid_t>(pid), Fd(pidfd)};
}

base::Error describe(const SpawnSpec& spec, const Failure& failure) {
  switch (failure.stage) {
    case Stage::kDir:
      return io_error("enter " + spec.dir, failure.error);
    case Stage::kFds:
      return io_error("pass descriptors to " + spec.program, failure.error);
    case Stage::kUser:
      return io_error("become another user for " + spec.program, failure.error);
    case Stage::kExec:
      break;
  }
  return io_error("run " + spec.program, failure.error);
}

}  // namespace

base::Result<Spawned> spawn(const SpawnSpec& spec) {
  ChildPlan plan{.argv = pointers(spec.argv),
                 .env = pointers(spec.env),
                 .program = spec.program.c_str(),
                 .dir = spec.dir.empty() ? nullptr : spec.dir.c_str(),
                 .user = spec.user ? &*spec.user : nullptr,
                 .fds = {},
                 .report = -1};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("make a pipe");
  Fd report_read(ends[0]);
  Fd report_low(ends[1]);
  auto report_write = moved_up(report_low.get());
  if (!report_write) return report_write.error();
  report_low.reset();
  plan.report = report_write->get();

  const Fd nothing(retry([] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  if (!nothing.valid()) return io_error("open /dev/null");
  std::vector<PassedFd> wanted = spec.fds;
  for (int fd = 0; fd <= 2; ++fd) {
    const bool given = std::any_of(wanted.begin(), wanted.end(),
                                   [fd](const PassedFd& passed) { return passed.to == fd; });
    if (!given) wanted.push_back({nothing.get(), fd});
  }
  std::sort(wanted.begin(), wanted.end(),
            [](const PassedFd& a, const PassedFd& b) { return a.to < b.to; });
  std::vector<Fd> copies;  // so that no dup2 overwrites the source of a later one
  for (const PassedFd& fd : wanted) {
    CHECK(fd.to >= 0);
    CHECK(fd.to < kPassedFdMax);
    auto copy = moved_up(fd.from);
    if (!copy) return copy.error();
    plan.fds.push_back({copy->get(), fd.to});
    copies.push_back(std::move(*copy));
  }

  auto child = clone_child(spec, plan);
  if (!child) return child.error();
  report_write->reset();
  Failure failure{};
  const ssize_t size = retry([&] { return ::read(report_read.get(), &failure, sizeof failure); });
  if (size != 0) {
    siginfo_t info = {};
    retry([&] { return ::waitid(P_PIDFD, static_cast<id_t>(child->pidfd.get()), &info, WEXITED); });
    if (size != sizeof failure) return base::fail(base::Code::kIo, "cannot run " + spec.program);
    return describe(spec, failure);
  }
  return Spawned{child->pid, std::move(child->pidfd)};
}

void Children::add(Spawned child) {
  const std::lock_guard guard(alone_);
  running_.push_back(std::move(child));
}

void Children::reap() {
  const std::lock_guard guard(alone_);
  std::erase_if(running_, [](const Spawned& child) {
    siginfo_t info = {};
    const auto which = static_cast<id_t>(child.pidfd.get());
    const int rc = retry([&] { return ::waitid(P_PIDFD, which, &info, WEXITED | WNOHANG); });
    return rc < 0 || info.si_pid != 0;  // an error: it is not our child any more
  });
}

std::size_t Children::size() const {
  const std::lock_guard guard(alone_);
  return running_.size();
}

base::Result<int> wait_for_end(const Spawned& process, Patience patience) {
  pollfd one{process.pidfd.get(), POLLIN, 0};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left =
        std::chrono::ceil<Patience>(deadline - std::chrono::steady_clock::now()).count();
    const int ready = ::poll(&one, 1, static_cast<int>(std::clamp<long>(left, 0, 60'000)));
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return io_error("wait for a process");
    if (ready == 0 && left <= 0) {
      return base::fail(base::Code::kTimeout,
                        "process " + std::to_string(process.pid) + " did not end in time");
    }
  }
  int status = 0;
  if (retry([&] { return ::waitpid(process.pid, &status, 0); }) < 0) {
    return io_error("reap process " + std::to_string(process.pid));
  }
  return status;
}

}  // namespace machine
