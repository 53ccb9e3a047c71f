// SOURCE's side of handovers: freezes a job and streams its checkpoint to SINK.
//
//   connecting -> freezing -> dumping -> tails -> complete (sealed by SendSeal) -> over
//        \___________\___________\_________\__ failed: StreamFailed, once
//
// Dumping begins with showing the job's /proc to its init and ends with hiding it
// (machine/init_root.h). Connects first and freezes then, so that a sink that cannot be reached
// costs the job nothing. The original stays frozen until thaw() or kill(), whatever happens to this
// object, the daemon or the connection. Everything may be asked again; an attempt under way goes
// on, one that is done is reported again.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "balance/event.h"
#include "base/log.h"
#include "criu/dump_session.h"
#include "daemon/copies.h"
#include "daemon/links.h"
#include "daemon/paths.h"
#include "node/move_metadata.h"
#include "transfer/image_stream.h"

namespace ternd {

class HandoverOut {
 public:
  struct Callbacks {
    std::function<void(const balance::Event&)> report;
    // The metadata's description, as it is now; none when the job is gone.
    std::function<std::optional<node::MoveMetadata>(const base::JobId&)> describe;
    std::function<std::vector<base::Endpoint>(const base::NodeId&)> addresses;
    // The job's cgroup is frozen now: what it adds to the load stops.
    std::function<void(const base::JobId&)> frozen;
  };
  HandoverOut(loop::Loop& loop, const Paths& paths, Copies& copies, Links& links, base::Log& log,
              Callbacks callbacks);
  ~HandoverOut();

  void stream(const balance::FreezeAndStream& order);
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
  void on_frozen(const Handle& attempt, const base::Result<node::StreamEnds>& ends);
  void show_proc(const Handle& attempt);
  void start_dump(const Handle& attempt);
  void hide_proc(const Handle& attempt, base::Result<criu::DumpStats> stats);
  void on_dumped(const Handle& attempt, const base::Result<criu::DumpStats>& stats);
  void on_piece(const Handle& attempt, std::uint32_t index, base::ByteView data);
  void push(const Handle& attempt, Piece piece);
  void pump(const Handle& attempt);
  [[nodiscard]] base::Status put(Attempt& attempt, Piece& piece);
  void read_tail(const Handle& attempt);
  void complete(const Handle& attempt);
  void progress(const Handle& attempt);
  void fail(const Handle& attempt, const std::string& reason);
  void end(const Handle& attempt, std::function<void()> then);

  loop::Loop& loop_;
  const Paths& paths_;
  Copies& copies_;
  Links& links_;
  base::Log& log_;
  Callbacks callbacks_;
  std::map<balance::HandoverId, Handle> attempts_;
  std::uint64_t runs_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
