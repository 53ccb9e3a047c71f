// ParkDesk: waking.
#include <unistd.h>

#include <utility>

#include "daemon/held_launch.h"
#include "daemon/image_admission.h"
#include "daemon/job_folder.h"
#include "daemon/park_task.h"
#include "machine/cgroup.h"
#include "machine/keeper_client.h"
#include "machine/memory_room.h"
#include "node/limits.h"

namespace ternd {

using base::Code;
using base::fail;
using base::Result;
using base::Status;

namespace {

Status output_is_whole(const std::string& dir, const node::MoveMetadata& metadata) {
  if (metadata.queued) return {};
  // No keeper would take the folder. Without the file the output begins at 0.
  if (::access((dir + "/bases").c_str(), F_OK) == 0 && !machine::read_bases(dir)) {
    return fail(Code::kInvalid, "the file 'bases' in the job's folder is damaged");
  }
  if (job_folder::ends(dir) == metadata.ends) return {};
  return fail(Code::kInvalid,
              "the job's stored output does not end where it ended when the job was parked");
}

}  // namespace

void ParkDesk::wake(const node::jobs::Wake& order) {
  const Handle task = begin(order.job, order.epoch);
  if (!task) return refuse_busy(order.job, /*wakes=*/true);
  task->told.wakes = true;
  // Nothing of it is alive; but an empty cgroup of an earlier attempt may be left.
  copies_.kill(task->job, order.epoch, [this, task, alive = alive_](const Status& status) {
    if (!*alive) return;
    status ? load(task) : stay(task, status.error().detail);
  });
}

void ParkDesk::load(const Handle& task) {
  const std::uint64_t room = machine::memory_room(callbacks_.memory_available());
  const auto work = [loop = &loop_, task, room, roots = copies_.roots(),
                     root = paths_.init_root(task->job)]() -> Status {
    auto state = park_file::look(task->dir, task->epoch);
    if (!state) return state.error();
    if (!state->parked) return fail(Code::kNotFound, "the parked job's file is not there");
    task->epoch = *state->parked;
    const std::string path = park_file::path(task->dir, task->epoch);
    auto loaded = park_file::load(path, room, kParkedPagesMax);
    if (!loaded) return loaded.error();
    task->manifest = std::move(loaded->manifest);
    if (task->manifest.metadata.spec.id != task->job) {
      return fail(Code::kInvalid, "the parked job's file is of another job");
    }
    task->told.bytes = loaded->bytes;
    task->told.stored_bytes = loaded->stored_bytes;
    if (Status whole = output_is_whole(task->dir, task->manifest.metadata); !whole) return whole;
    task->source = std::make_shared<ParkedImages>(*loop, path, std::move(loaded->images),
                                                  std::move(loaded->not_kept));
    if (!task->manifest.metadata.queued) fit_here(task->source->images());
    return roots->claim(task->job, task->epoch, root);
  };
  off_loop(task, work, [this, task](const Status& status) {
    if (!status) return stay(task, status.error().detail);
    phase(*task, "read");
    restore(task);
  });
}

void ParkDesk::restore(const Handle& task) {
  const std::string cgroup = paths_.job_cgroup(task->job, task->epoch);
  if (task->manifest.metadata.queued) {
    const auto launch = [task, cgroup, children = copies_.children(), this]() -> Status {
      auto plan = plan_of(task->source->images());
      if (!plan) return plan.error();
      if (Status made = job_folder::make(task->dir); !made) return made;
      return launch_held(
          start_of(task->manifest.metadata.spec, *plan, helpers_, paths_.init_root(task->job)),
          cgroup, *children);
    };
    return off_loop(task, launch, [this, task](const Status& status) {
      status ? held(task) : stay(task, status.error().detail);
    });
  }
  criu::RestoreSpec spec;
  spec.program = paths_.criu;
  spec.owner = paths_.owner();
  spec.job_cgroup = cgroup;
  std::weak_ptr<Task> weak = task;
  auto session = criu::RestoreSession::start(
      loop_.raw(), spec, *task->source, [this, weak](const Result<criu::HeldCopy>& copy) {
        auto strong = weak.lock();
        if (!strong) return;
        if (copy) return held(strong);
        const std::string original = strong->session->original_error();
        if (!original.empty()) {
          log_.warn("criu_restore_failed", {{"job", strong->job.hex()}, {"criu", original}});
        }
        stay(strong, copy.error().detail);
      });
  if (!session) return stay(task, session.error().detail);
  task->session = std::move(*session);
}

void ParkDesk::held(const Handle& task) {
  phase(*task, task->manifest.metadata.queued ? "launch" : "restore");
  mark(task);
}

void ParkDesk::mark(const Handle& task) {
  auto marked = std::make_shared<bool>(false);
  const auto work = [task, marked]() -> Status {
    Status status = park_file::mark_woken(task->dir, task->epoch);
    if (status) return status;
    auto seen = park_file::look(task->dir, task->epoch);
    *marked = !seen || seen->woken;
    return status;
  };
  off_loop(task, work, [this, task, marked](const Status& status) {
    task->session.reset();  // a held copy stays held
    task->source.reset();
    // It may have its name: were the copy given up now, a restart would think that it ran.
    if (!status && *marked) {
      log_.error("wake_not_marked", {{"job", task->job.hex()}, {"why", status.error().detail}});
      return again(task, [this, task] { mark(task); });
    }
    if (!status) return stay(task, status.error().detail);
    phase(*task, "commit");
    let_go(task);
  });
}

// From here on it may have run.
void ParkDesk::let_go(const Handle& task) {
  const std::vector<pid_t> stopped(task->manifest.metadata.stopped.begin(),
                                   task->manifest.metadata.stopped.end());
  task->release = criu::release_copy(
      loop_.raw(), paths_.job_cgroup(task->job, task->epoch), stopped,
      [this, task, alive = alive_](const Status& status) {
        if (!*alive) return;
        // kNotFound: it ran, ended and is gone.
        if (!status && status.error().code != Code::kNotFound) {
          log_.error("wake_incomplete", {{"job", task->job.hex()}, {"why", status.error().detail}});
          return again(task, [this, task] { let_go(task); });
        }
        copies_.settle(task->job, task->epoch, [this, task, alive](const Status&) {
          if (*alive) clean(task);
        });
      });
}

void ParkDesk::clean(const Handle& task) {
  off_loop(
      task, [task] { return park_file::remove(task->dir, task->epoch); },
      [this, task](const Status& status) {
        if (!status) {  // in nobody's way: the mark is there
          log_.warn("parked_file_stays",
                    {{"job", task->job.hex()}, {"why", status.error().detail}});
        }
        phase(*task, "resume");
        const CopyView* copy = copies_.find(task->job);
        task->told.ok = true;
        task->told.pid = copy != nullptr ? copy->init.pid : 0;
        log_.info("woken", {{"job", task->job.hex()}, {"epoch", task->epoch.value}});
        over(task);
      });
}

// Before the mark only.
void ParkDesk::stay(const Handle& task, const std::string& reason) {
  log_.warn("wake_failed", {{"job", task->job.hex()}, {"why", reason}});
  task->told.reason = reason;
  task->session.reset();
  const std::string cgroup = paths_.job_cgroup(task->job, task->epoch);
  task->release =
      criu::discard_copy(loop_.raw(), cgroup, [this, task, alive = alive_](const Status& status) {
        if (!*alive) return;
        if (!status) {
          log_.error("discard_failed", {{"job", task->job.hex()}, {"why", status.error().detail}});
          return again(task, [this, task] { stay(task, task->told.reason); });
        }
        off_loop(
            task,
            [task, roots = copies_.roots(), root = paths_.init_root(task->job)]() -> Status {
              roots->drop(task->job, task->epoch, root);
              return {};
            },
            [this, task](const Status&) { over(task); });
      });
}

// The mark is there: the copy is let go, if it is there still; if not, it ran and ended.
void ParkDesk::resume_wake(const Handle& task, const node::JobSpec& spec, base::Epoch epoch) {
  const auto attend = [this, task, spec, epoch] {
    off_loop(
        task, [task] { return park_file::remove(task->dir, task->epoch); },
        [this, task, spec, epoch](const Status&) {
          tasks_.erase(task->job);
          copies_.attend(spec, epoch);
        });
  };
  const std::vector<pid_t> stopped(task->manifest.metadata.stopped.begin(),
                                   task->manifest.metadata.stopped.end());
  task->release = criu::release_copy(
      loop_.raw(), paths_.job_cgroup(task->job, task->epoch), stopped,
      [this, task, attend, spec, epoch, alive = alive_](const Status& status) {
        if (!*alive) return;
        if (status || status.error().code == Code::kNotFound) return attend();
        log_.error("wake_incomplete", {{"job", task->job.hex()}, {"why", status.error().detail}});
        again(task, [this, task, spec, epoch] { resume_wake(task, spec, epoch); });
      });
}

// ---- what a handover of it asks

void ParkDesk::find(const base::JobId& job, base::Epoch newest,
                    std::function<void(Result<std::optional<Parked>>)> then) {
  auto found = std::make_shared<Result<std::optional<Parked>>>(std::optional<Parked>());
  loop::run_blocking(
      loop_,
      [found, dir = paths_.job(job), newest] {
        auto state = park_file::look(dir, newest);
        if (!state) {
          *found = state.error();
          return;
        }
        if (!state->parked || state->woken) return;
        const std::string file = park_file::path(dir, *state->parked);
        auto manifest = park_file::read_manifest(file);
        if (!manifest) {
          *found = manifest.error();
          return;
        }
        *found = std::optional<Parked>(Parked{std::move(*manifest), file});
      },
      [found, then = std::move(then), alive = alive_] {
        if (*alive) then(std::move(*found));
      });
}

void ParkDesk::collect(const balance::CollectRequirement& order, PreflightDesk::Report report) {
  find(order.id.job, order.id.epoch,
       [id = order.id, report = std::move(report)](const Result<std::optional<Parked>>& found) {
         balance::RequirementCollected answer;
         answer.id = id;
         answer.ok = found && *found;
         if (answer.ok) answer.requirement = (*found)->manifest.requirement;
         if (!answer.ok) answer.reason = found ? "the job is not parked" : found.error().detail;
         report(answer);
       });
}

void ParkDesk::queue(const node::JobSpec& spec, const node::LaunchPlan& plan,
                     std::function<void(Result<node::jobs::ParkedFacts>)> then) {
  node::ParkManifest manifest;
  manifest.metadata.spec = spec;
  manifest.metadata.spec.load_micros = node::kNewJobLoad;
  manifest.metadata.queued = true;
  manifest.epoch = base::Epoch{1};
  manifest.since = loop::Loop::wall_now();
  auto write = [manifest, plan, dir = paths_.job(spec.id)]() mutable -> Status {
    auto needs = needs_to_start(manifest.metadata.spec, plan);
    if (!needs) return needs.error();
    manifest.requirement = std::move(*needs);
    const base::Bytes launch = node::encode(plan);
    if (launch.size() > node::kLaunchSizeMax) {
      return fail(Code::kTooLarge, "its environment is too large for a job that waits");
    }
    if (Status made = job_folder::make(dir); !made) return made;
    const std::string jobs = dir.substr(0, dir.rfind('/'));
    if (Status synced = job_folder::sync_folder(jobs); !synced) return synced;
    auto writer = park_file::Writer::create(dir, manifest.epoch);
    if (!writer) return writer.error();
    (*writer)->begin(manifest);
    ParkEncoder& encoder = (*writer)->encoder();
    if (Status put = encoder.begin(node::kLaunchImage); !put) return put;
    if (Status put = encoder.data(0, launch); !put) return put;
    if (Status put = encoder.end(0); !put) return put;
    if (Status committed = (*writer)->commit(); !committed) return committed;
    return (*writer)->settle();
  };
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_, [write, status]() mutable { *status = write(); },
      [status, facts = facts_of(manifest), then = std::move(then), alive = alive_] {
        if (!*alive) return;
        then(*status ? Result<node::jobs::ParkedFacts>(facts)
                     : Result<node::jobs::ParkedFacts>(status->error()));
      });
}

}  // namespace ternd
