// SOURCE's side of handovers: freezes a job and streams its checkpoint to SINK.
//
//   connecting -> files -> freezing -> files -> dumping -> tails -> complete (sealed) -> over
//        \__________\________\_________\________\________\__ failed: StreamFailed, once
//
// Connects first and freezes then, so that a sink that cannot be reached costs the job nothing. The
// files that the sink lacks go while the job still runs, and what changed of them once it stands
// still. The original stays frozen until thaw() or kill(), whatever happens to this object, the
// daemon or the connection. Everything may be asked again; an attempt under way goes on, one that
// is done is reported again.
//
// A job that is parked stands still already: what is streamed is its file, thawing it is leaving it
// parked, killing it is removing the file.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "balance/event.h"
#include "base/log.h"
#include "daemon/content_source.h"
#include "daemon/copies.h"
#include "daemon/files_out.h"
#include "daemon/links.h"
#include "daemon/park_desk.h"
#include "daemon/paths.h"
#include "node/move_metadata.h"
#include "transfer/image_stream.h"

namespace ternd {

class HandoverOut {
 public:
  using FoundParked = std::function<void(base::Result<std::optional<ParkDesk::Parked>>)>;
  struct Callbacks {
    std::function<void(const balance::Event&)> report;
    // The metadata's description, as it is now; none when the job is gone.
    std::function<std::optional<node::MoveMetadata>(const base::JobId&)> describe;
    std::function<std::vector<base::Endpoint>(const base::NodeId&)> addresses;
    std::function<bool(const base::JobId&)> home_is_here;
    // The job's cgroup is frozen now: what it adds to the load stops.
    std::function<void(const base::JobId&)> frozen;
    // It is being parked: it is not this handover's to freeze or to thaw.
    std::function<bool(const base::JobId&)> resting;
    // The parked job's file, if it is parked (ParkDesk::find).
    std::function<void(const base::JobId&, base::Epoch newest, FoundParked)> parked;
  };
  HandoverOut(loop::Loop& loop, const Paths& paths, Copies& copies, Links& links, base::Log& log,
              Callbacks callbacks);
  ~HandoverOut();

  // `tcp_close`: the job's TCP connections may be closed.
  void stream(const balance::FreezeAndStream& order, bool tcp_close);
  void send_seal(const balance::SendSeal& order);
  void thaw(const balance::Thaw& order);
  void kill(const balance::KillOriginal& order);
  void check(const balance::CheckOriginal& order);
  void over(const balance::HandoverId& id);  // nothing more will be asked of it
  [[nodiscard]] std::size_t attempts() const { return attempts_.size(); }

 private:
  struct Attempt;
  using Handle = std::shared_ptr<Attempt>;
  struct Piece;
  void on_connected(const Handle& attempt, base::Result<BulkStream> bulk);
  void on_parked(const Handle& attempt, const ParkDesk::Parked& parked);
  void freeze(const Handle& attempt);
  void send_files(const Handle& attempt, bool final, FilesOut::List list,
                  std::function<void()> then);
  [[nodiscard]] FilesOut::List live_files(const Handle& attempt) const;
  void note_files(const Handle& attempt, std::function<void()> then);
  void on_file_record(const Handle& attempt, const transfer::Buffer& record);
  void on_frozen(const Handle& attempt, const base::Result<node::StreamEnds>& ends);
  void start_content(const Handle& attempt);
  [[nodiscard]] ContentSource::Callbacks callbacks_of(const Handle& attempt);
  void on_content(const Handle& attempt, const base::Status& status);
  void on_piece(const Handle& attempt, std::uint32_t index, base::ByteView data);
  void push(const Handle& attempt, Piece piece);
  void pump(const Handle& attempt);
  [[nodiscard]] base::Status put(Attempt& attempt, Piece& piece);
  void read_tail(const Handle& attempt);
  void complete(const Handle& attempt);
  void progress(const Handle& attempt);
  void thaw_copy(const balance::HandoverId& id);
  void fail(const Handle& attempt, const std::string& reason);
  void end(const Handle& attempt, std::function<void()> then);

  loop::Loop& loop_;
  const Paths& paths_;
  Copies& copies_;
  Links& links_;
  base::Log& log_;
  Callbacks callbacks_;
  std::map<balance::HandoverId, Handle> attempts_;
  std::set<std::pair<balance::HandoverId, base::Epoch>>
      killing_;  // asked again meanwhile: under way
  std::uint64_t runs_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
