#include "daemon/handover_in.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "criu/restore_session.h"
#include "daemon/handover_in_internal.h"
#include "daemon/held_launch.h"
#include "daemon/image_admission.h"
#include "daemon/image_set_source.h"
#include "daemon/job_folder.h"
#include "machine/ledger_files.h"
#include "machine/memory_room.h"
#include "transfer/image_stream.h"

namespace ternd {
namespace {

using balance::HandoverId;
using base::Code;
using base::Result;
using base::Status;
using node::StreamEnds;

constexpr std::uint64_t kRoomMin = 1 << 20;  // so that its first records say which job it is of
constexpr base::Duration kProgressEvery = std::chrono::milliseconds(300);

// Whether the job's init is in that cgroup; an error is not "no".
Result<bool> is_there(const std::string& cgroup) {
  auto group = machine::Cgroup::open(cgroup);
  if (!group && group.error().code == Code::kNotFound) return false;
  if (!group) return group.error();
  auto init = machine::find_init(*group);
  if (!init && init.error().code == Code::kNotFound) return false;
  if (!init) return init.error();
  return true;
}

}  // namespace

HandoverIn::HandoverIn(loop::Loop& loop, const Paths& paths, machine::Helpers helpers,
                       Copies& copies, base::Log& log, bool allow_root_jobs, Callbacks callbacks)
    : loop_(loop),
      paths_(paths),
      helpers_(std::move(helpers)),
      copies_(copies),
      log_(log),
      allow_root_jobs_(allow_root_jobs),
      callbacks_(std::move(callbacks)) {}

HandoverIn::~HandoverIn() {
  *alive_ = false;
  // Work off the loop may hold an attempt for longer, and a task holds its own.
  for (const auto& [id, attempt] : attempts_) {
    attempt->files.reset();
    attempt->task.reset();
    attempt->stream.reset();
    attempt->session.reset();
  }
}

// Off the loop, for one attempt: what is discarded meanwhile is discarded when this is done.
void HandoverIn::work(const Handle& attempt, std::function<Status()> work,
                      std::function<void(const Status&)> done) {
  ++attempt->working;
  loop::run_blocking(loop_, std::move(work), worked(attempt, std::move(done)));
}

Copies::Done HandoverIn::worked(const Handle& attempt, std::function<void(const Status&)> done) {
  return [this, attempt, done = std::move(done), alive = alive_](const Status& status) {
    if (!*alive) return;
    --attempt->working;
    if (!attempt->discarding) return done(status);
    if (attempt->working == 0) destroy(attempt);
  };
}

HandoverIn::Handle HandoverIn::get(const HandoverId& id) const {
  const auto it = attempts_.find(id);
  return it == attempts_.end() ? nullptr : it->second;
}

// ---- the stream comes in

void HandoverIn::take(BulkStream bulk) {
  if (early_.size() >= kEarlyStreamsMax) early_.pop_front();
  auto early = std::make_shared<Early>();
  early->bulk = std::move(bulk);
  early_.push_back(early);
  std::weak_ptr<Early> weak = early;
  early->patience = std::make_unique<loop::Timer>(loop_, [this, weak] {
    if (auto strong = weak.lock()) early_.remove(strong);
  });
  early->patience->start(kEarlyPatience);
  PeerStream::Callbacks callbacks;
  callbacks.on_data = [this, weak](transfer::Buffer bytes) {
    if (auto strong = weak.lock()) greet(strong, std::move(bytes));
  };
  callbacks.on_failed = [this, weak](const base::Error&) {
    if (auto strong = weak.lock()) early_.remove(strong);
  };
  early->bulk.stream->take_over(std::move(callbacks));
}

// The first record says which handover this is; nothing more is read until that is expected.
void HandoverIn::greet(const std::shared_ptr<Early>& early, transfer::Buffer bytes) {
  transfer::ImageReceiver peek(early->bulk.handshake_hash, 1 << 20);
  transfer::Buffer copy(bytes.size());
  std::memcpy(copy.mutable_view().data(), bytes.view().data(), bytes.size());
  if (!peek.feed(std::move(copy)) || !peek.hello()) {
    early_.remove(early);
    return;
  }
  early->hello = peek.hello();
  early->first = std::move(bytes);
  early->bulk.stream->pause();
  if (early->hello->kind == transfer::ImageHello::Kind::kFilesHome ||
      early->hello->kind == transfer::ImageHello::Kind::kFilesLook) {
    const std::shared_ptr<Early> kept = early;
    early_.remove(kept);
    return callbacks_.files_only(std::move(kept->bulk), *kept->hello);
  }
  for (const auto& [id, attempt] : attempts_) {
    const auto& hello = *early->hello;
    if (id.triad != hello.triad || id.job != hello.job || id.epoch != hello.epoch) continue;
    if (attempt->source != early->bulk.peer || attempt->receiver) break;
    early_.remove(early);
    return begin(attempt, std::move(early->bulk), std::move(*early->first));
  }
}

void HandoverIn::expect(const balance::ExpectStream& order) {
  if (auto known = get(order.id)) {
    if (known->admitted) {
      callbacks_.report(balance::StreamSealed{order.id, known->receiver->bytes()});
    }
    return;
  }
  auto attempt = std::make_shared<Attempt>();
  attempt->id = order.id;
  attempt->source = order.source;
  attempts_[order.id] = attempt;
  for (const auto& early : early_) {
    if (!early->hello || early->bulk.peer != order.source) continue;
    const auto& hello = *early->hello;
    if (hello.triad != order.id.triad || hello.job != order.id.job ||
        hello.epoch != order.id.epoch) {
      continue;
    }
    const std::shared_ptr<Early> found = early;
    early_.remove(found);
    return begin(attempt, std::move(found->bulk), std::move(*found->first));
  }
}

void HandoverIn::begin(const Handle& attempt, BulkStream bulk, transfer::Buffer hello) {
  attempt->memory_free = callbacks_.memory_available();
  attempt->memory_room = std::max(machine::memory_room(attempt->memory_free), kRoomMin);
  attempt->receiver.emplace(bulk.handshake_hash, attempt->memory_room);
  attempt->stream = std::move(bulk.stream);
  PeerStream::Callbacks callbacks;
  std::weak_ptr<Attempt> weak = attempt;
  callbacks.on_data = [this, weak](transfer::Buffer bytes) {
    if (auto strong = weak.lock()) on_data(strong, std::move(bytes));
  };
  callbacks.on_failed = [this, weak](const base::Error& error) {
    auto strong = weak.lock();
    if (!strong) return;
    if (strong->sealed) {
      strong->stream.reset();
    } else {
      const auto broken = std::move(strong->stream);
      fail(strong, std::string(balance::kStreamBrokeOff) + ": " + error.detail);
    }
  };
  callbacks.on_end = [this, weak] {
    auto strong = weak.lock();
    if (!strong) return;
    if (!strong->sealed) return fail(strong, "the stream ended without its seal");
    if (strong->stream) strong->stream->finish();
  };
  callbacks.on_room = [weak] {
    if (auto strong = weak.lock(); strong && strong->files) strong->files->on_room();
  };
  attempt->stream->take_over(std::move(callbacks));
  on_data(attempt, std::move(hello));
  if (attempt->stream) attempt->stream->resume();
}

void HandoverIn::on_data(const Handle& attempt, transfer::Buffer bytes) {
  if (attempt->failed || attempt->sealed || attempt->discarding) return;
  if (transfer::is_job_files_record(bytes.view())) return on_file_record(attempt, bytes);
  if (Status fed = attempt->receiver->feed(std::move(bytes)); !fed) {
    const machine::MemoryNeed need{attempt->memory_room, attempt->memory_free, /*or_more=*/true};
    return fail(attempt, attempt->receiver->full()
                             ? callbacks_.node_name() + ": " + machine::memory_refusal(need)
                             : "the checkpoint was refused: " + fed.error().detail);
  }
  progress(attempt);
  if (attempt->receiver->state() == transfer::ImageReceiver::State::kSealed) on_sealed(attempt);
}

void HandoverIn::on_sealed(const Handle& attempt) {
  attempt->sealed = true;
  auto metadata = node::decode_move_metadata(attempt->receiver->metadata());
  if (!metadata) return fail(attempt, "the checkpoint was refused: " + metadata.error().detail);
  if (metadata->spec.id != attempt->id.job) {
    return fail(attempt, "the checkpoint was refused: it is of another job");
  }
  if (const Status files = check_files(*attempt, metadata->spec); !files) {
    return fail(attempt, files.error().detail);
  }
  const std::string refusal = callbacks_.refusal(metadata->spec);
  if (!refusal.empty()) return fail(attempt, refusal);
  attempt->metadata = std::move(*metadata);
  attempt->images = std::make_shared<SetSource>(attempt->receiver->take_images());
  attempt->tails = attempt->receiver->take_outputs();
  work(
      attempt,
      [images = attempt->images, metadata = attempt->metadata, root_allowed = allow_root_jobs_,
       root = paths_.init_root(attempt->id.job)] {
        return admit(images->images(), metadata, root_allowed, root);
      },
      [this, attempt](const Status& status) { on_admitted(attempt, status); });
}

void HandoverIn::on_admitted(const Handle& attempt, const Status& status) {
  if (attempt->failed || attempt->discarding) return;
  if (!status) return fail(attempt, "the checkpoint was refused: " + status.error().detail);
  attempt->admitted = true;
  log_.info("stream_sealed", {{"job", attempt->id.job.hex()},
                              {"epoch", attempt->id.epoch.value},
                              {"bytes", attempt->receiver->bytes()}});
  callbacks_.arrived(attempt->id, attempt->metadata);
}

void HandoverIn::stored(const base::JobId& job) {
  for (const auto& [id, attempt] : attempts_) {
    if (id.job != job || !attempt->admitted || attempt->restoring) continue;
    callbacks_.report(balance::StreamSealed{id, attempt->receiver->bytes()});
  }
}

// ---- the copy is made

void HandoverIn::restore(const balance::Restore& order) {
  auto attempt = get(order.id);
  if (!attempt || !attempt->admitted || attempt->discarding) {
    callbacks_.report(balance::RestoreFailed{order.id, "the checkpoint is not here any more"});
    return;
  }
  if (attempt->held) return on_held(attempt);
  if (attempt->restoring) return;
  attempt->restoring = true;
  auto tails = std::make_shared<std::vector<transfer::OutputTail>>(std::move(attempt->tails));
  ++attempt->working;
  copies_.in_folder(
      order.id.job,
      [dir = paths_.job(order.id.job), home = callbacks_.home_is_here(order.id.job), attempt, tails,
       roots = copies_.roots(), root = paths_.init_root(order.id.job)] {
        Status status =
            job_folder::prepare_arrival(dir, home, attempt->metadata, std::move(*tails));
        return status ? roots->claim(attempt->id.job, attempt->id.epoch, root) : status;
      },
      worked(attempt, [this, attempt](const Status& status) {
        if (!status) return fail(attempt, status.error().detail);
        start_restore(attempt);
      }));
}

void HandoverIn::start_restore(const Handle& attempt) {
  if (attempt->metadata.queued) {
    return work(
        attempt,
        [attempt, children = copies_.children(), helpers = helpers_,
         root = paths_.init_root(attempt->id.job),
         cgroup = paths_.job_cgroup(attempt->id.job, attempt->id.epoch)]() -> Status {
          auto plan = plan_of(attempt->images->images());
          if (!plan) return plan.error();
          return launch_held(start_of(attempt->metadata.spec, *plan, helpers, root), cgroup,
                             *children);
        },
        [this, attempt](const Status& status) {
          status ? on_held(attempt) : fail(attempt, status.error().detail);
        });
  }
  criu::RestoreSpec spec;
  spec.program = paths_.criu;
  spec.owner = paths_.owner();
  spec.job_cgroup = paths_.job_cgroup(attempt->id.job, attempt->id.epoch);
  std::weak_ptr<Attempt> weak = attempt;
  auto session = criu::RestoreSession::start(
      loop_.raw(), spec, *attempt->images, [this, weak](const Result<criu::HeldCopy>& copy) {
        auto strong = weak.lock();
        if (!strong || strong->discarding) return;
        if (copy) return on_held(strong);
        const std::string original = strong->session->original_error();
        if (!original.empty()) {
          log_.warn("criu_restore_failed", {{"job", strong->id.job.hex()}, {"criu", original}});
        }
        fail(strong, copy.error().detail);
      });
  if (!session) return fail(attempt, session.error().detail);
  attempt->session = std::move(*session);
}

void HandoverIn::on_held(const Handle& attempt) {
  attempt->images.reset();
  work(
      attempt,
      [dir = paths_.job(attempt->id.job), epoch = attempt->id.epoch,
       stopped = attempt->metadata.stopped] { return job_folder::mark_held(dir, epoch, stopped); },
      [this, attempt](const Status& status) {
        if (!status) return fail(attempt, status.error().detail);
        attempt->held = true;
        const StreamEnds& ends = attempt->metadata.ends;
        callbacks_.report(balance::Held{attempt->id, {ends[0], ends[1]}});
      });
}

void HandoverIn::progress(const Handle& attempt) {
  const base::Time now = loop::Loop::now();
  if (now - attempt->progress_told < kProgressEvery) return;
  attempt->progress_told = now;
  const std::uint64_t files = attempt->files ? attempt->files->bytes() : 0;
  callbacks_.report(balance::StreamProgress{attempt->id, attempt->receiver->bytes() + files});
}

void HandoverIn::fail(const Handle& attempt, const std::string& reason) {
  if (attempt->failed || attempt->discarding) return;
  attempt->failed = true;
  tell_source(attempt, reason);
  attempt->images.reset();
  log_.warn("arrival_failed",
            {{"job", attempt->id.job.hex()}, {"epoch", attempt->id.epoch.value}, {"why", reason}});
  if (attempt->sealed) {
    callbacks_.report(balance::RestoreFailed{attempt->id, reason});
  } else {
    callbacks_.report(balance::StreamFailed{attempt->id, reason});
  }
}

// ---- what becomes of it

void HandoverIn::check(const balance::CheckCopy& order) {
  auto present = std::make_shared<Result<bool>>(false);
  const std::string dir = paths_.job(order.id.job);
  loop::run_blocking(
      loop_,
      [dir, id = order.id, cgroup = paths_.job_cgroup(order.id.job, order.id.epoch), present] {
        if (job_folder::is_released(dir, id.epoch)) {
          *present = true;  // let go by an earlier start of the daemon
          return;
        }
        if (!job_folder::is_held(dir, id.epoch)) return;
        *present = is_there(cgroup);
        if (!*present || !**present) return;
        const Status held = criu::check_copy_held(cgroup);
        const bool known =
            held || held.error().code == Code::kNotFound || held.error().code == Code::kRefused;
        *present = known ? Result<bool>(held.ok()) : Result<bool>(held.error());
      },
      [this, id = order.id, present, alive = alive_] {
        if (!*alive) return;
        if (*present) return callbacks_.report(balance::CopyState{id, **present});
        // Not to know is no answer: asked again.
        log_.error("check_failed", {{"job", id.job.hex()}, {"why", present->error().detail}});
      });
}

void HandoverIn::release(const balance::ReleaseCopy& order) {
  auto attempt = get(order.id);
  if (!attempt) {
    attempt = std::make_shared<Attempt>();
    attempt->id = order.id;
    attempt->source = order.source;
    attempts_[order.id] = attempt;
  }
  if (attempt->releasing || attempt->discarding) return;
  attempt->releasing = true;
  attempt->session.reset();  // a held copy stays held
  const HandoverId id = order.id;
  const std::string dir = paths_.job(id.job);
  const std::string cgroup = paths_.job_cgroup(id.job, id.epoch);
  struct Outcome {
    Status marked;
    bool present = false;
    std::vector<pid_t> stopped;
  };
  auto outcome = std::make_shared<Outcome>();
  const auto settle = [this, id, attempt](bool ran) {
    if (!ran) {
      callbacks_.report(balance::Released{id, false});
      attempts_.erase(id);
      return;
    }
    copies_.settle(id.job, id.epoch, [this, id, alive = alive_](const Status&) {
      if (!*alive) return;
      settle_files(id);
      attempts_.erase(id);
      callbacks_.report(balance::Released{id, true});
    });
  };
  loop::run_blocking(
      loop_,
      [dir, id, cgroup, outcome] {
        const bool let_go_before = job_folder::is_released(dir, id.epoch);
        auto there = is_there(cgroup);
        if (!there) outcome->marked = there.error();
        outcome->present = let_go_before || (there && *there);
        outcome->stopped = job_folder::stopped_when_held(dir, id.epoch);
        // Again where it was found: a daemon that was killed may not have synced it.
        if (there && outcome->present) {
          outcome->marked = job_folder::mark_released(dir, id.epoch);
        }
      },
      [this, attempt, outcome, cgroup, settle, alive = alive_] {
        if (!*alive) return;
        if (!outcome->marked) {
          attempt->releasing = false;  // asked again
          log_.error("release_failed", {{"why", outcome->marked.error().detail}});
          return;
        }
        if (!outcome->present) return settle(false);
        attempt->task = criu::release_copy(
            loop_.raw(), cgroup, outcome->stopped,
            [this, attempt, settle, alive](const Status& status) {
              if (!*alive) return;
              // kNotFound: it ran, ended and is gone.
              if (!status && status.error().code != Code::kNotFound) {
                attempt->releasing = false;  // asked again
                log_.error("release_incomplete", {{"why", status.error().detail}});
                return;
              }
              settle(true);
            });
      });
}

void HandoverIn::discard(const balance::DiscardCopy& order) {
  auto attempt = get(order.id);
  if (!attempt) {
    attempt = std::make_shared<Attempt>();
    attempt->id = order.id;
    attempts_[order.id] = attempt;
  }
  if (attempt->discarding || attempt->releasing) return;
  attempt->discarding = true;
  attempt->files.reset();
  attempt->stream.reset();
  attempt->images.reset();
  attempt->session.reset();
  if (attempt->working == 0) destroy(attempt);
}

void HandoverIn::destroy(const Handle& attempt) {
  const HandoverId id = attempt->id;
  const std::string cgroup = paths_.job_cgroup(id.job, id.epoch);
  attempt->task = criu::discard_copy(
      loop_.raw(), cgroup, [this, id, attempt, alive = alive_](const Status& status) {
        if (!*alive) return;
        if (!status) {
          attempt->discarding = false;
          log_.error("discard_failed", {{"job", id.job.hex()}, {"why", status.error().detail}});
          return;  // asked again
        }
        auto undone = std::make_shared<Status>();
        loop::run_blocking(
            loop_,
            [dir = paths_.job(id.job), roots = copies_.roots(), root = paths_.init_root(id.job), id,
             files = paths_.files(), undone] {
              *undone = undo_files(files, id);
              job_folder::unmark_held(dir, id.epoch);
              roots->drop(id.job, id.epoch, root);
            },
            [this, id, undone, alive] {
              if (!*alive) return;
              if (!*undone) {
                log_.warn("files_left", {{"job", id.job.hex()}, {"why", undone->error().detail}});
              }
              attempts_.erase(id);
              // The folder is the job's: a newer attempt may have begun to fill it.
              const bool wanted =
                  std::any_of(attempts_.begin(), attempts_.end(), [&](const auto& other) {
                    return other.first.job == id.job && other.second->restoring;
                  });
              if (!wanted && !callbacks_.home_is_here(id.job)) copies_.forget(id.job);
              callbacks_.report(balance::Discarded{id});
            });
      });
}

}  // namespace ternd
