#include "daemon/handover_out.h"

#include <algorithm>
#include <utility>

#include "criu/limits.h"
#include "daemon/handover_out_internal.h"
#include "daemon/live_dump.h"
#include "daemon/park_file.h"
#include "daemon/parked_content.h"
#include "machine/cgroup.h"
#include "machine/job_tree.h"
#include "machine/ledger_files.h"
#include "transfer/limits.h"

namespace ternd {
namespace {

using balance::HandoverId;
using base::Code;
using base::Result;
using base::Status;

constexpr std::size_t kBacklogMax = 4 * 1024 * 1024;  // bytes of pieces that wait for the socket
constexpr base::Duration kProgressEvery = std::chrono::milliseconds(300);
// A piece becomes one record.
static_assert(criu::kPieceSize <= transfer::kImageDataMax);

}  // namespace

HandoverOut::HandoverOut(loop::Loop& loop, const Paths& paths, Copies& copies, Links& links,
                         base::Log& log, Callbacks callbacks)
    : loop_(loop),
      paths_(paths),
      copies_(copies),
      links_(links),
      log_(log),
      callbacks_(std::move(callbacks)) {}

HandoverOut::~HandoverOut() {
  *alive_ = false;
  // Work off the loop may hold an attempt for longer.
  for (const auto& [id, attempt] : attempts_) {
    attempt->files.reset();
    attempt->stream.reset();
    attempt->content.reset();
  }
}

void HandoverOut::stream(const balance::FreezeAndStream& order, bool tcp_close) {
  const auto known = attempts_.find(order.id);
  if (known != attempts_.end()) {
    const Attempt& attempt = *known->second;
    if (attempt.summary && !attempt.failed) {
      callbacks_.report(
          balance::StreamComplete{order.id, {attempt.summary->hash}, attempt.sender->bytes()});
    }
    return;
  }
  auto attempt = std::make_shared<Attempt>();
  attempt->id = order.id;
  attempt->sink = order.sink;
  attempt->tcp_close = tcp_close;
  attempts_[order.id] = attempt;
  links_.open_bulk(order.sink, callbacks_.addresses(order.sink),
                   [this, attempt, alive = alive_](Result<BulkStream> bulk) {
                     if (*alive && !attempt->ended) on_connected(attempt, std::move(bulk));
                   });
}

void HandoverOut::on_connected(const Handle& attempt, Result<BulkStream> bulk) {
  if (!bulk) return fail(attempt, "no connection to the sink: " + bulk.error().detail);
  attempt->stream = std::move(bulk->stream);
  attempt->handshake_hash = bulk->handshake_hash;
  attempt->sender.emplace(bulk->handshake_hash);
  PeerStream::Callbacks callbacks;
  std::weak_ptr<Attempt> weak = attempt;
  callbacks.on_room = [this, weak] {
    auto strong = weak.lock();
    if (!strong || strong->ended) return;
    if (strong->files && strong->files->busy()) return strong->files->on_room();
    pump(strong);
  };
  callbacks.on_data = [this, weak](const transfer::Buffer& record) {
    if (auto strong = weak.lock(); strong && !strong->ended) on_file_record(strong, record);
  };
  callbacks.on_failed = [this, weak](const base::Error& error) {
    auto strong = weak.lock();
    if (!strong || strong->ended || strong->sealed) return;
    fail(strong, "the connection to the sink ended: " + error.detail);
    strong->stream.reset();
  };
  attempt->stream->take_over(std::move(callbacks));
  transfer::ImageHello hello;
  hello.triad = attempt->id.triad;
  hello.job = attempt->id.job;
  hello.epoch = attempt->id.epoch;
  if (Status sent = attempt->sender->hello(attempt->stream->stream(), hello); !sent) {
    return fail(attempt, "cannot greet the sink: " + sent.error().detail);
  }
  attempt->stream->flush();
  if (callbacks_.resting(attempt->id.job)) return fail(attempt, "the job is being parked");
  callbacks_.parked(
      attempt->id.job, attempt->id.epoch,
      [this, attempt, alive = alive_](const Result<std::optional<ParkDesk::Parked>>& parked) {
        if (!*alive || attempt->ended) return;
        if (!parked) return fail(attempt, parked.error().detail);
        if (*parked) return on_parked(attempt, **parked);
        send_files(attempt, false, live_files(attempt), [this, attempt] { freeze(attempt); });
      });
}

void HandoverOut::freeze(const Handle& attempt) {
  if (callbacks_.resting(attempt->id.job)) return fail(attempt, "the job is being parked");
  copies_.freeze(attempt->id.job,
                 [this, attempt, alive = alive_](const Result<node::StreamEnds>& ends) {
                   if (*alive && !attempt->ended) on_frozen(attempt, ends);
                 });
}

void HandoverOut::on_parked(const Handle& attempt, const ParkDesk::Parked& parked) {
  callbacks_.frozen(attempt->id.job);
  auto metadata = callbacks_.describe(attempt->id.job);
  if (!metadata) return fail(attempt, "the job has ended");
  const bool at_home = metadata->acknowledged[0] == UINT64_MAX;
  attempt->metadata = parked.manifest.metadata;
  attempt->metadata.spec = metadata->spec;
  const node::StreamEnds& ends = attempt->metadata.ends;
  const node::StreamEnds stored = attempt->metadata.acknowledged;  // when it was parked
  for (std::size_t s = 0; s < ends.size(); ++s) {
    attempt->metadata.acknowledged[s] =
        at_home ? ends[s] : std::clamp(metadata->acknowledged[s], stored[s], ends[s]);
  }
  attempt->tail_at = attempt->metadata.acknowledged;
  send_files(attempt, true,
             parked_files(metadata->spec, parked.manifest.requirement, paths_.files()),
             [this, attempt, file = parked.file] {
               attempt->content = start_parked_content(loop_, file, callbacks_of(attempt));
             });
}

void HandoverOut::on_frozen(const Handle& attempt, const Result<node::StreamEnds>& ends) {
  if (!ends) return fail(attempt, "cannot freeze the job: " + ends.error().detail);
  callbacks_.frozen(attempt->id.job);
  auto metadata = callbacks_.describe(attempt->id.job);
  const CopyView* copy = copies_.find(attempt->id.job);
  if (!metadata || copy == nullptr) return fail(attempt, "the job has ended");
  attempt->metadata = std::move(*metadata);
  attempt->metadata.ends = *ends;
  attempt->at_home = attempt->metadata.acknowledged[0] == UINT64_MAX;
  for (std::size_t s = 0; s < ends->size(); ++s) {
    attempt->metadata.acknowledged[s] =
        std::clamp(attempt->metadata.acknowledged[s], copy->bases[s], (*ends)[s]);
  }
  attempt->tail_at = attempt->metadata.acknowledged;
  attempt->metadata.stopped = machine::stopped_members(copy->cgroup);
  if (attempt->metadata.stopped.size() > node::kStoppedMax) {
    return fail(attempt, "more stopped processes than a move can carry");
  }
  send_files(attempt, true, live_files(attempt), [this, attempt] { start_content(attempt); });
}

void HandoverOut::start_content(const Handle& attempt) {
  const CopyView* copy = copies_.find(attempt->id.job);
  if (copy == nullptr) return fail(attempt, "the job has ended");  // while its files went
  LiveDumpSpec spec;
  spec.job = attempt->id.job;
  spec.epoch = attempt->id.epoch;
  spec.run = ++runs_;
  spec.copy = *copy;
  spec.uid = attempt->metadata.spec.uid;
  spec.gid = attempt->metadata.spec.gid;
  spec.tcp_close = attempt->tcp_close;
  if (attempt->at_home) spec.sync = paths_.job(attempt->id.job);
  attempt->content = start_live_dump(loop_, paths_, log_, std::move(spec), callbacks_of(attempt));
}

ContentSource::Callbacks HandoverOut::callbacks_of(const Handle& attempt) {
  ContentSource::Callbacks callbacks;
  std::weak_ptr<Attempt> weak = attempt;
  callbacks.begin = [this, weak](std::uint32_t index, const std::string& name) {
    if (auto strong = weak.lock()) push(strong, {Piece::Kind::kBegin, index, name, 0, 0, {}});
  };
  callbacks.data = [this, weak](std::uint32_t index, base::ByteView data) {
    if (auto strong = weak.lock()) on_piece(strong, index, data);
  };
  callbacks.end = [this, weak](std::uint32_t index) {
    if (auto strong = weak.lock()) push(strong, {Piece::Kind::kEnd, index, {}, 0, 0, {}});
  };
  callbacks.done = [this, weak](const Status& status) {
    auto strong = weak.lock();
    if (!strong) return;
    const auto content = std::move(strong->content);
    on_content(strong, status);
  };
  return callbacks;
}

// The usual way is straight into the stream; only what finds no room there is kept.
void HandoverOut::on_piece(const Handle& attempt, std::uint32_t index, base::ByteView data) {
  while (!data.empty() && !attempt->failed) {
    const base::ByteView part = data.first(std::min(data.size(), transfer::kImageDataMax));
    data = data.subspan(part.size());
    if (attempt->backlog.empty()) {
      const Status sent =
          attempt->sender->data(attempt->stream->stream(), attempt->images.at(index), part);
      if (sent) continue;
      if (sent.error().code != Code::kFull) return fail(attempt, sent.error().detail);
    }
    attempt->backlog_size += part.size();
    attempt->backlog.push_back({Piece::Kind::kData, index, {}, 0, 0, base::to_bytes(part)});
  }
  pump(attempt);
}

void HandoverOut::push(const Handle& attempt, Piece piece) {
  if (attempt->failed) return;
  attempt->backlog_size += piece.bytes.size();
  attempt->backlog.push_back(std::move(piece));
  pump(attempt);
}

Status HandoverOut::put(Attempt& attempt, Piece& piece) {
  transfer::SecureStream& stream = attempt.stream->stream();
  switch (piece.kind) {
    case Piece::Kind::kBegin: {
      auto index = attempt.sender->begin(stream, piece.name);
      if (!index) return index.error();
      attempt.images[piece.image] = *index;
      return {};
    }
    case Piece::Kind::kData:
      return attempt.sender->data(stream, attempt.images.at(piece.image), piece.bytes);
    case Piece::Kind::kEnd:
      return attempt.sender->end(stream, attempt.images.at(piece.image));
    case Piece::Kind::kTail:
      return attempt.sender->output(stream, piece.stream, piece.offset, piece.bytes);
  }
  return {};
}

// Moves pieces into the stream while there is room; CRIU waits while too many wait here.
void HandoverOut::pump(const Handle& attempt) {
  while (!attempt->backlog.empty() && attempt->stream && !attempt->failed) {
    Piece& piece = attempt->backlog.front();
    const Status sent = put(*attempt, piece);
    if (!sent) {
      attempt->stream->flush();
      if (sent.error().code == Code::kFull) break;
      return fail(attempt, sent.error().detail);
    }
    attempt->backlog_size -= piece.bytes.size();
    attempt->backlog.pop_front();
  }
  if (attempt->failed || !attempt->stream) return;
  attempt->stream->flush();
  if (attempt->failed) return;
  const bool full = attempt->backlog_size > kBacklogMax / 2 || !attempt->backlog.empty();
  if (attempt->content && full != attempt->paused) {
    attempt->paused = full;
    if (full) {
      attempt->content->pause();
    } else {
      attempt->content->resume();
    }
  }
  progress(attempt);
  if (attempt->content_done && attempt->backlog.empty() && !attempt->summary) read_tail(attempt);
  if (const auto seal = std::exchange(attempt->seal_waits, std::nullopt)) send_seal(*seal);
}

void HandoverOut::on_content(const Handle& attempt, const Status& status) {
  if (attempt->when_idle) return std::exchange(attempt->when_idle, nullptr)();
  if (attempt->failed) return;
  if (!status) return fail(attempt, status.error().detail);
  attempt->content_done = true;
  pump(attempt);
}

// After the images, the output that home has not acknowledged, piece by piece; then the rest.
void HandoverOut::read_tail(const Handle& attempt) {
  if (attempt->tails_done || attempt->tail_reading) return;
  for (int stream = 0; stream < node::kStreams; ++stream) {
    const auto s = static_cast<std::size_t>(stream);
    const std::uint64_t left = attempt->metadata.ends[s] - attempt->tail_at[s];
    if (left == 0) continue;
    const std::size_t size = std::min<std::uint64_t>(left, transfer::kOutputTailMax);
    const std::uint64_t at = attempt->tail_at[s];
    attempt->tail_reading = true;
    copies_.read(attempt->id.job, stream, at, size,
                 [this, attempt, stream, at, alive = alive_](std::uint64_t begin, base::Bytes bytes,
                                                             node::StreamEnds) {
                   if (!*alive || attempt->ended || attempt->failed) return;
                   attempt->tail_reading = false;
                   if (bytes.empty() || begin != at) {
                     return fail(attempt, "the job's output cannot be read");
                   }
                   attempt->tail_at[static_cast<std::size_t>(stream)] += bytes.size();
                   push(attempt, {Piece::Kind::kTail,
                                  0,
                                  {},
                                  static_cast<std::uint8_t>(stream + 1),
                                  at,
                                  std::move(bytes)});
                 });
    return;
  }
  attempt->tails_done = true;
  complete(attempt);
}

void HandoverOut::complete(const Handle& attempt) {
  const Status sent =
      attempt->sender->metadata(attempt->stream->stream(), node::encode(attempt->metadata));
  if (!sent && sent.error().code == Code::kFull) {
    attempt->tails_done = false;  // on_room comes back here
    attempt->stream->flush();
    return;
  }
  if (!sent) return fail(attempt, sent.error().detail);
  attempt->summary = attempt->sender->seal_summary();
  attempt->stream->flush();
  log_.info("stream_complete", {{"job", attempt->id.job.hex()},
                                {"epoch", attempt->id.epoch.value},
                                {"bytes", attempt->sender->bytes()}});
  callbacks_.report(
      balance::StreamComplete{attempt->id, {attempt->summary->hash}, attempt->sender->bytes()});
}

void HandoverOut::send_seal(const balance::SendSeal& order) {
  const auto it = attempts_.find(order.id);
  if (it == attempts_.end()) return;
  const Handle attempt = it->second;
  if (!attempt->summary || attempt->failed || attempt->sealed || !attempt->stream) return;
  if (attempt->summary->hash != order.seal.bytes) return;
  const Status sent = attempt->sender->seal(attempt->stream->stream());
  if (!sent) {
    if (sent.error().code != Code::kFull) return fail(attempt, sent.error().detail);
    attempt->seal_waits = order;  // asked once; on_room comes back here
    attempt->stream->flush();
    return;
  }
  attempt->sealed = true;
  attempt->stream->finish();
}

void HandoverOut::progress(const Handle& attempt) {
  const base::Time now = loop::Loop::now();
  if (now - attempt->progress_told < kProgressEvery) return;
  attempt->progress_told = now;
  // What the socket took, not what waits: a stalled peer must look stalled.
  const std::uint64_t given =
      attempt->sender->bytes() + (attempt->files ? attempt->files->bytes() : 0);
  const std::uint64_t waiting = attempt->stream ? attempt->stream->pending() : 0;
  callbacks_.report(balance::StreamProgress{attempt->id, given > waiting ? given - waiting : 0});
}

// The stream stays until the job is thawed: were it cut now, the sink's "it broke off" could be the
// first reason that the coordinator hears, and CRIU's own words would be lost.
void HandoverOut::fail(const Handle& attempt, const std::string& reason) {
  if (attempt->failed || attempt->ended) return;
  attempt->failed = true;
  attempt->backlog.clear();
  if (attempt->content) attempt->content->cancel();
  attempt->after_files = nullptr;
  log_.warn("stream_failed",
            {{"job", attempt->id.job.hex()}, {"epoch", attempt->id.epoch.value}, {"why", reason}});
  callbacks_.report(balance::StreamFailed{attempt->id, reason});
}

// Ends whatever there is of an attempt; `then` comes when nothing of CRIU is left.
void HandoverOut::end(const Handle& attempt, std::function<void()> then) {
  attempt->ended = true;
  attempt->failed = true;
  attempt->files.reset();
  attempt->after_files = nullptr;
  attempt->stream.reset();
  attempt->backlog.clear();
  if (!attempt->content) return then();
  attempt->when_idle = std::move(then);
  attempt->content->cancel();
}

void HandoverOut::thaw(const balance::Thaw& order) {
  const auto then = [this, id = order.id, alive = alive_] {
    if (!*alive) return;
    if (callbacks_.resting(id.job)) return;  // asked again: it runs then, or is parked
    callbacks_.parked(id.job, id.epoch,
                      [this, id, alive](const Result<std::optional<ParkDesk::Parked>>& parked) {
                        if (!*alive) return;
                        // Not known: asked again.
                        if (!parked && parked.error().code == base::Code::kIo) return;
                        // Damaged or not: it is what there is of the job.
                        if (!parked || *parked) return callbacks_.report(balance::Thawed{id, true});
                        thaw_copy(id);
                      });
  };
  const auto it = attempts_.find(order.id);
  if (it == attempts_.end()) return then();
  const Handle attempt = it->second;
  if (attempt->when_idle) return;  // on its way
  end(attempt, [this, id = order.id, then] {
    attempts_.erase(id);
    then();
  });
}

void HandoverOut::thaw_copy(const HandoverId& id) {
  copies_.thaw(id.job, id.epoch, [this, id, alive = alive_](const Result<bool>& ran) {
    if (!*alive) return;
    if (!ran) {
      log_.error("thaw_failed", {{"job", id.job.hex()}, {"why", ran.error().detail}});
      return;  // asked again
    }
    callbacks_.report(balance::Thawed{id, *ran});
  });
}

void HandoverOut::kill(const balance::KillOriginal& order) {
  const auto it = attempts_.find(order.id);
  if (it != attempts_.end()) {
    end(it->second, [] {});
    attempts_.erase(it);
  }
  if (!killing_.insert({order.id, order.newest}).second) return;
  const auto killed = [this, id = order.id, newest = order.newest,
                       alive = alive_](const Status& status) {
    if (!*alive) return;
    killing_.erase({id, newest});
    if (!status) {
      log_.error("kill_failed", {{"job", id.job.hex()}, {"why", status.error().detail}});
      return;  // asked again
    }
    callbacks_.report(balance::Killed{id});
  };
  const auto processes = [this, order, killed, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (!status) return killed(status);
    // What cannot be tidied is kept account of; the move is over all the same.
    auto tidied = std::make_shared<Status>();
    copies_.in_folder(
        order.id.job,
        [dir = paths_.job(order.id.job), newest = order.newest, job = order.id.job,
         folder = paths_.files(), home = callbacks_.home_is_here(order.id.job),
         tidied]() -> Status {
          *tidied = machine::forget_arrivals(folder, job, newest, home);
          return park_file::remove(dir, newest);
        },
        [this, killed, tidied, job = order.id.job, alive](const Status& removed) {
          if (!*alive) return;
          if (!*tidied) {
            log_.warn("files_left", {{"job", job.hex()}, {"why", tidied->error().detail}});
          }
          killed(removed);
        });
  };
  copies_.kill(order.id.job, order.newest, processes);
}

// One whose original was gone is neither thawed nor killed.
void HandoverOut::over(const balance::HandoverId& id) {
  const auto it = attempts_.find(id);
  if (it == attempts_.end()) return;
  end(it->second, [] {});
  attempts_.erase(it);
}

void HandoverOut::check(const balance::CheckOriginal& order) {
  const auto checked = [this, id = order.id, alive = alive_](const Result<bool>& present) {
    if (!*alive) return;
    if (present && *present) return callbacks_.report(balance::OriginalState{id, true});
    if (present) {
      return callbacks_.parked(id.job, id.epoch,
                               [this, id](const Result<std::optional<ParkDesk::Parked>>& parked) {
                                 const bool there = !parked || *parked;
                                 callbacks_.report(balance::OriginalState{id, there});
                               });
    }
    // Not to know is no answer: asked again.
    log_.error("check_failed", {{"job", id.job.hex()}, {"why", present.error().detail}});
  };
  copies_.check(order.id.job, order.id.epoch, checked);
}

}  // namespace ternd
