#include "criu/run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "criu/cgroup_wait.h"
#include "criu/limits.h"
#include "criu/log_errors.h"
#include "criu/loop_watch.h"
#include "init/contract.h"
#include "machine/cgroup.h"

namespace criu {
namespace {

constexpr const char* kLogFile = "criu.log";
constexpr const char* kOutputFile = "output";
constexpr const char* kNoteFile = "guard";
constexpr const char* kRecordedFile = "recorded";
constexpr std::size_t kNoteMax = 1024;

machine::SpawnSpec criu_itself(const RunSpec& spec, const std::string& dir) {
  machine::SpawnSpec child;
  child.program = spec.program;
  child.argv = {spec.program};
  child.argv.insert(child.argv.end(), spec.arguments.begin(), spec.arguments.end());
  for (const char* word : {"--no-default-config", "-D"}) child.argv.emplace_back(word);
  child.argv.push_back(dir);
  child.argv.emplace_back("-o");
  child.argv.emplace_back(kLogFile);
  child.user = spec.user;
  return child;
}

// The same under its guard, which takes the user's place: CRIU becomes that user, the guard not.
machine::SpawnSpec guarded(const RunSpec& spec, const std::string& dir, machine::SpawnSpec criu) {
  machine::SpawnSpec child;
  child.program = spec.guard->program;
  child.argv = {"tern-guard",
                "--library",
                spec.guard->library,
                "--job",
                spec.guard->job_cgroup,
                "--run",
                spec.cgroup,
                "--note",
                dir + "/" + kNoteFile,
                "--recorded",
                dir + "/" + kRecordedFile};
  if (spec.user) {
    const auto& user = *spec.user;
    const std::string words[] = {"--uid",          std::to_string(user.uid),
                                 "--gid",          std::to_string(user.gid),
                                 "--capabilities", std::to_string(user.capabilities)};
    child.argv.insert(child.argv.end(), std::begin(words), std::end(words));
  }
  child.argv.emplace_back("--");
  for (std::string& word : criu.argv) child.argv.push_back(std::move(word));
  return child;
}

base::Error not_started(const base::Error& why) {
  return base::fail(why.code, "CRIU could not be started: " + why.detail);
}

// With its output in a file of the work folder, born in its cgroup.
base::Result<machine::Spawned> launch(const RunSpec& spec, const std::string& dir) {
  auto cgroup = machine::Cgroup::open(spec.guard ? guard_cgroup_of(spec.cgroup) : spec.cgroup);
  if (!cgroup) return cgroup.error();
  const std::string path = dir + "/" + kOutputFile;
  const machine::Fd output(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output.valid()) return machine::io_error("make " + path);
  if (::access(spec.program.c_str(), X_OK) != 0) {
    return not_started(machine::io_error("run " + spec.program));
  }
  machine::SpawnSpec child = criu_itself(spec, dir);
  if (spec.guard) child = guarded(spec, dir, std::move(child));
  child.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  child.fds = {{output.get(), 1}, {output.get(), 2}};
  child.dir = dir;
  child.cgroup = &*cgroup;
  auto spawned = machine::spawn(child);
  if (!spawned) return not_started(spawned.error());
  return spawned;
}

// Of the process that we started; a guard's own end tells its CRIU's.
struct End {
  bool known = false;   // what became of CRIU
  bool exited = false;  // else by a signal
  int number = 0;       // status or signal
};

End end_of(const siginfo_t& status, bool guarded) {
  const bool by_signal = status.si_code == CLD_KILLED || status.si_code == CLD_DUMPED;
  if (!by_signal && status.si_code != CLD_EXITED) return {};
  if (!guarded) return {true, !by_signal, status.si_status};
  if (by_signal) return {};
  const bool signalled = status.si_status > init::kExitSignalled;
  return {true, !signalled, status.si_status - (signalled ? init::kExitSignalled : 0)};
}

}  // namespace

std::string guard_cgroup_of(const std::string& cgroup) {
  const std::size_t name = cgroup.rfind('/') + 1;
  return cgroup.substr(0, name) + "guard-" + cgroup.substr(name);
}

struct Run::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() { exit_watch.stop(); }  // before the pidfd closes
  void exited();
  void kill();
  void await_end(base::Duration patience);
  void never_ended();
  [[nodiscard]] bool recorded() const {
    return ::access((dir.path() + "/" + kRecordedFile).c_str(), F_OK) == 0;
  }
  void await_empty(base::Duration patience);
  void finish(base::Status gone);
  [[nodiscard]] base::Status remove_cgroups() const;
  [[nodiscard]] RunResult result_of(const base::Status& gone) const;

  uv_loop_s* loop = nullptr;
  RunSpec spec;
  WorkDir dir;
  Done done;
  machine::Spawned child;
  FdWatch exit_watch;
  CgroupWait empty_wait;
  Alarm end_alarm;  // since kill(), until the end of the process that we started
  siginfo_t status{};
  bool killed = false;
  bool orphaned = false;       // the guard was killed, CRIU goes on
  bool forced = false;         // the guard was killed by us, whatever it was doing
  std::shared_ptr<Impl> self;  // until finish(): the rest goes on when the Run is gone
};

void Run::Impl::kill() {
  const bool again = std::exchange(killed, true);
  if (!exit_watch.active() && !orphaned) return;  // over already
  const base::Status sent = kill_cgroup(spec.cgroup);
  if (!sent && !spec.guard) {  // better than nothing
    ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);
  }
  if (again) return;
  if (orphaned) return await_empty(kGonePatience);
  // In this order: a CRIU that is killed before it began never begins.
  if (spec.guard && sent && !recorded()) {
    (void)kill_cgroup(guard_cgroup_of(spec.cgroup)).ok();
  }
  await_end(spec.guard ? spec.guard->patience : kGonePatience);
}

void Run::Impl::await_end(base::Duration patience) {
  end_alarm.start(loop, patience, [weak = weak_from_this()] {
    if (auto impl = weak.lock()) impl->never_ended();
  });
}

void Run::Impl::never_ended() {
  if (spec.guard && !std::exchange(forced, true)) {
    (void)kill_cgroup(guard_cgroup_of(spec.cgroup)).ok();
    return await_end(std::min(kGonePatience, spec.guard->patience));
  }
  exit_watch.stop();
  finish(base::fail(base::Code::kTimeout,
                    std::string(spec.guard ? "CRIU's guard" : "CRIU") + " does not end"));
}

void Run::Impl::exited() {
  status.si_pid = 0;
  const int rc = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()),
                          &status, WEXITED | WNOHANG);
  if (rc == 0 && status.si_pid == 0) return;
  if (rc != 0) status.si_code = 0;  // somebody else reaped it: its end is known, its status is not
  exit_watch.stop();
  end_alarm.stop();
  if (!spec.own_cgroup) return finish({});
  orphaned = spec.guard && !end_of(status, true).known;
  if (orphaned && !killed) return await_empty(kOrphanPatience);
  if (base::Status sent = kill_cgroup(spec.cgroup); !sent) return finish(sent);
  await_empty(kGonePatience);
}

void Run::Impl::await_empty(base::Duration patience) {
  std::weak_ptr<Impl> weak = weak_from_this();
  empty_wait.start(loop, spec.cgroup, CgroupState::kEmpty, patience, [weak](base::Status s) {
    if (auto impl = weak.lock()) impl->finish(std::move(s));
  });
}

RunResult Run::Impl::result_of(const base::Status& gone) const {
  RunResult result;
  result.killed = killed;
  const End end = end_of(status, spec.guard.has_value());
  result.clean_exit = gone.ok() && !killed && end.known && end.exited && end.number == 0;
  if (spec.guard) result.guard_note = dir.tail(kNoteFile, kNoteMax);
  if (forced && recorded())
    result.guard_note += std::string(init::kNoteDamaged) + "it did not end in time\n";
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
  } else if (!end.known) {
    result.error = base::fail(base::Code::kIo, "CRIU's guard was killed");
  } else if (!end.exited) {
    result.error =
        base::fail(base::Code::kIo, "CRIU was killed by signal " + std::to_string(end.number));
  } else {
    std::string words = output.substr(0, output.find('\n'));
    if (words.empty()) words = "it gave no reason";
    result.error = base::fail(
        base::Code::kIo, "CRIU failed with status " + std::to_string(end.number) + ": " + words);
  }
  return result;
}

void Run::Impl::finish(base::Status gone) {
  const std::shared_ptr<Impl> keep = std::exchange(self, nullptr);
  if (!keep) return;
  if (spec.own_cgroup && gone) gone = remove_cgroups();
  if (Done callback = std::exchange(done, nullptr)) callback(result_of(gone), dir);
  dir.remove();
}

base::Status Run::Impl::remove_cgroups() const {
  if (spec.guard) {
    if (base::Status gone = remove_cgroup(guard_cgroup_of(spec.cgroup)); !gone) return gone;
  }
  return remove_cgroup(spec.cgroup);
}

base::Result<std::unique_ptr<Run>> Run::start(uv_loop_s* loop, RunSpec spec, WorkDir dir,
                                              Done done) {
  CHECK(!spec.guard || spec.own_cgroup);
  if (spec.own_cgroup) {
    if (auto made = machine::Cgroup::create(spec.cgroup); !made) return made.error();
  }
  if (spec.guard) {
    if (auto made = machine::Cgroup::create(guard_cgroup_of(spec.cgroup)); !made) {
      (void)remove_cgroup(spec.cgroup).ok();
      return made.error();
    }
  }
  auto impl = std::make_shared<Impl>();
  auto child = launch(spec, dir.path());
  impl->spec = std::move(spec);
  if (!child) {
    if (impl->spec.own_cgroup && !impl->remove_cgroups()) {
      return base::fail(child.error().code,
                        child.error().detail + "; " + impl->spec.cgroup + " stays");
    }
    return child.error();
  }
  impl->loop = loop;
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

int Run::pid() const {
  if (!impl_->spec.guard) return impl_->child.pid;
  auto cgroup = machine::Cgroup::open(impl_->spec.cgroup);
  if (!cgroup) return 0;
  auto pids = cgroup->processes();
  return pids && !pids->empty() ? pids->front() : 0;
}

}  // namespace criu
