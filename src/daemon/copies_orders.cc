// Copies: what handovers and people ask of one, and the spools.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>

#include "daemon/copies_internal.h"
#include "daemon/job_folder.h"

namespace ternd {

using base::Code;
using base::Epoch;
using base::fail;
using base::JobId;
using base::Result;
using base::Status;
using machine::Cgroup;
using node::StreamEnds;

Result<std::vector<Epoch>> find_copies(const std::string& root, const JobId& job, Epoch newest,
                                       bool empty) {
  const std::string prefix = "job-" + job.hex() + "-e";
  std::vector<Epoch> found;
  std::error_code error;
  std::filesystem::directory_iterator entry(root, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind(prefix, 0) != 0) continue;
    const Epoch epoch{std::strtoull(name.c_str() + prefix.size(), nullptr, 10)};
    if (epoch > newest) continue;
    auto group = Cgroup::open(entry->path().string());
    if (!group && group.error().code == Code::kNotFound) continue;
    if (!group) return group.error();
    auto events = group->events();
    if (!events) return events.error();
    if (events->populated || empty) found.push_back(epoch);
  }
  if (error) return fail(Code::kIo, "cannot list " + root + ": " + error.message());
  std::sort(found.begin(), found.end());
  return found;
}

Status kill_copies(const std::string& root, const JobId& job, Epoch newest) {
  auto found = find_copies(root, job, newest, true);
  if (!found) return found.error();
  for (const Epoch epoch : *found) {
    auto group = Cgroup::open(root + "/job-" + job.hex() + "-e" + std::to_string(epoch.value));
    if (!group && group.error().code == Code::kNotFound) continue;
    if (!group) return group.error();
    if (Status killed = group->kill_all(kPatience); !killed) return killed;
    (void)group->remove().ok();
  }
  return {};
}

// ---- handovers and people

void Copies::freeze(const JobId& job, std::function<void(Result<StreamEnds>)> done) {
  auto copy = get(job);
  if (!copy || copy->gone) return done(fail(Code::kNotFound, "the job has ended"));
  auto ends = std::make_shared<StreamEnds>();
  auto work = [copy, ends]() -> Status {
    if (!copy->cgroup) return fail(Code::kNotFound, "the job has ended");
    if (Status frozen = copy->cgroup->freeze_for_dump(kPatience); !frozen) {
      (void)copy->cgroup->thaw(kPatience).ok();
      return frozen;
    }
    // A keeper that died meanwhile is replaced by a paused one.
    for (int attempt = 0; attempt < 3; ++attempt) {
      if (!copy->keeper) {
        auto client = machine::KeeperClient::connect(copy->dir);
        if (client) copy->keeper.emplace(std::move(*client));
      }
      if (copy->keeper) {
        auto reply = copy->keeper->call(init::Op::kPause, kPatience);
        if (reply) {
          *ends = {reply->stdout_end, reply->stderr_end};
          return {};
        }
        copy->keeper.reset();
      }
    }
    return fail(Code::kIo, "the job's keeper does not answer");
  };
  enqueue(copy, work, [this, copy, ends, done = std::move(done)](const Status& status) {
    if (!status) {
      // Not frozen for long: the caller thaws.
      copy->drop_keeper();
      keeper_lost(copy);
      return done(status.error());
    }
    copy->view.frozen = true;
    copy->ends = *ends;
    // What the keeper took in last counts before the job leaves: a guest's output begins where
    // home's ends.
    callbacks_.grew(copy->job, copy->bases, copy->ends);
    done(*ends);
  });
}

void Copies::thaw(const JobId& job, Epoch handover, std::function<void(Result<bool>)> done) {
  auto ran = std::make_shared<bool>(false);
  auto copy = get(job);
  // Stored before the first instruction: without the mark it certainly did not run on.
  auto gone = [ran, dir = paths_.job(job), root = paths_.cgroup, job, handover]() -> Status {
    auto left = find_copies(root, job, handover);
    if (!left) return left.error();
    if (!left->empty()) return fail(Code::kIo, "a copy of the job is there that is not attended");
    *ran = job_folder::is_thawed(dir, handover);
    return {};
  };
  if (!copy || copy->gone) {
    return off_loop(gone, [ran, done = std::move(done)](const Status& status) {
      done(status ? Result<bool>(*ran) : Result<bool>(status.error()));
    });
  }
  auto work = [copy, ran, gone, handover]() -> Status {
    if (!copy->cgroup) return gone();
    auto init = machine::find_init(*copy->cgroup);
    if (!init) return init.error().code == Code::kNotFound ? gone() : Status(init.error());
    if (Status marked = job_folder::mark_thawed(copy->dir, handover); !marked) return marked;
    *ran = true;
    return run_on(*copy);
  };
  enqueue(copy, work, [this, copy, ran, done = std::move(done)](const Status& status) {
    if (status) copy->view.frozen = false;
    copy->drop_keeper();
    connect_keeper(copy);
    done(status ? Result<bool>(*ran) : Result<bool>(status.error()));
  });
}

void Copies::kill(const JobId& job, Epoch newest, Done done) {
  auto copy = get(job);
  // A younger copy is the job: its keeper, too, stays.
  const bool younger = copy && copy->born > newest;
  auto work = [dir = paths_.job(job), cgroups = paths_.cgroup, job, newest, younger, roots = roots_,
               root = paths_.init_root(job)]() -> Status {
    if (!younger) {
      if (Status stopped = machine::stop_keeper(dir, kPatience); !stopped) return stopped;
    }
    if (Status killed = kill_copies(cgroups, job, newest); !killed) return killed;
    roots->drop_through(job, newest, root);
    return {};
  };
  // After a restart nobody attends to a copy whose job is elsewhere: it is there all the same.
  if (!copy) return off_loop(work, std::move(done));
  if (younger) return enqueue(copy, work, std::move(done));
  copy->gone = true;
  copy->retry.reset();
  copy->keeper_poll.reset();
  enqueue(copy, work, [this, copy, done = std::move(done)](const Status& status) {
    copy->drop_keeper();
    const auto it = copies_.find(copy->job);
    if (status && it != copies_.end() && it->second == copy) {
      copies_.erase(it);
      if (copy->forget) forget(copy->job);
    }
    done(status);
  });
}

void Copies::off_loop(Work work, Done done) {
  auto outcome = std::make_shared<Status>();
  loop::run_blocking(
      loop_, [work = std::move(work), outcome] { *outcome = work(); },
      [outcome, done = std::move(done), alive = alive_] {
        if (*alive) done(*outcome);
      });
}

void Copies::signal(const JobId& job, int signal_number, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return done(fail(Code::kNotFound, "the job does not run here"));
  auto work = [copy, signal_number]() -> Status {
    if (!copy->cgroup) return fail(Code::kNotFound, "the job does not run here");
    // A signal to the frozen original would be lost with it.
    if (copy->view.frozen) return fail(Code::kRefused, "the job is being moved; try again");
    if (signal_number != SIGKILL && signal_number != SIGSTOP) {
      return machine::signal_process(copy->view.init, signal_number);
    }
    return machine::signal_members(*copy->cgroup, copy->view.init.pid, signal_number);
  };
  enqueue(copy, work, std::move(done));
}

void Copies::check(const JobId& job, Epoch newest, std::function<void(Result<bool>)> done) {
  auto copy = get(job);
  auto present = std::make_shared<bool>(false);
  auto work = [present, root = paths_.cgroup, job, newest]() -> Status {
    auto found = find_copies(root, job, newest);
    if (!found) return found.error();
    *present = !found->empty();
    return {};
  };
  auto answer = [present, done = std::move(done)](const Status& status) {
    done(status ? Result<bool>(*present) : Result<bool>(status.error()));
  };
  if (!copy) return off_loop(work, answer);
  enqueue(copy, work, answer);
}

void Copies::forget(const JobId& job) {
  if (auto copy = get(job)) {
    copy->forget = copy->gone;  // it is being killed; what runs keeps its folder
    return;
  }
  const auto work = [dir = paths_.job(job)]() -> Status {
    if (Status stopped = machine::stop_keeper(dir, kPatience); !stopped) return stopped;
    std::error_code error;
    std::filesystem::remove_all(dir, error);
    return {};
  };
  in_folder(job, work, nullptr);
}

// ---- folders

void Copies::in_folder(const JobId& job, Work work, Done done) {
  auto& queue = in_folders_[job];
  queue.emplace_back(std::move(work), std::move(done));
  if (queue.size() == 1) next_in_folder(job);
}

void Copies::next_in_folder(const JobId& job) {
  off_loop(in_folders_[job].front().first, [this, job](const Status& status) {
    const auto queue = in_folders_.find(job);
    const Done done = std::move(queue->second.front().second);
    queue->second.pop_front();
    if (queue->second.empty()) {
      in_folders_.erase(queue);
    } else {
      next_in_folder(job);
    }
    if (done) done(status);
  });
}

// ---- spools

void Copies::read(const JobId& job, int stream, std::uint64_t offset, std::size_t size_max,
                  std::function<void(base::Bytes, StreamEnds)> done) {
  auto bytes = std::make_shared<base::Bytes>();
  auto ends = std::make_shared<StreamEnds>();
  loop::run_blocking(
      loop_,
      [dir = paths_.job(job), stream, offset, size_max, bytes, ends] {
        *ends = job_folder::ends(dir);
        *bytes = job_folder::read(dir, stream, offset, size_max);
      },
      [bytes, ends, done = std::move(done), alive = alive_] {
        if (*alive) done(std::move(*bytes), *ends);
      });
}

void Copies::append_home(const JobId& job, int stream, std::uint64_t offset, base::Bytes bytes,
                         std::function<void(Status, std::optional<std::uint64_t>)> done) {
  auto end = std::make_shared<std::optional<std::uint64_t>>();
  const auto work = [dir = paths_.job(job), stream, offset, bytes = std::move(bytes),
                     end]() -> Status {
    Status status = job_folder::append(dir, stream, offset, bytes);
    *end = status ? std::optional(offset + bytes.size()) : job_folder::synced_end(dir, stream);
    return status;
  };
  in_folder(job, work, [end, done = std::move(done)](const Status& status) { done(status, *end); });
}

}  // namespace ternd
