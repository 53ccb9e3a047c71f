#include "daemon/files_home.h"

#include <algorithm>
#include <utility>

#include "daemon/files_home_internal.h"
#include "daemon/files_owed.h"
#include "daemon/files_stream.h"
#include "daemon/files_user.h"
#include "machine/ledger_files.h"

namespace ternd {
namespace {

using base::Code;
using base::Result;
using base::Status;

Result<std::set<std::string>> missing_at_end(const std::string& folder, const node::JobSpec& spec) {
  machine::JobTreeSpec tree = tree_of(spec);
  auto placed = machine::placed_files(folder, spec.id);
  if (!placed) return placed.error();
  tree.placed = std::move(*placed);
  return machine::missing_files(tree);
}

// This machine's own about its files: another attempt would end the same way.
bool is_for_good(Code code) {
  return code == Code::kRefused || code == Code::kTooLarge || code == Code::kInvalid;
}

}  // namespace

base::Duration files_home_wait(base::Duration took, base::Duration wait) {
  return std::clamp(3 * took, std::min(wait, kFilesHomeNoRoomMax), kFilesHomeLongMax);
}

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
    coming->closes.reset();
  }
}

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
    FilesOwed owed;
    Status looked;
    Status written;
  };
  auto outcome = std::make_shared<Outcome>();
  outcome->owed = {going->spec, going->epoch};
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), owed_folder = paths_.files_owed(), outcome] {
        FilesOwed& owed = outcome->owed;
        outcome->home_has_it = files_owed::is_home(owed_folder, owed);
        if (outcome->home_has_it) return;
        outcome->placed = machine::has_arrivals(folder, owed.spec.id);
        if (outcome->placed && !*outcome->placed) return;
        // What is missing from now on the job did not remove.
        owed.removed.emplace();
        auto missing = missing_at_end(folder, owed.spec);
        if (missing) owed.removed = std::move(*missing);
        if (!missing) outcome->looked = missing.error();
        outcome->written = files_owed::note(owed_folder, owed);
      },
      [this, going, outcome, alive = alive_] {
        if (!*alive) return;
        if (!outcome->looked) {
          log_.warn("files_home_not_looked_at",
                    {{"job", going->spec.id.hex()}, {"why", outcome->looked.error().detail}});
        }
        going->removed = std::move(outcome->owed.removed);
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
    going->removed = std::move(found.owed.removed);
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
  on.on_data = [this, weak](const transfer::Buffer& record) {
    auto strong = weak.lock();
    if (!strong) return;
    if (strong->gave_up) return gave_up(strong);
    if (strong->files) strong->files->on_record(record.view());
  };
  on.on_failed = [this, weak](const base::Error& error) {
    auto strong = weak.lock();
    if (!strong) return;
    if (strong->gave_up) return gave_up(strong);
    on_sent(strong, error);
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
  going->files->start(true, node::encode(going->spec),
                      [spec = going->spec, removed = going->removed,
                       folder = paths_.files()]() -> Result<machine::JobTreeSpec> {
                        machine::JobTreeSpec tree = tree_of(spec);
                        auto placed = machine::placed_files(folder, spec.id);
                        if (!placed) return placed.error();
                        tree.placed = std::move(*placed);
                        tree.removed = removed;
                        return tree;
                      });
}

void FilesHome::on_sent(const GoingHandle& going, const Status& status) {
  if (!going->stream || going->over || going->gave_up) return;
  if (status) {
    log_.info("files_home", {{"job", going->spec.id.hex()}, {"bytes", going->files->bytes()}});
    return drop(going);
  }
  const base::Error& error = status.error();
  const FilesOut::Said by = going->files ? going->files->said() : FilesOut::Said::kNobody;
  if (by == FilesOut::Said::kHere && is_for_good(error.code)) return give_up(going, error.detail);
  const bool by_home = by == FilesOut::Said::kSink;
  if (by_home && error.code == Code::kFull) return wait_for_room(going, error.detail);
  if (!by_home || error.code != Code::kRefused) return again(going, error.detail);
  // Its owner has to look: what the job changed stays here.
  callbacks_.said(going->spec.id,
                  "what the job changed of its files stays on this node, as home "
                  "does not take it: " +
                      error.detail);
  finish(going);
}

// What this machine itself says of its files. Home is told, so that it is said there, too.
void FilesHome::give_up(const GoingHandle& going, const std::string& why) {
  going->gave_up = true;
  callbacks_.said(going->spec.id, "what the job changed of its files stays on this node: " + why);
  const Status sent = going->stream->send(
      {transfer::encode_job_refuse(transfer::JobFilesType::kRefuse, "that node says: " + why)});
  if (!sent) return finish(going);
  if (going->tells) going->tells->stop();
  going->timer = std::make_unique<loop::Timer>(loop_, [this, weak = std::weak_ptr<Going>(going)] {
    if (auto strong = weak.lock()) gave_up(strong);
  });
  going->timer->start(kFilesHomeRefuseFor);
  going->stream->flush();
}

// Home has heard it, or could not.
void FilesHome::gave_up(const GoingHandle& going) {
  const GoingHandle kept = going;
  if (!kept->over) finish(kept);
}

// Home has it on its disk: here it goes, also what the job made beside what it came with. From its
// first file on no list may go home any more, whatever happens to this daemon.
void FilesHome::drop(const GoingHandle& going) {
  going->over = true;
  struct Outcome {
    Status status;
    bool noted = false;
  };
  auto outcome = std::make_shared<Outcome>();
  loop::run_blocking(
      loop_,
      [folder = paths_.files(), owed_folder = paths_.files_owed(),
       owed = FilesOwed{going->spec, going->epoch},
       tree = going->files ? going->files->tree() : nullptr, outcome] {
        Status& status = outcome->status;
        if (tree) {
          status = machine::note_guest_leaves(folder, owed.spec.id, left_of(*tree));
          if (status) status = files_owed::home_has_it(owed_folder, owed);
          if (!status) return;
        }
        outcome->noted = true;
        status = machine::forget_arrivals(folder, owed.spec.id, base::Epoch{UINT64_MAX}, false);
      },
      [this, going, outcome, alive = alive_] {
        if (!*alive) return;
        const Status& status = outcome->status;
        if (!status) {
          log_.warn("files_left", {{"job", going->spec.id.hex()}, {"why", status.error().detail}});
        }
        going->stays_noted = !status && outcome->noted;
        finish(going);
      });
}

// However long that is. An attempt is long, too, where only a quota tells that there is no room.
void FilesHome::wait_for_room(const GoingHandle& going, const std::string& why) {
  if (!std::exchange(going->said_no_room, true)) {
    callbacks_.said(going->spec.id,
                    "what the job changed of its files waits here for room at home: " + why);
  }
  going->wait = files_home_wait(loop::Loop::now() - going->began, going->wait);
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
        [folder = paths_.files_owed(), job, removed, stays = last->stays_noted] {
          if (!stays) *removed = files_owed::remove(folder, job);
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

}  // namespace ternd
