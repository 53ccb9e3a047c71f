#include "criu/dump_session.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "criu/cgroup_wait.h"
#include "criu/limits.h"
#include "criu/loop_watch.h"
#include "criu/run.h"
#include "criu/stream_server.h"
#include "machine/preflight_tasks.h"

namespace criu {
namespace {

// CRIU freezes the cgroup again just before it ends; its tasks need a moment.
constexpr base::Duration kFreezePatience = std::chrono::seconds(5);
// How long CRIU may take to notice that its pipes are broken and to let go of the job.
constexpr base::Duration kGentlePatience = std::chrono::seconds(3);

// Whom CRIU runs as; none: as we do. The user cannot take the capabilities from it: tracing a
// process takes all of its capabilities (ptrace(2), access mode checking).
std::optional<machine::SpawnUser> user_for(const DumpSpec& spec) {
  if (::geteuid() != 0 || spec.uid == 0 || machine::may_read_limits()) return std::nullopt;
  machine::SpawnUser user{spec.uid, spec.gid, 0};
  for (const int capability : {CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SETPCAP,
                               CAP_NET_ADMIN, CAP_KILL, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}) {
    user.capabilities |= std::uint64_t{1} << capability;
  }
  return user;
}

std::vector<std::string> arguments_for(const DumpSpec& spec, bool as_user) {
  std::vector<std::string> words{"dump",
                                 "-t",
                                 std::to_string(spec.pid),
                                 "--stream",
                                 "-R",
                                 "--freeze-cgroup",
                                 spec.job_cgroup,
                                 "--manage-cgroups=ignore",
                                 "--network-lock",
                                 "skip",
                                 "--file-locks",
                                 "--ghost-limit",
                                 std::to_string(spec.ghost_limit_bytes),
                                 "-v4"};
  if (spec.tcp_close) words.insert(words.end(), {"--tcp-close", "--skip-in-flight"});
  if (spec.shell_job) words.emplace_back("--shell-job");
  if (as_user || ::geteuid() != 0) words.emplace_back("--unprivileged");
  return words;
}

struct Pipe {
  int fd = -1;
  FdWatch watch;
};

}  // namespace

struct DumpSession::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() { drop_pipes(); }
  void begin_image(std::string name);
  void take_pipe(int fd);
  base::Status watch(std::uint32_t index, Pipe& pipe);
  void read_pipe(std::uint32_t index);
  void close_pipe(std::map<std::uint32_t, Pipe>::iterator at);
  void drop_pipes();
  void run_ended(const RunResult& result);
  void stream_failed(const base::Error& why);
  void maybe_finish();
  void fail(base::Error error);
  void stop_gently();
  void finish(base::Result<DumpStats> result);
  [[nodiscard]] bool over() const { return !callbacks.done; }
  template <typename F>
  auto weakly(F f) {
    return [weak = weak_from_this(), f](auto&&... args) {
      if (auto self = weak.lock()) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  uv_loop_s* loop = nullptr;
  DumpSpec spec;
  DumpCallbacks callbacks;  // done empties when over
  std::unique_ptr<StreamServer> server;
  std::unique_ptr<Run> run;
  Alarm deadline;
  CgroupWait frozen_wait;
  std::map<std::uint32_t, Pipe> pipes;
  std::optional<base::Error> error;    // the first; while set, CRIU is being killed
  std::optional<base::Error> hang_up;  // of CRIU: its own words, if it has any, are better
  std::string original;
  std::string guard_note;
  std::string pending_name;
  std::uint64_t began_ns = 0;
  DumpStats stats;
  std::uint32_t next_index = 0;
  bool paused = false;
  bool requests_ended = false;
  bool run_done = false;
  bool checking = false;
  std::shared_ptr<Impl> kept;  // until CRIU is gone, once the session is
};

void DumpSession::Impl::begin_image(std::string name) {
  if (next_index >= kImagesMax || pipes.size() >= kPipesMax) {
    return fail(base::fail(base::Code::kTooLarge, "CRIU makes too many images"));
  }
  pending_name = std::move(name);
}

void DumpSession::Impl::take_pipe(int fd) {
  if (over() || error) {
    ::close(fd);
    return;
  }
  const std::uint32_t index = next_index++;
  ++stats.images;
  Pipe& pipe = pipes[index];
  pipe.fd = fd;
  if (!paused) {
    if (base::Status status = watch(index, pipe); !status) return fail(status.error());
  }
  callbacks.image(index, std::exchange(pending_name, {}));
}

base::Status DumpSession::Impl::watch(std::uint32_t index, Pipe& pipe) {
  return pipe.watch.start(loop, pipe.fd, Wants::kRead,
                          weakly([index](Impl& self) { self.read_pipe(index); }));
}

void DumpSession::Impl::read_pipe(std::uint32_t index) {
  std::array<std::uint8_t, kPieceSize> buffer;  // NOLINT: filled by read()
  for (std::size_t piece = 0; piece < kPiecesPerTurn; ++piece) {
    auto at = pipes.find(index);
    if (at == pipes.end() || paused || over()) return;  // the consumer's doing
    const ssize_t got = ::read(at->second.fd, buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return fail(base::fail(base::Code::kIo, std::string("CRIU's pipe: ") + std::strerror(errno)));
    }
    if (got == 0) {
      close_pipe(at);
      callbacks.image_end(index);
      return maybe_finish();
    }
    stats.bytes += static_cast<std::uint64_t>(got);
    callbacks.data(index, {buffer.data(), static_cast<std::size_t>(got)});
  }
}

void DumpSession::Impl::close_pipe(std::map<std::uint32_t, Pipe>::iterator at) {
  at->second.watch.stop();  // out of epoll first: CRIU may hold a duplicate
  ::close(at->second.fd);
  pipes.erase(at);
}

void DumpSession::Impl::drop_pipes() {
  while (!pipes.empty()) close_pipe(pipes.begin());
}

void DumpSession::Impl::stream_failed(const base::Error& why) {
  if (why.code != base::Code::kTruncated) return fail(why);
  hang_up = why;
  maybe_finish();
}

void DumpSession::Impl::run_ended(const RunResult& result) {
  const std::shared_ptr<Impl> last = std::exchange(kept, nullptr);
  run_done = true;
  guard_note = result.guard_note;
  if (over()) return deadline.stop();
  if (!result.clean_exit) {
    if (!error) error = result.error;
    original = result.original;
    return finish(*error);
  }
  maybe_finish();
}

void DumpSession::Impl::maybe_finish() {
  if (over() || checking || !run_done) return;
  if (error) return finish(*error);
  if (hang_up) return finish(*hang_up);
  if (!requests_ended || !pipes.empty()) return;
  checking = true;
  frozen_wait.start(loop, spec.job_cgroup, CgroupState::kFrozen, kFreezePatience,
                    weakly([](Impl& self, base::Status frozen) {
                      if (frozen) return self.finish(self.stats);
                      self.finish(base::fail(frozen.error().code, "the job did not stay frozen: " +
                                                                      frozen.error().detail));
                    }));
}

void DumpSession::Impl::fail(base::Error why) {
  if (over()) return;
  if (!error) error = std::move(why);
  drop_pipes();
  server.reset();
  if (run_done) {
    // Never from within a caller's own call: done is always a turn of its own.
    deadline.start(loop, base::Duration::zero(), weakly([](Impl& self) { self.maybe_finish(); }));
    checking = false;
    frozen_wait.stop();
    return;
  }
  stop_gently();
}

// With its pipes broken CRIU fails and takes its parasite code out of the job's tasks. Killed, it
// leaves that to the guard: so only if it does not end.
void DumpSession::Impl::stop_gently() {
  deadline.start(loop, kGentlePatience, weakly([](Impl& self) { self.run->kill(); }));
}

void DumpSession::Impl::finish(base::Result<DumpStats> result) {
  deadline.stop();
  frozen_wait.stop();
  drop_pipes();
  server.reset();
  if (result) result->elapsed = std::chrono::microseconds((uv_hrtime() - began_ns) / 1000);
  if (auto done = std::exchange(callbacks.done, nullptr)) done(std::move(result));
}

base::Result<std::unique_ptr<DumpSession>> DumpSession::start(uv_loop_s* loop, DumpSpec spec,
                                                              DumpCallbacks callbacks) {
  auto dir = WorkDir::create(spec.owner);
  if (!dir) return dir.error();
  auto impl = std::make_shared<Impl>();
  impl->loop = loop;
  impl->spec = std::move(spec);
  impl->callbacks = std::move(callbacks);
  impl->began_ns = uv_hrtime();
  StreamServer::Callbacks stream;
  stream.request = impl->weakly([](Impl& self, std::string name) { self.begin_image(name); });
  stream.descriptor = impl->weakly([](Impl& self, int fd) { self.take_pipe(fd); });
  stream.ended = impl->weakly([](Impl& self) {
    self.requests_ended = true;
    self.maybe_finish();
  });
  stream.failed = impl->weakly([](Impl& self, base::Error why) { self.stream_failed(why); });
  const auto user = user_for(impl->spec);
  auto server = StreamServer::listen(loop, dir->path(), Direction::kCapture,
                                     user ? user->uid : ::geteuid(), std::move(stream));
  if (!server) return server.error();
  impl->server = std::move(*server);
  RunSpec run{impl->spec.program,
              arguments_for(impl->spec, user.has_value()),
              impl->spec.run_cgroup,
              true,
              user,
              {}};
  if (!impl->spec.guard.empty())
    run.guard = RunGuard{impl->spec.guard, impl->spec.gentle, impl->spec.job_cgroup};
  auto started = Run::start(loop, std::move(run), std::move(*dir),
                            impl->weakly([](Impl& self, const RunResult& result, const WorkDir&) {
                              self.run_ended(result);
                            }));
  if (!started) return started.error();
  impl->run = std::move(*started);
  impl->deadline.start(loop, impl->spec.deadline, impl->weakly([](Impl& self) {
    self.fail(base::fail(base::Code::kTimeout, "CRIU did not finish the checkpoint in time"));
  }));
  return std::unique_ptr<DumpSession>(new DumpSession(std::move(impl)));
}

DumpSession::DumpSession(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

DumpSession::~DumpSession() {
  impl_->callbacks.done = nullptr;  // over: whatever is on the stack above stops
  impl_->frozen_wait.stop();
  impl_->deadline.stop();
  impl_->server.reset();
  impl_->drop_pipes();
  if (impl_->run_done) return;
  impl_->kept = impl_;
  impl_->stop_gently();
}

void DumpSession::pause() {
  impl_->paused = true;
  if (impl_->server) impl_->server->pause();
  for (auto& [index, pipe] : impl_->pipes) pipe.watch.stop();
}

void DumpSession::resume() {
  if (!std::exchange(impl_->paused, false)) return;
  if (impl_->server) impl_->server->resume();
  for (auto& [index, pipe] : impl_->pipes) {
    if (base::Status status = impl_->watch(index, pipe); !status) {
      return impl_->fail(status.error());
    }
  }
}

void DumpSession::cancel() { impl_->fail(base::fail(base::Code::kRefused, "cancelled")); }

const std::string& DumpSession::original_error() const { return impl_->original; }

const std::string& DumpSession::guard_note() const { return impl_->guard_note; }

int DumpSession::criu_pid() const { return impl_->run->pid(); }

}  // namespace criu
