#include "criu/run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "criu/cgroup_wait.h"
#include "criu/limits.h"
#include "criu/log_errors.h"
#include "criu/loop_watch.h"
#include "machine/cgroup.h"

namespace criu {
namespace {

constexpr const char* kLogFile = "criu.log";
constexpr const char* kOutputFile = "output";
// CRIU with its output in a file of the work folder, born in its cgroup.
base::Result<machine::Spawned> launch(const RunSpec& spec, const std::string& dir) {
  auto cgroup = machine::Cgroup::open(spec.cgroup);
  if (!cgroup) return cgroup.error();
  const std::string path = dir + "/" + kOutputFile;
  const machine::Fd output(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output.valid()) return machine::io_error("make " + path);
  machine::SpawnSpec child;
  child.program = spec.program;
  child.argv = {spec.program};
  child.argv.insert(child.argv.end(), spec.arguments.begin(), spec.arguments.end());
  for (const char* word : {"--no-default-config", "-D"}) child.argv.emplace_back(word);
  child.argv.push_back(dir);
  child.argv.emplace_back("-o");
  child.argv.emplace_back(kLogFile);
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  child.fds = {{output.get(), 1}, {output.get(), 2}};
  child.dir = dir;
  child.cgroup = &*cgroup;
  child.user = spec.user;
  auto spawned = machine::spawn(child);
  if (spawned) return spawned;
  return base::fail(spawned.error().code, "CRIU could not be started: " + spawned.error().detail);
}

}  // namespace

struct Run::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() { exit_watch.stop(); }  // before the pidfd closes
  void exited();
  void kill();
  void finish(base::Status gone);
  [[nodiscard]] RunResult result_of(const base::Status& gone) const;

  uv_loop_s* loop = nullptr;
  RunSpec spec;
  WorkDir dir;
  Done done;
  machine::Spawned child;
  FdWatch exit_watch;
  CgroupWait empty_wait;
  siginfo_t status{};
  bool killed = false;
  std::shared_ptr<Impl> self;  // until finish(): the rest goes on when the Run is gone
};

void Run::Impl::kill() {
  killed = true;
  if (!exit_watch.active()) return;  // over already
  if (kill_cgroup(spec.cgroup)) return;
  ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);  // better than nothing
}

void Run::Impl::exited() {
  status.si_pid = 0;
  const int rc = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()),
                          &status, WEXITED | WNOHANG);
  if (rc == 0 && status.si_pid == 0) return;
  if (rc != 0) status.si_code = 0;  // somebody else reaped it: its end is known, its status is not
  exit_watch.stop();
  if (!spec.own_cgroup) return finish({});
  if (base::Status sent = kill_cgroup(spec.cgroup); !sent) return finish(sent);
  std::weak_ptr<Impl> weak = weak_from_this();
  empty_wait.start(loop, spec.cgroup, CgroupState::kEmpty, kGonePatience, [weak](base::Status s) {
    if (auto impl = weak.lock()) impl->finish(std::move(s));
  });
}

RunResult Run::Impl::result_of(const base::Status& gone) const {
  RunResult result;
  result.killed = killed;
  result.clean_exit = gone.ok() && !killed && status.si_code == CLD_EXITED && status.si_status == 0;
  if (result.clean_exit) return result;
  if (!gone) {
    result.error = gone.error();
    return result;
  }
  const std::string log = dir.tail(kLogFile, kLogReadMax);
  const std::string output = dir.tail(kOutputFile, kErrorTextMax);
  LogErrors errors = find_errors(log);
  if (errors.message.empty()) errors = find_errors(output);
  result.original = errors.original.empty() ? output : errors.original;
  if (killed) {
    result.error = base::fail(base::Code::kIo, "CRIU was stopped");
  } else if (!errors.message.empty()) {
    result.error = base::fail(base::Code::kIo, errors.message);
  } else if (status.si_code == CLD_KILLED || status.si_code == CLD_DUMPED) {
    result.error = base::fail(base::Code::kIo,
                              "CRIU was killed by signal " + std::to_string(status.si_status));
  } else {
    std::string words = output.substr(0, output.find('\n'));
    if (words.empty()) words = "it gave no reason";
    result.error = base::fail(base::Code::kIo, "CRIU failed with status " +
                                                   std::to_string(status.si_status) + ": " + words);
  }
  return result;
}

void Run::Impl::finish(base::Status gone) {
  const std::shared_ptr<Impl> keep = std::exchange(self, nullptr);
  if (!keep) return;
  if (spec.own_cgroup && gone) gone = remove_cgroup(spec.cgroup);
  if (Done callback = std::exchange(done, nullptr)) callback(result_of(gone), dir);
  dir.remove();
}

base::Result<std::unique_ptr<Run>> Run::start(uv_loop_s* loop, RunSpec spec, WorkDir dir,
                                              Done done) {
  if (spec.own_cgroup) {
    if (auto made = machine::Cgroup::create(spec.cgroup); !made) return made.error();
  }
  auto impl = std::make_shared<Impl>();
  auto child = launch(spec, dir.path());
  if (!child) {
    if (spec.own_cgroup && !remove_cgroup(spec.cgroup)) {
      return base::fail(child.error().code, child.error().detail + "; " + spec.cgroup + " stays");
    }
    return child.error();
  }
  impl->loop = loop;
  impl->spec = std::move(spec);
  impl->dir = std::move(dir);
  impl->done = std::move(done);
  impl->child = std::move(*child);
  impl->self = impl;
  std::weak_ptr<Impl> weak = impl;
  const base::Status watched =
      impl->exit_watch.start(loop, impl->child.pidfd.get(), Wants::kRead, [weak] {
        if (auto locked = weak.lock()) locked->exited();
      });
  CHECK(watched.ok());  // a pidfd can be polled (pidfd_open(2))
  return std::unique_ptr<Run>(new Run(std::move(impl)));
}

Run::Run(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Run::~Run() {
  impl_->done = nullptr;
  if (impl_->self) impl_->kill();
}

void Run::kill() {
  if (impl_->self) impl_->kill();
}

int Run::pid() const { return impl_->child.pid; }

}  // namespace criu
