#include "daemon/files_home.h"

#include <algorithm>
#include <utility>

#include "daemon/files_owed.h"
#include "daemon/files_stream.h"
#include "daemon/files_user.h"
#include "machine/ledger_files.h"

namespace ternd {
namespace {

using base::Code;
using base::Result;
using base::Status;

}  // namespace

struct FilesHome::Going {
  node::JobSpec spec;
  base::Epoch epoch;
  std::unique_ptr<PeerStream> stream;
  std::unique_ptr<FilesOut> files;
  std::unique_ptr<loop::Timer> timer;
  base::Duration wait = kFilesHomeAgain;
  std::function<void()> then;  // until it was told
  std::unique_ptr<loop::Timer> tells;
  bool noted = false;
  bool over = false;  // home has it, or refuses it: what becomes of the connection is nothing to us
  bool said_no_room = false;
  base::Time began{};                      // the attempt
  std::string why;                         // it will be made again
  std::shared_ptr<machine::JobTree> tree;  // of the last one
};

struct FilesHome::Coming {
  base::JobId job;
  std::unique_ptr<PeerStream> stream;
  std::unique_ptr<FilesIn> files;
  std::unique_ptr<loop::Timer> refused;  // then it is closed
  bool working = false;                  // off the loop
  bool closed = false;
};

FilesHome::FilesHome(loop::Loop& loop, const Paths& paths, Links& links, base::Log& log,
                     Callbacks callbacks)
    : loop_(loop), paths_(paths), links_(links), log_(log), callbacks_(std::move(callbacks)) {}

FilesHome::~FilesHome() {
  *alive_ = false;
  for (const auto& [job, going] : going_) {
    going->files.reset();
    going->stream.reset();
    going->timer.reset();
    going->tells.reset();
  }
  for (const ComingHandle& coming : coming_) {
    coming->files.reset();
    coming->stream.reset();
    coming->refused.reset();
  }
}

// ---- guest

void FilesHome::bring(const node::JobSpec& spec, base::Epoch epoch, std::function<void()> then) {
  if (going_.contains(spec.id)) return then();
  auto going = std::make_shared<Going>();
  going->spec = spec;
  going->epoch = epoch;
  going->then = std::move(then);
  going_[spec.id] = going;
  note(going);
}

bool FilesHome::tell(const GoingHandle& going) {
  if (going->tells) going->tells->stop();
  auto then = std::exchange(going->then, nullptr);
  if (!then) return false;
  then();
  return true;
}

void FilesHome::tell_before_home(const GoingHandle& going) {
  if (!tell(going)) return;
  callbacks_.said(going->spec.id,
                  "it ended, and what it changed of its files is not home yet: this node goes on "
                  "bringing it");
}

void FilesHome::tell_now() {
  tells_at_once_ = true;
  std::vector<GoingHandle> waiting;
  for (const auto& [job, going] : going_) {
    if (going->then) waiting.push_back(going);
  }
  for (const GoingHandle& going : waiting) {
    told_now_.push_back(going->spec.id);
    if (going->noted) tell_before_home(going);
  }
}

// Most jobs came with nothing. Or home has it since before the daemon started.
void FilesHome::note(const GoingHandle& going) {
  struct Outcome {
    Result<bool> placed = false;
    bool home_has_it = false;
    Status written;
  };
  auto outcome = std::make_shared<Outcome>();
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), owed_folder = paths_.files_owed(),
       owed = FilesOwed{going->spec, going->epoch}, outcome] {
        outcome->home_has_it = files_owed::is_home(owed_folder, owed);
        if (outcome->home_has_it) return;
        outcome->placed = machine::has_arrivals(folder, owed.spec.id);
        if (outcome->placed && !*outcome->placed) return;
        outcome->written = files_owed::note(owed_folder, owed);
      },
      [this, going, outcome, alive = alive_] {
        if (!*alive) return;
        if (!outcome->written) {
          log_.warn("files_home_not_noted",
                    {{"job", going->spec.id.hex()}, {"why", outcome->written.error().detail}});
        }
        if (outcome->home_has_it) return drop(going);
        if (outcome->placed && !*outcome->placed) return finish(going);
        going->noted = true;
        if (tells_at_once_) tell_before_home(going);
        going->tells =
            std::make_unique<loop::Timer>(loop_, [this, weak = std::weak_ptr<Going>(going)] {
              if (auto strong = weak.lock()) tell_before_home(strong);
            });
        going->tells->start(kFilesHomeTellAfter);
        connect(going);
      });
}

std::vector<base::JobId> FilesHome::resume() {
  std::vector<base::JobId> jobs;
  files_owed::All all = files_owed::read_all(paths_.files_owed());
  for (const auto& [name, why] : all.unreadable) {
    log_.warn("files_home_unreadable", {{"name", name}, {"why", why}});
  }
  for (files_owed::Found& found : all.found) {
    auto going = std::make_shared<Going>();
    going->spec = std::move(found.owed.spec);
    going->epoch = found.owed.epoch;
    jobs.push_back(going->spec.id);
    going_[going->spec.id] = going;
    if (found.home_has_it) {
      drop(going);
    } else {
      again(going, "the daemon has started anew");
    }
  }
  return jobs;
}

std::vector<FilesHome::Waiting> FilesHome::waiting() const {
  std::vector<Waiting> out;
  for (const auto& [job, going] : going_) {
    if (going->then || going->over) continue;
    out.push_back({job, going->spec.name, going->spec.home, going->why});
  }
  return out;
}

void FilesHome::connect(const GoingHandle& going) {
  going->began = loop::Loop::now();
  links_.open_bulk(going->spec.home, callbacks_.addresses(going->spec.home),
                   [this, going, alive = alive_](Result<BulkStream> bulk) {
                     if (*alive) on_connected(going, std::move(bulk));
                   });
}

void FilesHome::on_connected(const GoingHandle& going, Result<BulkStream> bulk) {
  if (!bulk) return again(going, bulk.error().detail);
  going->stream = std::move(bulk->stream);
  std::weak_ptr<Going> weak = going;
  PeerStream::Callbacks on;
  on.on_room = [weak] {
    if (auto strong = weak.lock(); strong && strong->files) strong->files->on_room();
  };
  on.on_data = [weak](const transfer::Buffer& record) {
    if (auto strong = weak.lock(); strong && strong->files) strong->files->on_record(record.view());
  };
  on.on_failed = [this, weak](const base::Error& error) {
    if (auto strong = weak.lock()) on_sent(strong, error);
  };
  going->stream->take_over(std::move(on));
  transfer::ImageSender greeting(bulk->handshake_hash);
  transfer::ImageHello hello;
  hello.kind = transfer::ImageHello::Kind::kFilesHome;
  hello.job = going->spec.id;
  hello.epoch = going->epoch;
  if (Status sent = greeting.hello(going->stream->stream(), hello); !sent) {
    return again(going, sent.error().detail);
  }
  going->stream->flush();
  FilesOut::Callbacks out;
  through_stream(out, weak);
  out.progress = [] {};
  out.done = [this, weak](const Status& status) {
    if (auto strong = weak.lock()) on_sent(strong, status);
  };
  going->files = std::make_unique<FilesOut>(loop_, std::move(out), going->tree);
  going->files->start(
      true, node::encode(going->spec),
      [spec = going->spec, folder = paths_.files()]() -> Result<machine::JobTreeSpec> {
        machine::JobTreeSpec tree = tree_of(spec);
        auto placed = machine::placed_files(folder, spec.id);
        if (!placed) return placed.error();
        tree.placed = std::move(*placed);
        return tree;
      });
}

void FilesHome::on_sent(const GoingHandle& going, const Status& status) {
  if (!going->stream || going->over) return;
  if (status) {
    log_.info("files_home", {{"job", going->spec.id.hex()}, {"bytes", going->files->bytes()}});
    return drop(going);
  }
  if (status.error().code == Code::kFull) return wait_for_room(going, status.error().detail);
  if (status.error().code != Code::kRefused) return again(going, status.error().detail);
  // Its owner has to look: what the job changed stays here.
  callbacks_.said(going->spec.id,
                  "what the job changed of its files stays on this node, as home "
                  "does not take it: " +
                      status.error().detail);
  finish(going);
}

// Home has it on its disk: here it goes, also what the job made beside what it came with. From its
// first file on no list may go home any more, whatever happens to this daemon.
void FilesHome::drop(const GoingHandle& going) {
  going->over = true;
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), owed_folder = paths_.files_owed(),
       owed = FilesOwed{going->spec, going->epoch},
       tree = going->files ? going->files->tree() : nullptr, status] {
        if (tree) {
          *status = machine::note_guest_leaves(folder, owed.spec.id, left_of(*tree));
          if (*status) *status = files_owed::home_has_it(owed_folder, owed);
          if (!*status) return;
        }
        *status = machine::forget_arrivals(folder, owed.spec.id, base::Epoch{UINT64_MAX}, false);
      },
      [this, going, status, alive = alive_] {
        if (!*alive) return;
        if (!*status) {
          log_.warn("files_left", {{"job", going->spec.id.hex()}, {"why", status->error().detail}});
        }
        finish(going);
      });
}

// However long that is. An attempt is long, too, where only a quota tells that there is no room.
void FilesHome::wait_for_room(const GoingHandle& going, const std::string& why) {
  if (!std::exchange(going->said_no_room, true)) {
    callbacks_.said(going->spec.id,
                    "what the job changed of its files waits here for room at home: " + why);
  }
  going->wait = std::clamp(loop::Loop::now() - going->began,
                           std::min(going->wait, kFilesHomeNoRoomMax), kFilesHomeAgainMax);
  again(going, "there is no room: " + why);
}

void FilesHome::again(const GoingHandle& going, const std::string& why) {
  log_.debug("files_home_waits", {{"job", going->spec.id.hex()}, {"why", why}});
  going->why = why;
  if (going->files && going->files->tree()) going->tree = going->files->tree();
  tell_before_home(going);
  // Not at once: this may be called from within either. Nor later, as home takes few at a time.
  auto stream = std::make_shared<std::unique_ptr<PeerStream>>(std::move(going->stream));
  auto files = std::make_shared<std::unique_ptr<FilesOut>>(std::move(going->files));
  going->timer = std::make_unique<loop::Timer>(loop_, [this, going, stream, files] {
    stream->reset();
    files->reset();
    const GoingHandle kept = going;  // either timer is replaced from within itself
    kept->timer = std::make_unique<loop::Timer>(loop_, [this, kept] {
      const GoingHandle last = kept;
      connect(last);
    });
    kept->timer->start(kept->wait);
    kept->wait = std::min(kept->wait * 2, kFilesHomeAgainMax);
  });
  going->timer->start(base::Duration{0});
}

void FilesHome::finish(const GoingHandle& going) {
  going->over = true;
  const base::JobId job = going->spec.id;
  tell(going);
  // Not at once: as above.
  going->timer = std::make_unique<loop::Timer>(loop_, [this, job] {
    const GoingHandle last = going_.at(job);
    going_.erase(job);
    last->files.reset();
    last->stream.reset();
    last->tells.reset();
    // Before anything else of it goes: while it is noted what is here may be sent home.
    auto removed = std::make_shared<Status>();
    loop::run_blocking(
        loop_,
        [folder = paths_.files_owed(), job, removed] {
          *removed = files_owed::remove(folder, job);
        },
        [this, job, removed, alive = alive_] {
          if (!*alive) return;
          if (*removed) return callbacks_.over(job);
          log_.warn("files_home_noted", {{"job", job.hex()}, {"why", removed->error().detail}});
        });
    last->timer.reset();
  });
  going->timer->start(base::Duration{0});
}

// ---- home

void FilesHome::take(BulkStream bulk, const transfer::ImageHello& hello) {
  const auto spec = callbacks_.expected(hello.job, bulk.peer);
  const std::string never = callbacks_.never(hello.job, hello.epoch);
  const bool twice = std::any_of(coming_.begin(), coming_.end(), [&](const ComingHandle& other) {
    return other->job == hello.job;
  });
  const auto like_it = std::count_if(coming_.begin(), coming_.end(), [&](const auto& other) {
    return (other->refused != nullptr) == !never.empty();
  });
  const bool full = static_cast<std::size_t>(like_it) >= kFilesHomeMax;
  if (twice || full) return;  // closed; it tries again
  if (!never.empty()) return refuse(std::move(bulk), hello.job, never);
  if (!spec) return;  // likewise
  auto coming = std::make_shared<Coming>();
  coming->job = hello.job;
  coming->stream = std::move(bulk.stream);
  coming_.push_back(coming);
  start(coming, *spec, hello.epoch);
}

void FilesHome::start(const ComingHandle& coming, const node::JobSpec& spec, base::Epoch epoch) {
  std::weak_ptr<Coming> weak = coming;
  FilesIn::Callbacks in;
  through_stream(in, weak);
  in.failed = [this, job = coming->job](const Status& status) {
    log_.warn("files_refused", {{"job", job.hex()}, {"why", status.error().detail}});
    callbacks_.refused(job, status.error());
  };
  in.taken_back = [this, job = coming->job](const Result<machine::Undone>& undone) {
    if (!undone) {
      log_.warn("files_left", {{"job", job.hex()}, {"why", undone.error().detail}});
      callbacks_.said(job,
                      "what came of the job's files before that could not all be taken back: " +
                          undone.error().detail);
      return;
    }
    for (const std::string& path : undone->before) {
      callbacks_.said(job,
                      "something else has the name of what was here before; that lies at " + path);
    }
    for (const std::string& path : undone->kept) {
      callbacks_.said(job, "it came with the job, and stays here: " + path);
    }
  };
  // The next attempt waits until the disk is left alone.
  in.work = [this, weak](std::function<Status()> work, FilesIn::Done done) {
    const ComingHandle busy = weak.lock();
    if (!busy || busy->closed) return;
    busy->working = true;
    loop::run_blocking(loop_, std::move(work),
                       [this, busy, done = std::move(done), alive = alive_](const Status& status) {
                         if (!*alive) return;
                         busy->working = false;
                         done(status);
                         if (busy->closed && !busy->working) forget(busy);
                       });
  };
  // Whoever sends: they are placed as the user whose job it is here.
  in.refusal = [spec](const node::JobSpec& told) -> std::string {
    const bool same = told.id == spec.id && same_user(told, spec);
    return same ? std::string() : "the files are of somebody else's job";
  };
  in.settled = [this, job = coming->job](const machine::LaidBeside& laid) {
    callbacks_.beside(job, laid);
  };
  machine::PlacerSpec placer;
  placer.ledgers = paths_.files();
  placer.job = coming->job;
  placer.epoch = epoch;
  placer.at_home = true;
  placer.groups_known = true;
  placer.ended = true;
  coming->files = std::make_unique<FilesIn>(loop_, std::move(placer), std::move(in));
  PeerStream::Callbacks on;
  on.on_data = [weak](const transfer::Buffer& record) {
    if (auto strong = weak.lock(); strong && strong->files) strong->files->on_record(record.view());
  };
  on.on_room = [weak] {
    if (auto strong = weak.lock(); strong && strong->files) strong->files->on_room();
  };
  on.on_failed = [this, weak](const base::Error&) {
    if (auto strong = weak.lock()) close(strong);
  };
  coming->stream->take_over(std::move(on));
  coming->stream->resume();
}

// Before anything of them is sent. The other end closes then, or the time is up.
void FilesHome::refuse(BulkStream bulk, const base::JobId& job, const std::string& why) {
  log_.debug("files_refused", {{"job", job.hex()}, {"why", why}});
  auto coming = std::make_shared<Coming>();
  coming->job = job;
  coming->stream = std::move(bulk.stream);
  coming_.push_back(coming);
  std::weak_ptr<Coming> weak = coming;
  const auto close_it = [this, weak] {
    if (auto strong = weak.lock()) close(strong);
  };
  PeerStream::Callbacks on;
  on.on_end = close_it;
  on.on_failed = [close_it](const base::Error&) { close_it(); };
  coming->stream->take_over(std::move(on));
  coming->refused = std::make_unique<loop::Timer>(loop_, close_it);
  coming->refused->start(kFilesHomeRefuseFor);
  (void)coming->stream->send({transfer::encode_job_refuse(transfer::JobFilesType::kRefuse, why)});
  coming->stream->flush();
  if (coming->stream) coming->stream->resume();
}

// What came of an attempt that broke off is gone on with by the next: the guest has it all still.
void FilesHome::close(const ComingHandle& coming) {
  const ComingHandle kept = coming;
  kept->closed = true;
  kept->stream.reset();
  if (!kept->working) forget(kept);
}

void FilesHome::forget(const ComingHandle& coming) {
  const ComingHandle kept = coming;
  coming_.remove(kept);
  kept->files.reset();
}

}  // namespace ternd
