#include "criu/restore_session.h"

#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "criu/cgroup_wait.h"
#include "criu/limits.h"
#include "criu/loop_watch.h"
#include "criu/run.h"
#include "criu/stream_server.h"
#include "machine/cgroup.h"

namespace criu {
namespace {

constexpr base::Duration kFreezePatience = std::chrono::seconds(10);
constexpr int kChecks = 20;
constexpr base::Duration kCheckPause = std::chrono::milliseconds(5);
constexpr const char* kPidFile = "pid";

std::vector<std::string> arguments_for(const RestoreSpec& spec, const std::string& dir) {
  std::vector<std::string> words;
  if (spec.capsule) {
    words = {"--init",    std::to_string(spec.capsule->init.pid),
             "--start",   std::to_string(spec.capsule->init.start_ticks),
             "--pid",     std::to_string(spec.capsule->criu_pid),
             "--library", spec.capsule->library,
             "--",        spec.program};
  }
  const std::vector<std::string> restore{"restore",
                                         "--stream",
                                         "-s",
                                         "-d",
                                         "--manage-cgroups=ignore",
                                         "--tcp-close",
                                         "--network-lock",
                                         "skip",
                                         "--file-locks",
                                         "--pidfile",
                                         dir + "/" + kPidFile,
                                         "-v4"};
  words.insert(words.end(), restore.begin(), restore.end());
  if (spec.capsule && spec.capsule->shell_job) words.emplace_back("--shell-job");
  if (::geteuid() != 0) words.emplace_back("--unprivileged");
  return words;
}

void ignore_sigpipe() {
  struct sigaction now {};
  if (::sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
}

base::Result<pid_t> parse_pid(const std::string& text) {
  pid_t pid = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (code == std::errc() && end == text.data() + text.size() && pid > 1) return pid;
  return base::fail(base::Code::kIo, "CRIU did not say which process it restored");
}

struct Pipe {
  int fd = -1;
  std::string name;
  FdWatch watch;
};

}  // namespace

struct RestoreSession::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() { drop_pipes(); }
  void requested(std::string name);
  void take_pipe(int fd);
  void watch(std::uint32_t index);
  void serve(std::uint32_t index);
  void close_pipe(std::map<std::uint32_t, Pipe>::iterator at);
  void drop_pipes();
  void run_ended(const RunResult& result, const WorkDir& dir);
  void frozen(const base::Status& status);
  base::Status check_copy();
  void fail(base::Error error);
  void discard();
  void finish(base::Result<HeldCopy> result);
  [[nodiscard]] bool over() const { return !done; }
  template <typename F>
  auto weakly(F f) {
    return [weak = weak_from_this(), f](auto&&... args) {
      if (auto impl = weak.lock()) f(*impl, std::forward<decltype(args)>(args)...);
    };
  }

  uv_loop_s* loop = nullptr;
  RestoreSpec spec;
  ImageSource* images = nullptr;
  Done done;  // empty when over
  std::unique_ptr<StreamServer> server;
  std::unique_ptr<Run> run;
  Alarm deadline;
  CgroupWait frozen_wait;
  std::unique_ptr<CopyTask> discarding;
  std::shared_ptr<Impl> kept;  // while discarding after the session is gone
  std::map<std::uint32_t, Pipe> pipes;
  std::set<std::string> asked;
  std::string pending_name;
  std::optional<base::Error> error;  // the first; while set, the copy is being killed
  std::string original;
  std::string pid_text;
  HeldCopy held;
  std::uint64_t began_ns = 0;
  std::uint32_t next_index = 0;
  int checks_left = kChecks;
  bool run_done = false;
};

void RestoreSession::Impl::requested(std::string name) {
  if (next_index >= kImagesMax || pipes.size() >= kPipesMax) {
    return fail(base::fail(base::Code::kTooLarge, "CRIU asks for too many images"));
  }
  const bool exists = images->exists(name);
  if (exists && !asked.insert(name).second) {
    return fail(base::fail(base::Code::kInvalid, "CRIU asked twice for the image " + name));
  }
  if (base::Status status = server->reply(exists); !status) return;  // CRIU's end tells why
  if (!exists) return server->skip_descriptor();
  pending_name = std::move(name);
}

void RestoreSession::Impl::take_pipe(int fd) {
  if (over() || error) {
    ::close(fd);
    return;
  }
  const std::uint32_t index = next_index++;
  Pipe& pipe = pipes[index];
  pipe.fd = fd;
  pipe.name = std::exchange(pending_name, {});
  watch(index);
}

void RestoreSession::Impl::watch(std::uint32_t index) {
  const auto at = pipes.find(index);
  if (at == pipes.end()) return;
  base::Status status = at->second.watch.start(loop, at->second.fd, Wants::kWrite,
                                               weakly([index](Impl& impl) { impl.serve(index); }));
  if (!status) fail(status.error());
}

void RestoreSession::Impl::serve(std::uint32_t index) {
  for (std::size_t budget = kPieceSize * kPiecesPerTurn; budget > 0;) {
    const auto at = pipes.find(index);
    if (at == pipes.end()) return;  // the source cancelled or destroyed the session
    const std::string name = at->second.name;
    if (!images->ready(name, weakly([index](Impl& impl) { impl.watch(index); }))) {
      return at->second.watch.stop();
    }
    const base::ByteView next = images->peek(name);
    if (next.empty()) return close_pipe(at);
    const ssize_t put = ::write(at->second.fd, next.data(), std::min(next.size(), budget));
    if (put < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return close_pipe(at);  // EPIPE: CRIU needs no more of it, or died and its end tells why
    }
    const auto count = static_cast<std::size_t>(put);
    held.bytes += count;
    budget -= count;
    images->consume(name, count);
  }
}

void RestoreSession::Impl::close_pipe(std::map<std::uint32_t, Pipe>::iterator at) {
  at->second.watch.stop();  // out of epoll first: CRIU may hold a duplicate
  ::close(at->second.fd);
  pipes.erase(at);
}

void RestoreSession::Impl::drop_pipes() {
  while (!pipes.empty()) close_pipe(pipes.begin());
}

void RestoreSession::Impl::run_ended(const RunResult& result, const WorkDir& dir) {
  run_done = true;
  deadline.stop();
  server.reset();
  drop_pipes();
  original = result.original;
  if (!result.clean_exit && !error) error = result.error;
  if (error) return discard();
  pid_text = dir.tail(kPidFile, 32);
  if (base::Status status = freeze_cgroup(spec.job_cgroup, true); !status) {
    error = status.error();
    return discard();
  }
  frozen_wait.start(loop, spec.job_cgroup, CgroupState::kFrozen, kFreezePatience,
                    weakly([](Impl& impl, const base::Status& status) { impl.frozen(status); }));
}

base::Status RestoreSession::Impl::check_copy() {
  if (base::Status still = check_copy_held(spec.job_cgroup); !still) return still;
  auto cgroup = machine::Cgroup::open(spec.job_cgroup);
  if (!cgroup) return cgroup.error();
  if (spec.capsule) {  // CRIU told a PID of the capsule
    auto init = machine::find_init(*cgroup);
    if (!init) return init.error();
    held.init = *init;
    return {};
  }
  auto pid = parse_pid(pid_text);
  if (!pid) return pid.error();
  auto members = cgroup->processes();
  if (!members) return members.error();
  if (std::find(members->begin(), members->end(), *pid) == members->end()) {
    return base::fail(base::Code::kIo, "the restored process is not in its cgroup");
  }
  auto name = machine::name_process(*pid);
  if (!name) return name.error();
  held.init = *name;
  return {};
}

void RestoreSession::Impl::frozen(const base::Status& status) {
  base::Status good = status;
  if (good) good = check_copy();
  if (!good && good.error().code == base::Code::kRefused && checks_left-- > 0) {
    // A thread that its stopping siblings pull out of the freezer into the stop is neither for some
    // microseconds, and no event tells when it has arrived.
    deadline.start(loop, kCheckPause, weakly([status](Impl& impl) { impl.frozen(status); }));
    return;
  }
  if (!good) {
    error = good.error();
    return discard();
  }
  held.elapsed = std::chrono::microseconds((uv_hrtime() - began_ns) / 1000);
  finish(held);
}

void RestoreSession::Impl::fail(base::Error why) {
  if (over() || error) return;
  error = std::move(why);
  server.reset();
  drop_pipes();
  if (run_done) return discard();
  run->kill();  // kills the copy too: it lives in the same cgroup
}

void RestoreSession::Impl::discard() {
  deadline.stop();
  frozen_wait.stop();
  discarding = discard_copy(loop, spec.job_cgroup, [weak = weak_from_this()](base::Status gone) {
    auto impl = weak.lock();
    if (!impl) return;
    auto keep = std::exchange(impl->kept, nullptr);
    base::Error why = impl->error.value_or(base::fail(base::Code::kIo, "destroyed"));
    if (!gone) why.detail += "; and its remains stay: " + gone.error().detail;
    impl->finish(std::move(why));
  });
}

void RestoreSession::Impl::finish(base::Result<HeldCopy> result) {
  deadline.stop();
  if (auto callback = std::exchange(done, nullptr)) callback(std::move(result));
}

base::Result<std::unique_ptr<RestoreSession>> RestoreSession::start(uv_loop_s* loop,
                                                                    RestoreSpec spec,
                                                                    ImageSource& images,
                                                                    Done done) {
  ignore_sigpipe();
  auto dir = WorkDir::create(spec.owner);
  if (!dir) return dir.error();
  auto impl = std::make_shared<Impl>();
  impl->loop = loop;
  impl->spec = std::move(spec);
  impl->images = &images;
  impl->began_ns = uv_hrtime();
  StreamServer::Callbacks stream;
  stream.request = impl->weakly([](Impl& self, std::string name) { self.requested(name); });
  stream.descriptor = impl->weakly([](Impl& self, int fd) { self.take_pipe(fd); });
  stream.ended = [] {};
  stream.failed = impl->weakly([](Impl& self, const base::Error& why) {
    if (why.code != base::Code::kTruncated) self.fail(why);  // a hang-up: CRIU's end tells why
  });
  auto server =
      StreamServer::listen(loop, dir->path(), Direction::kServe, ::geteuid(), std::move(stream));
  if (!server) return server.error();
  impl->server = std::move(*server);
  if (!impl->spec.capsule) {
    if (auto made = machine::Cgroup::create(impl->spec.job_cgroup); !made) return made.error();
  }
  RunSpec run{impl->spec.capsule ? impl->spec.capsule->enter : impl->spec.program,
              arguments_for(impl->spec, dir->path()),
              impl->spec.job_cgroup,
              false,
              std::nullopt,
              std::nullopt};
  auto started =
      Run::start(loop, std::move(run), std::move(*dir),
                 impl->weakly([](Impl& self, const RunResult& result, const WorkDir& work) {
                   self.run_ended(result, work);
                 }));
  if (!started) {
    base::Error error = started.error();
    if (base::Status gone = remove_cgroup(impl->spec.job_cgroup); !gone) {
      error.detail += "; " + gone.error().detail;
    }
    return error;
  }
  impl->run = std::move(*started);
  impl->done = std::move(done);
  impl->deadline.start(loop, impl->spec.deadline, impl->weakly([](Impl& self) {
    self.fail(base::fail(base::Code::kTimeout, "CRIU did not finish the restore in time"));
  }));
  return std::unique_ptr<RestoreSession>(new RestoreSession(std::move(impl)));
}

RestoreSession::RestoreSession(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

RestoreSession::~RestoreSession() {
  const bool was_over = impl_->over();
  impl_->done = nullptr;
  impl_->deadline.stop();
  impl_->server.reset();
  impl_->drop_pipes();
  impl_->run.reset();
  if (was_over) return;
  impl_->kept = impl_;  // until the cgroup is empty and removed
  impl_->discard();
}

void RestoreSession::cancel() {
  if (impl_->over() || impl_->error) return;
  impl_->fail(base::fail(base::Code::kRefused, "cancelled"));
}

const std::string& RestoreSession::original_error() const { return impl_->original; }

int RestoreSession::criu_pid() const { return impl_->run->pid(); }

}  // namespace criu
