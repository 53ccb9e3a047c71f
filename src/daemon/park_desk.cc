// ParkDesk: parking, and what a restart finds. Waking is in park_wake.cc.
#include "daemon/park_desk.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "daemon/job_folder.h"
#include "daemon/park_task.h"
#include "daemon/retry.h"
#include "machine/cgroup.h"

namespace ternd {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using node::StreamEnds;

namespace {

constexpr std::size_t kQueueMax = 8 << 20;           // bytes that wait for the disk
constexpr std::uint64_t kDiskReserve = 16ULL << 20;  // left to the disk by a parked job
constexpr base::Duration kAgain = std::chrono::seconds(1);
constexpr const char* kStops = "the daemon stops";

std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += (text.empty() ? "" : "; ") + sentence;
  return text;
}

std::string megabytes(std::uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

// What all processes of the job hold.
std::uint64_t memory_of(const std::string& cgroup) {
  auto group = machine::Cgroup::open(cgroup);
  if (!group) return 0;
  auto pids = group->processes();
  if (!pids) return 0;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t sum = 0;
  for (const pid_t pid : *pids) {
    auto text = machine::read_small_file("/proc/" + std::to_string(pid) + "/statm", 4096);
    if (!text) continue;
    const std::size_t space = text->find(' ');  // "size resident ...", in pages
    if (space == std::string::npos) continue;
    sum += std::strtoull(text->c_str() + space, nullptr, 10) * page;
  }
  return sum;
}

// As if nothing became smaller: what a job has in memory is known only when it is too late.
Status room_for(const std::string& dir, std::uint64_t memory) {
  auto free = park_file::free_bytes(dir);
  if (!free) return free.error();
  const std::uint64_t need = memory + kDiskReserve;
  if (*free >= need) return {};
  return fail(Code::kFull, "parking the job may take " + megabytes(need) + " of the disk of " +
                               dir + ", and " + megabytes(*free) +
                               " are free there; make room, or move it: tern migrate");
}

}  // namespace

ParkDesk::ParkDesk(loop::Loop& loop, const Paths& paths, const machine::Helpers& helpers,
                   Copies& copies, PreflightDesk& preflight, base::Log& log, Callbacks callbacks)
    : loop_(loop),
      paths_(paths),
      helpers_(helpers),
      copies_(copies),
      preflight_(preflight),
      log_(log),
      callbacks_(std::move(callbacks)) {}

ParkDesk::~ParkDesk() {
  *alive_ = false;
  // Work off the loop may hold a task for longer.
  for (const auto& [job, task] : tasks_) {
    task->content.reset();
    task->session.reset();
    task->release.reset();
    task->retry.reset();
  }
}

// ---- what both directions use

void ParkDesk::off_loop(const Handle& task, std::function<Status()> work,
                        std::function<void(const Status&)> done) {
  loop::run_blocking(loop_, std::move(work),
                     [task, done = std::move(done), alive = alive_](const Status& status) {
                       if (*alive) done(status);
                     });
}

void ParkDesk::again(const Handle& task, std::function<void()> what) {
  retry_after(loop_, task, kAgain, std::move(what));
}

void ParkDesk::phase(Task& task, const char* name) {
  const base::Time now = loop::Loop::now();
  task.told.phases.emplace_back(name, now - task.phase_began);
  task.phase_began = now;
}

void ParkDesk::over(const Handle& task) {
  tasks_.erase(task->job);
  callbacks_.report(std::move(task->told));
}

ParkDesk::Handle ParkDesk::begin(const base::JobId& job, base::Epoch epoch) {
  if (tasks_.count(job) != 0) return nullptr;
  auto task = std::make_shared<Task>();
  task->job = job;
  task->epoch = epoch;
  task->dir = paths_.job(job);
  task->told.job = job;
  task->phase_began = loop::Loop::now();
  tasks_[job] = task;
  return task;
}

// The node asks once, and only of a job that neither is parked nor woken: it is being looked at.
void ParkDesk::refuse_busy(const base::JobId& job, bool wakes) {
  node::Rested told;
  told.job = job;
  told.wakes = wakes;
  told.reason = "the node has just come back and looks at the job; try again";
  callbacks_.report(std::move(told));
}

// ---- park

void ParkDesk::look(const base::JobId& job, bool tcp_close, PreflightDesk::Then then) {
  const CopyView* copy = copies_.find(job);
  const std::string cgroup = copy != nullptr ? copy->cgroup : "";
  preflight_.look_at_job(job, tcp_close, [this, job, cgroup, then](PreflightDesk::Looked looked) {
    if (!looked.obstacles.empty()) return then(std::move(looked));
    auto answer = std::make_shared<PreflightDesk::Looked>(std::move(looked));
    loop::run_blocking(
        loop_,
        [answer, cgroup, dir = paths_.job(job)] {
          const Status room = room_for(dir, memory_of(cgroup));
          if (!room) answer->obstacles.push_back(room.error().detail);
        },
        [answer, then, alive = alive_] {
          if (*alive) then(std::move(*answer));
        });
  });
}

void ParkDesk::park(const node::jobs::Park& order) {
  const Handle task = begin(order.job, order.epoch);
  if (!task) return refuse_busy(order.job, /*wakes=*/false);
  const auto known = callbacks_.describe(order.job);
  const bool tcp_close = known && known->spec.tcp_close;
  preflight_.look_at_job(order.job, tcp_close, [this, task](const PreflightDesk::Looked& looked) {
    const CopyView* copy = copies_.find(task->job);
    if (!looked.obstacles.empty()) return give_up(task, join(looked.obstacles), true);
    if (copy == nullptr) return give_up(task, "the job has ended");
    task->manifest.requirement = looked.requirement;
    off_loop(
        task,
        [task, cgroup = copy->cgroup]() -> Status {
          task->memory = memory_of(cgroup);
          if (Status room = room_for(task->dir, task->memory); !room) return room;
          auto writer = park_file::Writer::create(task->dir, task->epoch);
          if (!writer) return writer.error();
          task->writer = std::move(*writer);
          return {};
        },
        [this, task](const Status& status) {
          if (!status) return give_up(task, status.error().detail, true);
          phase(*task, "preflight");
          freeze(task);
        });
  });
}

void ParkDesk::freeze(const Handle& task) {
  if (withdrawing_) return give_up(task, kStops);
  task->froze = true;
  copies_.freeze(task->job, [this, task, alive = alive_](const Result<StreamEnds>& ends) {
    if (*alive) dump(task, ends);
  });
}

void ParkDesk::dump(const Handle& task, const Result<StreamEnds>& ends) {
  if (!ends) return give_up(task, "cannot freeze the job: " + ends.error().detail);
  if (withdrawing_) return give_up(task, kStops);
  phase(*task, "freeze");
  task->frozen_at = loop::Loop::now();
  auto metadata = callbacks_.describe(task->job);
  const CopyView* copy = copies_.find(task->job);
  if (!metadata || copy == nullptr) return give_up(task, "the job has ended");
  node::ParkManifest& manifest = task->manifest;
  manifest.metadata = std::move(*metadata);
  manifest.metadata.ends = *ends;
  for (std::size_t s = 0; s < ends->size(); ++s) {
    manifest.metadata.acknowledged[s] =
        std::clamp(manifest.metadata.acknowledged[s], copy->bases[s], (*ends)[s]);
  }
  manifest.metadata.stopped = machine::stopped_members(copy->cgroup);
  if (manifest.metadata.stopped.size() > node::kStoppedMax) {
    return give_up(task, "more stopped processes than a parked job can carry");
  }
  manifest.epoch = task->epoch;
  manifest.since = loop::Loop::wall_now();
  manifest.memory_bytes = static_cast<std::int64_t>(task->memory);
  task->writer->begin(manifest);
  LiveDumpSpec spec;
  spec.job = task->job;
  spec.epoch = task->epoch;
  spec.run = kParkRuns + ++runs_;
  spec.copy = *copy;
  spec.uid = manifest.metadata.spec.uid;
  spec.gid = manifest.metadata.spec.gid;
  spec.sync = task->dir;
  spec.tcp_close = manifest.metadata.spec.tcp_close;
  std::weak_ptr<Task> weak = task;
  ContentSource::Callbacks callbacks;
  callbacks.begin = [this, weak](std::uint32_t image, const std::string& name) {
    auto strong = weak.lock();
    if (!strong) return;
    strong->images.emplace(image, static_cast<std::uint32_t>(strong->images.size()));
    Task* const raw = strong.get();
    take(
        strong, [raw, name] { return raw->writer->encoder().begin(name); }, name.size());
  };
  callbacks.data = [this, weak](std::uint32_t image, base::ByteView bytes) {
    auto strong = weak.lock();
    if (!strong) return;
    Task* const raw = strong.get();
    take(
        strong,
        [raw, at = strong->images.at(image), data = base::to_bytes(bytes)] {
          return raw->writer->encoder().data(at, data);
        },
        bytes.size());
  };
  callbacks.end = [this, weak](std::uint32_t image) {
    auto strong = weak.lock();
    if (!strong) return;
    Task* const raw = strong.get();
    take(
        strong, [raw, at = strong->images.at(image)] { return raw->writer->encoder().end(at); }, 0);
  };
  callbacks.done = [this, weak](const Status& status) {
    if (auto strong = weak.lock()) dumped(strong, status);
  };
  task->content = start_live_dump(loop_, paths_, log_, std::move(spec), std::move(callbacks));
}

// Pieces are packed and written off the loop, in order; CRIU waits while too much waits here.
void ParkDesk::take(const Handle& task, std::function<Status()> piece, std::size_t size) {
  if (!task->failed.empty()) return;
  task->pieces.push_back(std::move(piece));
  task->waiting += size;
  if (task->waiting > kQueueMax && !task->paused && task->content) {
    task->paused = true;
    task->content->pause();
  }
  write(task);
}

void ParkDesk::write(const Handle& task) {
  if (task->writing || task->pieces.empty()) return;
  task->writing = true;
  auto pieces = std::make_shared<std::vector<std::function<Status()>>>();
  pieces->swap(task->pieces);
  task->waiting = 0;
  off_loop(
      task,
      [task, pieces]() -> Status {
        for (const auto& piece : *pieces) {
          if (Status put = piece(); !put) return put;
        }
        return task->writer->flush();
      },
      [this, task](const Status& status) {
        task->writing = false;
        if (!status && task->failed.empty()) return give_up(task, status.error().detail);
        if (!task->failed.empty()) return run_on(task);
        if (std::exchange(task->paused, false) && task->content) task->content->resume();
        if (!task->pieces.empty()) return write(task);
        if (task->dumped) commit(task);
      });
}

void ParkDesk::dumped(const Handle& task, const Status& status) {
  const auto content = std::move(task->content);
  if (!task->failed.empty()) return run_on(task);
  if (!status) return give_up(task, status.error().detail);
  task->dumped = true;
  if (!task->writing && task->pieces.empty()) commit(task);
}

void ParkDesk::commit(const Handle& task) {
  if (withdrawing_) return give_up(task, kStops);
  phase(*task, "write");
  task->writing = true;
  off_loop(
      task, [task] { return task->writer->commit(); },
      [this, task](const Status& status) {
        task->writing = false;
        if (!status) return give_up(task, status.error().detail);
        settle(task);
      });
}

// It has its name. Were it taken back now, a power cut could bring it back beside a job that ran
// on: so the job stands still until the folder is on the disk.
void ParkDesk::settle(const Handle& task) {
  off_loop(
      task, [task] { return task->writer->settle(); },
      [this, task](const Status& status) {
        if (!status) {
          log_.error("park_not_settled",
                     {{"job", task->job.hex()}, {"why", status.error().detail}});
          return again(task, [this, task] { settle(task); });
        }
        phase(*task, "commit");
        end_processes(task);
      });
}

void ParkDesk::end_processes(const Handle& task) {
  copies_.kill(task->job, task->epoch, [this, task, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (!status) {
      log_.error("park_leaves_processes",
                 {{"job", task->job.hex()}, {"why", status.error().detail}});
      return again(task, [this, task] { end_processes(task); });
    }
    phase(*task, "free");
    task->told.ok = true;
    task->told.bytes = task->writer->encoder().bytes();
    task->told.stored_bytes = task->writer->stored_bytes();
    task->told.frozen = loop::Loop::now() - task->frozen_at;
    task->told.facts = facts_of(task->manifest);
    log_.info("parked", {{"job", task->job.hex()},
                         {"epoch", task->epoch.value},
                         {"bytes", task->told.bytes},
                         {"stored", task->told.stored_bytes}});
    over(task);
  });
}

// Before the commit only. The job runs on when nothing of CRIU is left.
void ParkDesk::give_up(const Handle& task, const std::string& reason, bool refused) {
  if (!task->failed.empty()) return;
  task->failed = reason;
  task->told.refused = refused;
  log_.warn("park_failed", {{"job", task->job.hex()}, {"why", reason}});
  if (task->content) return task->content->cancel();  // dumped() follows
  run_on(task);
}

void ParkDesk::run_on(const Handle& task) {
  if (task->content || task->writing) return;  // either comes back here
  task->told.reason = task->failed;
  const auto tidy = [this, task] {
    off_loop(
        task,
        [task] {
          task->writer.reset();
          return park_file::remove_parts(task->dir);
        },
        [this, task](const Status&) { over(task); });
  };
  if (!task->froze) return task->writer ? tidy() : over(task);
  copies_.run_again(task->job, [this, task, tidy, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (status) return tidy();
    log_.error("park_not_thawed", {{"job", task->job.hex()}, {"why", status.error().detail}});
    again(task, [this, task] { run_on(task); });
  });
}

void ParkDesk::withdraw() {
  withdrawing_ = true;
  std::vector<Handle> under_way;
  for (const auto& [job, task] : tasks_) {
    if (task->content) under_way.push_back(task);
  }
  for (const Handle& task : under_way) give_up(task, kStops);
}

std::vector<base::JobId> ParkDesk::parking() const {
  std::vector<base::JobId> jobs;
  for (const auto& [job, task] : tasks_) {
    if (task->froze) jobs.push_back(job);
  }
  return jobs;
}

// ---- a parked job ends by a person's word

void ParkDesk::remove(const node::jobs::Remove& order) {
  const Handle task = begin(order.job, order.epoch);
  if (!task) return;
  auto ends = std::make_shared<StreamEnds>();
  const auto work = [task, ends]() -> Status {
    *ends = job_folder::ends(task->dir);
    return park_file::remove(task->dir, task->epoch);
  };
  const auto done = [this, task, ends, order](const Status& status) {
    tasks_.erase(task->job);
    if (status) return callbacks_.ended(task->job, order.wait_status, *ends);
    log_.error("park_not_removed", {{"job", task->job.hex()}, {"why", status.error().detail}});
    again(task, [this, task, order] { remove(order); });
  };
  off_loop(task, work, done);
}

// ---- a restart

void ParkDesk::attend(const node::JobSpec& spec, base::Epoch epoch) {
  const Handle task = begin(spec.id, epoch);
  if (!task) return;
  auto state = std::make_shared<park_file::State>();
  const auto look = [task, state]() -> Status {
    auto seen = park_file::look(task->dir, task->epoch);
    if (!seen) return seen.error();
    *state = *seen;
    if (!state->parked) return {};
    // What is acted on must be on the disk: who gave it its name may not have come to that.
    if (Status synced = job_folder::sync_folder(task->dir); !synced) return synced;
    auto manifest = park_file::read_manifest(park_file::path(task->dir, *state->parked));
    if (manifest) task->manifest = std::move(*manifest);
    return {};
  };
  off_loop(task, look, [this, task, state, spec, epoch](const Status& status) {
    if (!status) {
      log_.error("folder_not_read", {{"job", task->job.hex()}, {"why", status.error().detail}});
      tasks_.erase(task->job);
      return again(task, [this, task, spec, epoch] { attend(spec, epoch); });
    }
    if (state->parked) task->epoch = *state->parked;
    if (state->parked && state->woken) return resume_wake(task, spec, epoch);
    if (state->parked) return found_parked(task, epoch);
    copies_.attend(spec, epoch, state->missing);
    state->parking ? end_part(task) : (void)tasks_.erase(task->job);
  });
}

// A park was broken off, and the job may stand still for it; if it does for a handover, it goes on
// standing.
void ParkDesk::end_part(const Handle& task) {
  const auto tidy = [task] { return park_file::remove_parts(task->dir); };
  const auto tidied = [this, task](const Status& status) {
    if (status) return (void)tasks_.erase(task->job);
    log_.error("park_not_tidied", {{"job", task->job.hex()}, {"why", status.error().detail}});
    again(task, [this, task] { end_part(task); });
  };
  if (callbacks_.in_handover(task->job)) return off_loop(task, tidy, tidied);
  copies_.run_again(task->job, [this, task, tidy, tidied, alive = alive_](const Status& ran) {
    if (!*alive) return;
    ran ? off_loop(task, tidy, tidied) : tidied(ran);
  });
}

void ParkDesk::found_parked(const Handle& task, base::Epoch epoch) {
  copies_.kill(task->job, epoch, [this, task, epoch, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (!status) {
      log_.error("park_leaves_processes",
                 {{"job", task->job.hex()}, {"why", status.error().detail}});
      return again(task, [this, task, epoch] { found_parked(task, epoch); });
    }
    task->told.ok = task->told.found = true;
    task->told.facts = facts_of(task->manifest);
    over(task);
  });
}

}  // namespace ternd
