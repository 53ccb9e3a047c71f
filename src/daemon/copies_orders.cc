// Copies: what handovers and people ask of one, and the spools.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <utility>

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
    // Before it is so: what finds both after a crash leaves it standing until it is let go.
    if (copy->view.paused) {
      const Status marked = job_folder::mark_paused(copy->dir, copy->born, true);
      if (!marked) return marked;
    }
    if (Status frozen = copy->cgroup->freeze_for_dump(kPatience); !frozen) {
      (void)(copy->view.paused ? copy->cgroup->freeze(kPatience) : copy->cgroup->thaw(kPatience))
          .ok();
      return frozen;
    }
    // While it stands still: nobody forks, so no nice value travels.
    if (copy->limit_micros != 0) {
      const Status lifted = machine::suspend_limit(*copy->limits, *copy->cgroup, copy->dir);
      if (!lifted) return lifted;
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
  enqueue(copy, "freeze", work, [this, copy, ends, done = std::move(done)](const Status& status) {
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
  enqueue(copy, "thaw", work, [this, copy, ran, done = std::move(done)](const Status& status) {
    if (status) copy->view.frozen = false;
    const std::string trouble = std::exchange(copy->limit_trouble, {});
    if (!trouble.empty()) log_.error("limit_lost", {{"job", copy->job.hex()}, {"why", trouble}});
    copy->drop_keeper();
    connect_keeper(copy);
    done(status ? Result<bool>(*ran) : Result<bool>(status.error()));
  });
}

void Copies::run_again(const JobId& job, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return off_loop([] { return Status(); }, std::move(done));
  auto work = [copy]() -> Status {
    return copy->cgroup ? run_on(*copy) : fail(Code::kNotFound, "the job was not found yet");
  };
  enqueue(copy, "run again", work, [this, copy, done = std::move(done)](const Status& status) {
    if (copy->gone) return done(Status());  // it was found to have ended
    if (status) copy->view.frozen = false;
    if (copy->cgroup) {
      copy->drop_keeper();
      connect_keeper(copy);
    }
    done(status);
  });
}

void Copies::kill(const JobId& job, Epoch newest, Done done) {
  auto copy = get(job);
  // A younger copy is the job: its keeper, too, stays.
  const bool younger = copy && copy->born > newest;
  const std::optional<Epoch> born = copy && !younger ? std::optional(copy->born) : std::nullopt;
  auto work = [dir = paths_.job(job), cgroups = paths_.cgroup, job, newest, younger, born,
               roots = roots_, root = paths_.init_root(job), limits = &paths_.limits]() -> Status {
    if (!younger) {
      if (Status stopped = machine::stop_keeper(dir, kPatience); !stopped) return stopped;
    }
    if (Status killed = kill_copies(cgroups, job, newest); !killed) return killed;
    machine::remove_unused_limits(*limits, Paths::job_groups(job));
    if (born) job_folder::unmark_paused(dir, *born);
    roots->drop_through(job, newest, root);
    return {};
  };
  // After a restart nobody attends to a copy whose job is elsewhere: it is there all the same.
  if (!copy) return off_loop(work, std::move(done));
  if (younger) return enqueue(copy, "kill", work, std::move(done));
  copy->gone = true;
  copy->retry.reset();
  copy->keeper_poll.reset();
  enqueue(copy, "kill", work, [this, copy, done = std::move(done)](const Status& status) {
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
  loop::run_blocking(loop_, std::move(work),
                     [done = std::move(done), alive = alive_](const Status& status) {
                       if (*alive) done(status);
                     });
}

void Copies::signal(const JobId& job, int signal_number, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return done(fail(Code::kNotFound, "the job does not run here"));
  auto work = [copy, signal_number]() -> Status {
    if (!copy->cgroup) return fail(Code::kNotFound, "the job does not run here");
    // A signal to the frozen original would be lost with it.
    if (copy->view.frozen) return fail(Code::kRefused, "the job is being moved; try again");
    if (signal_number == SIGPIPE) {
      if (!copy->keeper) {
        auto client = machine::KeeperClient::connect(copy->dir);
        if (!client) return client.error();
        copy->keeper.emplace(std::move(*client));
      }
      auto closed = copy->keeper->call(init::Op::kCloseReader, kPatience, 0);
      return closed ? Status() : Status(closed.error());
    }
    if (signal_number != SIGKILL && signal_number != SIGSTOP) {
      return machine::signal_process(copy->view.init, signal_number);
    }
    const Status sent = machine::signal_members(*copy->cgroup, copy->view.init.pid, signal_number);
    // Nobody but init is left, which has to see that.
    const bool lets_go = sent && signal_number == SIGKILL && copy->view.paused;
    return lets_go ? copy->cgroup->thaw(kPatience) : sent;
  };
  enqueue(copy, "signal", work, std::move(done));
}

void Copies::limit(const JobId& job, std::int64_t limit_micros, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return done(fail(Code::kNotFound, "the job does not run here"));
  auto work = [copy, limit_micros]() -> Status {
    if (!copy->cgroup) return fail(Code::kNotFound, "the job does not run here");
    copy->limit_micros = limit_micros;
    if (copy->view.frozen) return {};
    const Status set = machine::limit_cpu(*copy->limits, *copy->cgroup, copy->dir, limit_micros);
    if (!set && limit_micros != 0) copy->limit_micros = 0;
    return set;
  };
  enqueue(copy, "limit", work, [copy, limit_micros, done = std::move(done)](const Status& status) {
    if (status) copy->view.limit_micros = limit_micros;
    done(status);
  });
}

void Copies::pause(const JobId& job, bool on, Done done) {
  auto copy = get(job);
  if (!copy || copy->gone) return done(fail(Code::kNotFound, "the job does not run here"));
  auto work = [copy, on]() -> Status {
    if (!copy->cgroup) return fail(Code::kNotFound, "the job does not run here");
    if (on) {
      const Status marked = job_folder::mark_paused(copy->dir, copy->born, copy->view.frozen);
      if (!marked) return marked;
      if (copy->view.frozen) return {};
      const Status frozen = copy->cgroup->freeze(kPatience);
      if (frozen) return frozen;
      if (copy->cgroup->thaw(kPatience)) job_folder::unmark_paused(copy->dir, copy->born);
      return frozen;
    }
    // The mark goes last: without it a frozen copy is a handover's.
    if (!copy->view.frozen) {
      if (Status thawed = copy->cgroup->thaw(kPatience); !thawed) return thawed;
    }
    job_folder::unmark_paused(copy->dir, copy->born);
    return {};
  };
  enqueue(copy, "pause", work, [copy, on, done = std::move(done)](const Status& status) {
    if (status) copy->view.paused = on;
    done(status);
  });
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
  enqueue(copy, "check", work, answer);
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
  auto& queue = in_folders_[job].queue;
  queue.emplace_back(std::move(work), std::move(done));
  if (queue.size() == 1) next_in_folder(job);
}

void Copies::next_in_folder(const JobId& job) {
  Folder& folder = in_folders_[job];
  folder.began = loop::Loop::now();
  off_loop(folder.queue.front().first, [this, job](const Status& status) {
    const auto at = in_folders_.find(job);
    auto& queue = at->second.queue;
    const Done done = std::move(queue.front().second);
    queue.pop_front();
    if (queue.empty()) {
      in_folders_.erase(at);
    } else {
      next_in_folder(job);
    }
    if (done) done(status);
  });
}

// ---- spools

void Copies::read(const JobId& job, int stream, std::uint64_t offset, std::size_t size_max,
                  std::function<void(std::uint64_t, base::Bytes, StreamEnds)> done) {
  auto piece = std::make_shared<job_folder::Piece>();
  auto ends = std::make_shared<StreamEnds>();
  loop::run_blocking(
      loop_,
      [dir = paths_.job(job), stream, offset, size_max, piece, ends] {
        *ends = job_folder::ends(dir);
        *piece = job_folder::read(dir, stream, offset, size_max);
      },
      [piece, ends, done = std::move(done), alive = alive_] {
        if (*alive) done(piece->offset, std::move(piece->bytes), *ends);
      });
}

void Copies::append_home(const JobId& job, int stream, std::uint64_t offset, base::Bytes bytes,
                         std::function<void(Status, std::optional<std::uint64_t>)> done) {
  auto end = std::make_shared<std::optional<std::uint64_t>>();
  const auto work = [dir = paths_.job(job), stream, offset, bytes = std::move(bytes),
                     limit = output_limit_, end]() -> Status {
    Status status = job_folder::append(dir, stream, offset, bytes, limit);
    *end = status ? std::optional(offset + bytes.size()) : job_folder::synced_end(dir, stream);
    return status;
  };
  in_folder(job, work, [end, done = std::move(done)](const Status& status) { done(status, *end); });
}

void Copies::trim(const JobId& job, int stream, std::uint64_t floor, std::uint64_t limit,
                  std::function<void(base::Result<std::uint64_t>)> done) {
  auto first = std::make_shared<std::uint64_t>(0);
  const auto work = [dir = paths_.job(job), stream, floor, limit, first]() -> Status {
    auto trimmed = job_folder::trim(dir, stream, floor, limit);
    if (!trimmed) return trimmed.error();
    *first = *trimmed;
    return {};
  };
  in_folder(job, work, [first, done = std::move(done)](const Status& status) {
    if (!status) return done(status.error());
    done(*first);
  });
}

}  // namespace ternd
