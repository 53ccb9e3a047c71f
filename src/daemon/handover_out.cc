#include "daemon/handover_out.h"

#include <algorithm>
#include <utility>

#include "criu/limits.h"
#include "daemon/job_folder.h"
#include "machine/cgroup.h"
#include "machine/init_root.h"
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

struct HandoverOut::Piece {
  enum class Kind { kBegin, kData, kEnd, kTail } kind = Kind::kData;
  std::uint32_t image = 0;
  std::string name;
  std::uint8_t stream = 0;
  std::uint64_t offset = 0;
  base::Bytes bytes;
};

struct HandoverOut::Attempt {
  HandoverId id;
  base::NodeId sink;
  std::unique_ptr<PeerStream> stream;
  base::crypto::Hash512 handshake_hash{};
  std::optional<transfer::ImageSender> sender;
  std::unique_ptr<criu::DumpSession> dump;
  std::string init_root;
  bool at_home = false;  // whose log answers for all output so far
  bool dumping = false;  // from before its /proc is shown until it is hidden again
  std::deque<Piece> backlog;
  std::size_t backlog_size = 0;
  std::map<std::uint32_t, std::uint16_t> images;  // CRIU's index to the stream's
  std::optional<std::uint32_t> left_out;          // the image that does not travel
  bool paused = false;
  bool dumped = false;
  bool tail_reading = false;
  bool tails_done = false;
  bool failed = false;
  bool ended = false;
  node::MoveMetadata metadata;
  node::StreamEnds tail_at{};
  std::optional<transfer::SealSummary> summary;
  std::optional<balance::SendSeal> seal_waits;  // for room in the stream
  bool sealed = false;
  base::Time progress_told{};
  std::function<void()> when_idle;  // asked to end: told when CRIU is gone
};

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
    attempt->stream.reset();
    attempt->dump.reset();
  }
}

void HandoverOut::stream(const balance::FreezeAndStream& order) {
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
    if (auto strong = weak.lock(); strong && !strong->ended) pump(strong);
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
  copies_.freeze(attempt->id.job,
                 [this, attempt, alive = alive_](const Result<node::StreamEnds>& ends) {
                   if (*alive && !attempt->ended) on_frozen(attempt, ends);
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
  show_proc(attempt);
}

// CRIU needs a /proc of the job's PID namespace in its init's root folder, before and not after.
void HandoverOut::show_proc(const Handle& attempt) {
  const CopyView* copy = copies_.find(attempt->id.job);
  CHECK(copy != nullptr);
  attempt->init_root = copy->init_root;
  attempt->dumping = true;
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [status, init = copy->init, root = attempt->init_root,
       log = attempt->at_home ? paths_.job(attempt->id.job) : ""] {
        if (!log.empty()) *status = job_folder::sync_output(log);
        if (*status && !root.empty()) *status = machine::show_proc(init, root);
      },
      [this, attempt, status, alive = alive_] {
        if (!*alive) return;
        if (!*status) return hide_proc(attempt, status->error());
        if (attempt->failed) return hide_proc(attempt, base::fail(Code::kRefused, "cancelled"));
        start_dump(attempt);
      });
}

// However the dump ended; whoever waits for its end goes on after this.
void HandoverOut::hide_proc(const Handle& attempt, Result<criu::DumpStats> stats) {
  auto result = std::make_shared<Result<criu::DumpStats>>(std::move(stats));
  auto status = std::make_shared<Status>();
  loop::run_blocking(
      loop_,
      [status, root = attempt->init_root] {
        if (!root.empty()) *status = machine::hide_proc(root);
      },
      [this, attempt, status, result, alive = alive_] {
        if (!*alive) return;
        if (!*status) log_.warn("proc_stays", {{"why", status->error().detail}});
        attempt->dumping = false;
        on_dumped(attempt, *result);
      });
}

void HandoverOut::start_dump(const Handle& attempt) {
  const CopyView* copy = copies_.find(attempt->id.job);
  if (copy == nullptr) return hide_proc(attempt, base::fail(Code::kNotFound, "the job has ended"));
  criu::DumpSpec spec;
  spec.program = paths_.criu;
  spec.guard = paths_.guard;
  spec.gentle = paths_.gentle;
  spec.owner = paths_.owner();
  spec.pid = copy->init.pid;
  spec.uid = attempt->metadata.spec.uid;
  spec.gid = attempt->metadata.spec.gid;
  spec.job_cgroup = copy->cgroup;
  spec.run_cgroup = paths_.criu_cgroup(attempt->id.job, attempt->id.epoch, ++runs_);
  criu::DumpCallbacks callbacks;
  std::weak_ptr<Attempt> weak = attempt;
  callbacks.image = [this, weak](std::uint32_t index, const std::string& name) {
    auto strong = weak.lock();
    if (!strong) return;
    // CRIU writes one even when it is told to ignore control groups; the sink's are its own affair.
    if (name == "cgroup.img") {
      strong->left_out = index;
      return;
    }
    push(strong, {Piece::Kind::kBegin, index, name, 0, 0, {}});
  };
  callbacks.data = [this, weak](std::uint32_t index, base::ByteView data) {
    auto strong = weak.lock();
    if (strong && strong->left_out != index) on_piece(strong, index, data);
  };
  callbacks.image_end = [this, weak](std::uint32_t index) {
    auto strong = weak.lock();
    if (strong && strong->left_out != index) {
      push(strong, {Piece::Kind::kEnd, index, {}, 0, 0, {}});
    }
  };
  callbacks.done = [this, weak](const Result<criu::DumpStats>& stats) {
    auto strong = weak.lock();
    if (!strong) return;
    const std::string& note = strong->dump->guard_note();
    if (!note.empty()) {
      log_.warn("criu_guard", {{"job", strong->id.job.hex()}, {"says", note}});
    }
    const std::string original = stats ? "" : strong->dump->original_error();
    if (!original.empty() && !strong->failed) {
      log_.warn("criu_dump_failed", {{"job", strong->id.job.hex()}, {"criu", original}});
    }
    strong->dump.reset();
    hide_proc(strong, stats);
  };
  auto dump = criu::DumpSession::start(loop_.raw(), spec, std::move(callbacks));
  if (!dump) return hide_proc(attempt, dump.error());
  attempt->dump = std::move(*dump);
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
  if (attempt->dump && full != attempt->paused) {
    attempt->paused = full;
    if (full) {
      attempt->dump->pause();
    } else {
      attempt->dump->resume();
    }
  }
  progress(attempt);
  if (attempt->dumped && attempt->backlog.empty() && !attempt->summary) read_tail(attempt);
  if (const auto seal = std::exchange(attempt->seal_waits, std::nullopt)) send_seal(*seal);
}

void HandoverOut::on_dumped(const Handle& attempt, const Result<criu::DumpStats>& stats) {
  if (attempt->when_idle) return std::exchange(attempt->when_idle, nullptr)();
  if (attempt->failed) return;
  if (!stats) return fail(attempt, stats.error().detail);
  attempt->dumped = true;
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
                 [this, attempt, stream, at, alive = alive_](base::Bytes bytes, node::StreamEnds) {
                   if (!*alive || attempt->ended || attempt->failed) return;
                   attempt->tail_reading = false;
                   if (bytes.empty()) return fail(attempt, "the job's output cannot be read");
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
  const std::uint64_t given = attempt->sender->bytes();
  const std::uint64_t waiting = attempt->stream ? attempt->stream->pending() : 0;
  callbacks_.report(balance::StreamProgress{attempt->id, given > waiting ? given - waiting : 0});
}

// The stream stays until the job is thawed: were it cut now, the sink's "it broke off" could be the
// first reason that the coordinator hears, and CRIU's own words would be lost.
void HandoverOut::fail(const Handle& attempt, const std::string& reason) {
  if (attempt->failed || attempt->ended) return;
  attempt->failed = true;
  attempt->backlog.clear();
  if (attempt->dump) attempt->dump->cancel();
  log_.warn("stream_failed",
            {{"job", attempt->id.job.hex()}, {"epoch", attempt->id.epoch.value}, {"why", reason}});
  callbacks_.report(balance::StreamFailed{attempt->id, reason});
}

// Ends whatever there is of an attempt; `then` comes when nothing of CRIU is left.
void HandoverOut::end(const Handle& attempt, std::function<void()> then) {
  attempt->ended = true;
  attempt->failed = true;
  attempt->stream.reset();
  attempt->backlog.clear();
  if (!attempt->dumping) return then();
  attempt->when_idle = std::move(then);
  if (attempt->dump) attempt->dump->cancel();
}

void HandoverOut::thaw(const balance::Thaw& order) {
  const auto then = [this, id = order.id, alive = alive_] {
    if (!*alive) return;
    copies_.thaw(id.job, id.epoch, [this, id, alive](const Result<bool>& ran) {
      if (!*alive) return;
      if (!ran) {
        log_.error("thaw_failed", {{"job", id.job.hex()}, {"why", ran.error().detail}});
        return;  // asked again
      }
      callbacks_.report(balance::Thawed{id, *ran});
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

void HandoverOut::kill(const balance::KillOriginal& order) {
  const auto it = attempts_.find(order.id);
  if (it != attempts_.end()) {
    end(it->second, [] {});
    attempts_.erase(it);
  }
  const auto killed = [this, id = order.id, alive = alive_](const Status& status) {
    if (!*alive) return;
    if (!status) {
      log_.error("kill_failed", {{"job", id.job.hex()}, {"why", status.error().detail}});
      return;  // asked again
    }
    callbacks_.report(balance::Killed{id});
  };
  copies_.kill(order.id.job, order.newest, killed);
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
    if (present) return callbacks_.report(balance::OriginalState{id, *present});
    // Not to know is no answer: asked again.
    log_.error("check_failed", {{"job", id.job.hex()}, {"why", present.error().detail}});
  };
  copies_.check(order.id.job, order.id.epoch, checked);
}

}  // namespace ternd
