#include "daemon/live_dump.h"

#include <optional>
#include <utility>

#include "criu/dump_session.h"
#include "daemon/job_folder.h"
#include "machine/init_root.h"

namespace ternd {
namespace {

using base::Code;
using base::Status;

class LiveDump final : public ContentSource {
 public:
  LiveDump(loop::Loop& loop, const Paths& paths, base::Log& log, LiveDumpSpec spec,
           Callbacks callbacks)
      : run_(std::make_shared<Run>(loop, paths, log, std::move(spec), std::move(callbacks))) {
    show_proc(run_);
  }
  ~LiveDump() override {
    run_->callbacks = {};
    run_->gone = true;
    run_->dump.reset();
  }
  void pause() override {
    run_->paused = true;
    if (run_->dump) run_->dump->pause();
  }
  void resume() override {
    run_->paused = false;
    if (run_->dump) run_->dump->resume();
  }
  void cancel() override {
    run_->cancelled = true;
    if (run_->dump) run_->dump->cancel();
  }

 private:
  struct Run {
    Run(loop::Loop& l, const Paths& p, base::Log& g, LiveDumpSpec s, Callbacks c)
        : loop(l), paths(p), log(g), spec(std::move(s)), callbacks(std::move(c)) {}
    loop::Loop& loop;
    const Paths& paths;
    base::Log& log;
    LiveDumpSpec spec;
    Callbacks callbacks;
    std::unique_ptr<criu::DumpSession> dump;
    std::optional<std::uint32_t> left_out;  // the image that does not travel
    bool paused = false;
    bool cancelled = false;
    bool gone = false;  // with its owner, perhaps with the daemon
  };
  using Handle = std::shared_ptr<Run>;

  // CRIU needs a /proc of the job's PID namespace in its init's root folder, before and not after.
  static void show_proc(const Handle& run) {
    auto status = std::make_shared<Status>();
    loop::run_blocking(
        run->loop,
        [status, spec = run->spec] {
          if (!spec.sync.empty()) *status = job_folder::sync_output(spec.sync);
          if (*status && !spec.copy.init_root.empty()) {
            *status = machine::show_proc(spec.copy.init, spec.copy.init_root);
          }
        },
        [run, status] {
          if (run->gone) return;
          if (!*status) return hide_proc(run, *status);
          if (run->cancelled) return hide_proc(run, base::fail(Code::kRefused, "cancelled"));
          start(run);
        });
  }

  static void start(const Handle& run) {
    criu::DumpSpec spec;
    spec.program = run->paths.criu;
    spec.guard = run->paths.guard;
    spec.gentle = run->paths.gentle;
    spec.owner = run->paths.owner();
    spec.pid = run->spec.copy.init.pid;
    spec.uid = run->spec.uid;
    spec.gid = run->spec.gid;
    spec.tcp_close = run->spec.tcp_close;
    spec.job_cgroup = run->spec.copy.cgroup;
    spec.shell_job = run->spec.shell_job;
    spec.run_cgroup = run->paths.criu_cgroup(run->spec.job, run->spec.epoch, run->spec.run);
    auto dump = criu::DumpSession::start(run->loop.raw(), spec, callbacks_for(run));
    if (!dump) return hide_proc(run, dump.error());
    run->dump = std::move(*dump);
    if (run->paused) run->dump->pause();
  }

  static criu::DumpCallbacks callbacks_for(const Handle& run) {
    criu::DumpCallbacks callbacks;
    std::weak_ptr<Run> weak = run;
    callbacks.image = [weak](std::uint32_t index, const std::string& name) {
      auto self = weak.lock();
      if (!self || !self->callbacks.begin) return;
      // CRIU writes one even when it is told to ignore control groups; whoever restores has others.
      if (name == "cgroup.img") {
        self->left_out = index;
        return;
      }
      self->callbacks.begin(index, name);
    };
    callbacks.data = [weak](std::uint32_t index, base::ByteView data) {
      auto self = weak.lock();
      if (!self || self->left_out == index || !self->callbacks.data) return;
      self->callbacks.data(index, data);
    };
    callbacks.image_end = [weak](std::uint32_t index) {
      auto self = weak.lock();
      if (!self || self->left_out == index || !self->callbacks.end) return;
      self->callbacks.end(index);
    };
    callbacks.done = [weak](const base::Result<criu::DumpStats>& stats) {
      if (auto self = weak.lock()) ended(self, stats);
    };
    return callbacks;
  }

  static void ended(const Handle& run, const base::Result<criu::DumpStats>& stats) {
    const std::string& note = run->dump->guard_note();
    if (!note.empty()) {
      run->log.warn("criu_guard", {{"job", run->spec.job.hex()}, {"says", note}});
    }
    const std::string original = stats ? "" : run->dump->original_error();
    if (!original.empty() && !run->cancelled) {
      run->log.warn("criu_dump_failed", {{"job", run->spec.job.hex()}, {"criu", original}});
    }
    run->dump.reset();
    hide_proc(run, stats ? Status() : Status(stats.error()));
  }

  static void hide_proc(const Handle& run, const Status& outcome) {
    auto status = std::make_shared<Status>();
    loop::run_blocking(
        run->loop,
        [status, root = run->spec.copy.init_root] {
          if (!root.empty()) *status = machine::hide_proc(root);
        },
        [run, status, outcome] {
          if (run->gone) return;
          const auto done = std::exchange(run->callbacks, {}).done;
          if (!*status) run->log.warn("proc_stays", {{"why", status->error().detail}});
          done(outcome);
        });
  }

  Handle run_;
};

}  // namespace

std::unique_ptr<ContentSource> start_live_dump(loop::Loop& loop, const Paths& paths, base::Log& log,
                                               LiveDumpSpec spec,
                                               ContentSource::Callbacks callbacks) {
  return std::make_unique<LiveDump>(loop, paths, log, std::move(spec), std::move(callbacks));
}

}  // namespace ternd
