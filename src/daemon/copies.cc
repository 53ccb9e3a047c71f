#include "daemon/copies.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "daemon/copies_internal.h"
#include "daemon/held_launch.h"
#include "daemon/job_folder.h"
#include "daemon/retry.h"
#include "machine/init_root.h"
#include "machine/job_process.h"

namespace ternd {
namespace {

using base::Code;
using base::Epoch;
using base::fail;
using base::JobId;
using base::Result;
using base::Status;
using machine::Cgroup;
using node::StreamEnds;

constexpr base::Duration kKeeperRetry = std::chrono::seconds(1);

// The caller watches it.
template <typename Copy>
bool reach_keeper(Copy& copy) {
  auto client = machine::KeeperClient::connect(copy.dir);  // never waits
  if (!client) return false;
  copy.drop_keeper();  // its poll goes before its descriptor does
  copy.keeper.emplace(std::move(*client));
  return true;
}

}  // namespace

Copies::Copies(loop::Loop& loop, const Paths& paths, machine::Helpers helpers, base::Log& log,
               std::uint64_t output_limit, Callbacks callbacks)
    : loop_(loop),
      paths_(paths),
      helpers_(std::move(helpers)),
      log_(log),
      output_limit_(output_limit),
      callbacks_(std::move(callbacks)),
      watch_(loop, [this] {
        watch_.start(kKeeperAsk);
        look_after(loop::Loop::now());
      }) {
  watch_.start(kKeeperAsk);
  auto keepers = Cgroup::open_or_create(paths_.keepers_cgroup());
  if (keepers) keepers_ = std::move(*keepers);
}

Copies::~Copies() {
  *alive_ = false;
  // Work off the loop may hold a copy for longer, and a retry holds its own.
  for (const auto& [job, copy] : copies_) {
    copy->retry.reset();
    copy->keeper_poll.reset();
  }
}

std::shared_ptr<Copies::Copy> Copies::get(const JobId& job) const {
  const auto it = copies_.find(job);
  return it == copies_.end() ? nullptr : it->second;
}

const CopyView* Copies::find(const JobId& job) const {
  const auto it = copies_.find(job);
  return it == copies_.end() ? nullptr : &it->second->view;
}

std::vector<CopyView> Copies::all() const {
  std::vector<CopyView> views;
  for (const auto& [job, copy] : copies_) views.push_back(copy->view);
  return views;
}

void Copies::take(Copy& copy, Found& found) {
  copy.view = found.view;
  copy.view.bases = found.bases;
  copy.bases = found.bases;
  copy.born = found.view.born;
  copy.cgroup = std::move(found.cgroup);
}

// ---- one operation after another. The keeper's socket belongs to the operation while one runs.

void Copies::enqueue(const std::shared_ptr<Copy>& copy, const char* what, Work work, Done done) {
  copy->queue.push_back({what, std::move(work), std::move(done)});
  run_next(copy);
}

void Copies::run_next(const std::shared_ptr<Copy>& copy) {
  if (copy->busy || copy->queue.empty()) return;
  copy->busy = true;
  Copy::Operation next = std::move(copy->queue.front());
  copy->queue.pop_front();
  copy->doing = next.what;
  copy->began = loop::Loop::now();
  copy->keeper_poll.reset();
  loop::run_blocking(
      loop_, std::move(next.work),
      [this, copy, done = std::move(next.done), alive = alive_](const Status& outcome) {
        if (!*alive) return;
        copy->busy = false;
        if (done) done(outcome);
        if (!*alive) return;
        run_next(copy);
        if (!copy->busy && copy->keeper && !copy->keeper_poll) watch_keeper(copy);
      });
}

// ---- beginnings

void Copies::launch(const node::JobSpec& spec, Epoch epoch, Start how,
                    std::function<void(Result<machine::ProcessName>)> done) {
  auto copy = std::make_shared<Copy>();
  copy->limits = &paths_.limits;
  copy->job = spec.id;
  copy->born = epoch;
  copy->dir = paths_.job(spec.id);
  copies_[spec.id] = copy;
  machine::JobSpec start =
      start_of(spec, {how.umask, std::move(how.env)}, helpers_, paths_.init_root(spec.id));
  start.input = how.input;
  const std::string cgroup_path = paths_.job_cgroup(spec.id, epoch);
  auto found = std::make_shared<Found>();
  auto work = [this, roots = roots_, children = children_, dir = copy->dir, job = spec.id, epoch,
               start, cgroup_path, found]() -> Status {
    if (Status made = job_folder::make(dir); !made) return made;
    if (Status made = roots->claim(job, epoch, start.init_root); !made) return made;
    auto group = Cgroup::create(cgroup_path);
    if (!group) return group.error();
    auto started = machine::start_job(start, *group);
    if (!started) {
      (void)group->remove().ok();
      roots->drop(job, epoch, start.init_root);
      return started.error();
    }
    found->view = {job,   epoch, cgroup_path, started->init, start.init_root, false,
                   false, 0,     {},          false};
    found->cgroup = std::move(*group);
    children->add(std::move(started->process));
    Status keeper = machine::start_keeper(keeper_spec(dir, *found), kPatience);
    if (!keeper) {
      (void)found->cgroup->kill_all(kPatience).ok();
      roots->drop(job, epoch, start.init_root);
    }
    return keeper;
  };
  enqueue(copy, "start", work, [this, copy, found, done = std::move(done)](const Status& status) {
    take(*copy, *found);
    if (!status) {
      copy->gone = true;
      copies_.erase(copy->job);
      return done(status.error());
    }
    connect_keeper(copy);
    done(copy->view.init);
  });
}

void Copies::attend(const node::JobSpec& spec, Epoch epoch, const std::string& missing) {
  if (copies_.count(spec.id) != 0) return;
  auto copy = std::make_shared<Copy>();
  copy->limits = &paths_.limits;
  copy->job = spec.id;
  copy->dir = paths_.job(spec.id);
  copy->missing = missing;
  copies_[spec.id] = copy;
  look_for(copy, epoch);
}

void Copies::look_for(const std::shared_ptr<Copy>& copy, Epoch newest) {
  auto found = std::make_shared<Found>();
  auto work = [this, dir = copy->dir, job = copy->job, newest, found]() -> Status {
    auto born = find_copies(paths_.cgroup, job, newest);
    if (!born) return born.error();
    if (born->empty()) {
      read_end(dir, *found);
      return fail(Code::kNotFound, "no process of the job is left");
    }
    Status opened = open_copy(dir, job, born->back(), *found);
    if (!opened && !found->cgroup) read_end(dir, *found);
    return opened;
  };
  enqueue(copy, "look for", work, [this, copy, newest, found](const Status& status) {
    if (copy->gone) return;
    take(*copy, *found);
    if (status) return connect_keeper(copy);
    log_.warn("job_not_attended", {{"job", copy->job.hex()}, {"why", status.error().detail}});
    if (copy->cgroup) return replace_keeper(copy);  // it runs; only its output waits
    if (status.error().code != Code::kNotFound) {
      return retry_after(loop_, copy, kKeeperRetry, [this, copy, newest] {
        if (!copy->gone) look_for(copy, newest);
      });
    }
    ended_unseen(copy, *found);
  });
}

// Off the loop.
void Copies::read_end(const std::string& dir, Found& found) {
  auto exit = machine::read_exit(dir);
  if (exit) found.exit = *exit;
  found.ends = job_folder::ends(dir);
}

void Copies::ended_unseen(const std::shared_ptr<Copy>& copy, const Found& found) {
  if (found.exit) {
    return end(copy, found.exit->wait_status, {found.exit->stdout_end, found.exit->stderr_end});
  }
  if (copy->missing.empty()) return end(copy, SIGKILL, found.ends);
  leave(copy,
        [this, copy, ends = found.ends] { callbacks_.vanished(copy->job, copy->missing, ends); });
}

void Copies::settle(const JobId& job, Epoch epoch, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return settle_fresh(job, epoch, std::move(done));
  // After a restart attend() is at it already, and may have paused its keeper.
  enqueue(
      copy, "settle", [] { return Status(); },
      [this, copy, job, epoch, done = std::move(done)](const Status&) {
        const bool same = get(job) == copy && !copy->gone && copy->cgroup && copy->born == epoch;
        if (!same) return settle_fresh(job, epoch, done);
        resume(copy, done);
      });
}

void Copies::settle_fresh(const JobId& job, Epoch epoch, Done done) {
  auto copy = std::make_shared<Copy>();
  copy->limits = &paths_.limits;
  copy->job = job;
  copy->born = epoch;
  copy->dir = paths_.job(job);
  copies_[job] = copy;
  auto found = std::make_shared<Found>();
  auto work = [this, dir = copy->dir, job, epoch, found]() -> Status {
    Status opened = open_copy(dir, job, epoch, *found);
    if (!opened && !found->cgroup) read_end(dir, *found);
    return opened;
  };
  enqueue(copy, "settle", work, [this, copy, found, done = std::move(done)](const Status& status) {
    const Epoch asked = copy->born;
    take(*copy, *found);
    copy->born = asked;
    if (status) return resume(copy, done);
    if (copy->cgroup) {
      replace_keeper(copy);  // it runs; only its output waits
    } else if (status.error().code != Code::kNotFound) {
      look_for(copy, asked);
    } else {
      end(copy, found->exit ? found->exit->wait_status : SIGKILL, found->ends);
    }
    done({});
  });
}

// It was let go: whatever paused its keeper is over.
void Copies::resume(const std::shared_ptr<Copy>& copy, Done done) {
  auto work = [copy]() -> Status { return run_on(*copy); };
  enqueue(copy, "resume", work, [this, copy, done = std::move(done)](const Status& status) {
    if (!status) log_.error("copy_not_resumed", {{"why", status.error().detail}});
    copy->view.frozen = false;
    copy->drop_keeper();
    connect_keeper(copy);
    done({});
  });
}

// Off the loop: the keeper reads again, the processes run.
Status Copies::run_on(Copy& copy) {
  if (!copy.keeper) {
    auto client = machine::KeeperClient::connect(copy.dir);
    if (client) copy.keeper.emplace(std::move(*client));
  }
  if (copy.keeper && !copy.keeper->call(init::Op::kResume, kPatience)) copy.keeper.reset();
  if (copy.limit_micros != 0) {
    const Status set = machine::limit_cpu(*copy.limits, *copy.cgroup, copy.dir, copy.limit_micros);
    if (!set) copy.limit_trouble = set.error().detail;
  }
  if (!copy.view.paused) return copy.cgroup->thaw(kPatience);
  return job_folder::mark_paused(copy.dir, copy.born, false);
}

// ---- keepers

machine::KeeperSpec Copies::keeper_spec(const std::string& dir, const Found& found) const {
  machine::KeeperSpec spec;
  spec.keeper_path = helpers_.keeper_path;
  spec.job_dir = dir;
  spec.init = found.view.init;
  spec.stdout_base = found.bases[0];
  spec.stderr_base = found.bases[1];
  spec.paused = found.view.frozen;
  spec.limit = output_limit_;
  spec.cgroup = keepers_ ? &*keepers_ : nullptr;
  return spec;
}

// Off the loop: a copy that is there, with a keeper that is paused while it is frozen.
Status Copies::open_copy(const std::string& dir, const JobId& job, Epoch born, Found& found) const {
  auto group = Cgroup::open(paths_.job_cgroup(job, born));
  if (!group) return group.error();
  auto init = machine::find_init(*group);
  if (!init) return init.error();
  auto events = group->events();
  const std::string root = paths_.init_root(job);
  if (!root.empty()) (void)machine::hide_proc(root).ok();  // of a dump that a crash broke off
  const std::optional<bool> paused = job_folder::is_paused(dir, born);
  const bool frozen = events && events->frozen && paused.value_or(true);
  found.view = {job, born, group->path(), *init, root, frozen, false, 0, {}, paused.has_value()};
  found.bases = job_folder::bases(dir);
  found.cgroup = std::move(*group);
  Status started = machine::start_keeper(keeper_spec(dir, found), kPatience);
  if (!started && started.error().code == Code::kExists) return {};
  return started;
}

void Copies::connect_keeper(const std::shared_ptr<Copy>& copy) {
  if (copy->gone) return;
  if (!reach_keeper(*copy)) return keeper_lost(copy);
  if (!copy->busy) watch_keeper(copy);
}

void Copies::watch_keeper(const std::shared_ptr<Copy>& copy) {
  std::weak_ptr<Copy> weak = copy;
  copy->keeper_poll = std::make_unique<loop::Poll>(loop_, copy->keeper->fd(), [this, weak](int) {
    if (auto strong = weak.lock()) on_keeper(strong);
  });
  copy->keeper_poll->set(loop::Poll::kReadable);
  // An operation that waited for its own reply has passed over what was said of growth.
  ask_keeper(copy, loop::Loop::now());
  on_keeper(copy);  // what an operation left in the client is not seen by the poll
}

void Copies::on_keeper(const std::shared_ptr<Copy>& copy) {
  // What is told of may begin an operation, whose the socket is from then on.
  while (copy->keeper && !copy->gone && !copy->busy) {
    auto message = copy->keeper->next();
    if (!message) return keeper_lost(copy);
    if (!*message) return;
    copy->heard = loop::Loop::now();
    copy->asked.reset();
    const init::Message& said = **message;
    copy->ends = {said.stdout_end, said.stderr_end};
    if (said.kind == init::MessageKind::kExited || (said.flags & init::kFlagExited) != 0) {
      return end(copy, said.wait_status, copy->ends);
    }
    // Whoever let the copy go on did not reach it: its disk was slow, or it was just replaced.
    if ((said.flags & init::kFlagPaused) != 0 && !copy->view.frozen) {
      (void)copy->keeper->send(init::Op::kResume).ok();
    }
    tell_trouble(*copy, said);
    callbacks_.grew(copy->job, copy->bases, copy->ends);
  }
}

// Once for each trouble. At the limit it is none before it lasts: room is made all the time.
void Copies::tell_trouble(Copy& copy, const init::Message& said) {
  const bool failed = (said.flags & init::kFlagStoreFailed) != 0;
  if (!failed || said.store_errno != copy.store_errno) copy.store_failures = 0;
  copy.store_errno = failed ? said.store_errno : 0;
  if (said.kind != init::MessageKind::kDiskFull) return;
  const bool limit = said.store_errno == init::kAtLimit;
  if (++copy.store_failures != (limit ? kAtLimitSaid : 1)) return;
  callbacks_.trouble(copy.job, limit ? "it waits: its output is at the limit (see: tern config, "
                                       "output-limit), and whoever reads it has not yet caught up"
                                     : std::string("its output cannot be stored, so it waits: ") +
                                           std::strerror(said.store_errno));
}

void Copies::keeper_lost(const std::shared_ptr<Copy>& copy) {
  copy->drop_keeper();
  if (copy->gone) return;
  auto found = std::make_shared<Found>();
  const auto look = [dir = copy->dir, found]() -> Status {
    read_end(dir, *found);
    return {};
  };
  enqueue(copy, "look for its end", look, [this, copy, found](const Status&) {
    if (copy->gone || copy->keeper) return;
    if (found->exit) return ended_unseen(copy, *found);
    log_.warn("keeper_lost", {{"job", copy->job.hex()}});
    replace_keeper(copy);
  });
}

void Copies::replace_keeper(const std::shared_ptr<Copy>& copy) {
  // Whether it begins paused is known when its turn comes: the copy may be thawed before that.
  auto work = [this, copy]() -> Status {
    Found found;
    found.view = copy->view;
    found.bases = copy->bases;
    Status started = machine::start_keeper(keeper_spec(copy->dir, found), kPatience);
    if (!started && started.error().code == Code::kExists) return {};
    return started;
  };
  enqueue(copy, "keeper", work, [this, copy](const Status& status) {
    if (copy->gone) return;
    // One that is there may be taking no connections: its disk is slow.
    if (status && reach_keeper(*copy)) return;
    if (!status) {
      log_.error("keeper_cannot_start", {{"job", copy->job.hex()}, {"why", status.error().detail}});
    }
    retry_after(loop_, copy, kKeeperRetry, [this, copy] {
      if (!copy->gone) replace_keeper(copy);
    });
  });
}

void Copies::end(const std::shared_ptr<Copy>& copy, std::int32_t wait_status, StreamEnds ends) {
  leave(copy, [this, copy, wait_status, ends] { callbacks_.ended(copy->job, wait_status, ends); });
}

void Copies::leave(const std::shared_ptr<Copy>& copy, std::function<void()> tell) {
  if (copy->gone) return;
  copy->gone = true;
  copy->view.ended = true;
  auto work = [copy, roots = roots_, root = paths_.init_root(copy->job)]() -> Status {
    if (copy->keeper) (void)copy->keeper->call(init::Op::kAcknowledgeExit, kPatience).ok();
    if (copy->cgroup) {
      (void)copy->cgroup->kill_all(kPatience).ok();
      (void)copy->cgroup->remove().ok();
    }
    machine::remove_unused_limits(*copy->limits, Paths::job_groups(copy->job));
    job_folder::unmark_paused(copy->dir, copy->born);
    roots->drop(copy->job, copy->born, root);
    return {};
  };
  copy->keeper_poll.reset();
  enqueue(copy, "end", work, [this, copy, tell = std::move(tell)](const Status&) {
    copy->drop_keeper();
    const auto it = copies_.find(copy->job);
    if (it != copies_.end() && it->second == copy) copies_.erase(it);
    tell();
    if (copy->forget) forget(copy->job);
  });
}

}  // namespace ternd
