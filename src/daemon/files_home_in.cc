// Home's part of files_home.h.
#include <algorithm>
#include <utility>

#include "daemon/files_home_internal.h"
#include "daemon/files_stream.h"
#include "daemon/files_user.h"

namespace ternd {

using base::Code;
using base::Result;
using base::Status;

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
  in.failed = [this, weak, job = coming->job](const Status& status) {
    if (status.error().code == Code::kStale) return close_soon(weak, status.error().detail);
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

// Something changed here meanwhile: the guest tries again.
void FilesHome::close_soon(const std::weak_ptr<Coming>& coming, const std::string& why) {
  auto strong = coming.lock();
  if (!strong) return;
  log_.info("files_home_stale", {{"job", strong->job.hex()}, {"why", why}});
  strong->closes = std::make_unique<loop::Timer>(loop_, [this, coming] {
    if (auto still = coming.lock()) close(still);
  });
  strong->closes->start(base::Duration{0});
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
