// SINK's side of a job's files (transfer/job_files.h): what comes in the connection of a checkpoint
// is placed, one piece of work after another, off the loop.
//
// Nothing that is placed here decides anything: whatever becomes of the handover, the ledger takes
// it back (machine/ledger_files.h). Whose files they are the source says first, and this node's
// policy about jobs is asked before anything is looked at.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "loop/handles.h"
#include "machine/job_placer.h"
#include "node/job_wire.h"
#include "transfer/buffer.h"
#include "transfer/job_files_flow.h"

namespace ternd {

inline constexpr std::size_t kFilesQueueMax = 8 << 20;  // bytes for the disk; the sender then waits
inline constexpr std::size_t kFilesOrdersMax = 4096;    // orders, likewise

class FilesIn {
 public:
  using Done = std::function<void(const base::Status&)>;
  struct Callbacks {
    std::function<base::Status(base::ByteView)> send;  // kFull: on_room() follows
    std::function<void()> flush;
    std::function<void(bool)> pause;  // reading
    // kFull: for want of room. kStale: it changed meanwhile; where no handover follows the source
    // hears nothing, and tries again when the connection is closed.
    std::function<void(const base::Status&)> failed;
    // Off the loop; `done` unless all this is discarded meanwhile.
    std::function<void(std::function<base::Status()>, Done)> work;
    std::function<std::string(const node::JobSpec&)> refusal;  // policy; empty: welcome
    // Where no handover follows: what came in the final round is settled before the source hears
    // of it.
    std::function<void(const machine::LaidBeside&)> settled;
    // Likewise: what came is taken back before the source hears that it is refused.
    std::function<void(const base::Result<machine::Undone>&)> taken_back;
  };
  FilesIn(loop::Loop& loop, machine::PlacerSpec spec, Callbacks callbacks);
  ~FilesIn();
  void on_record(base::ByteView record);
  void on_room() { reply(); }
  // Whose the files are; none: there was nothing about files.
  [[nodiscard]] const std::optional<node::JobSpec>& owner() const { return owner_; }
  [[nodiscard]] bool idle() const { return !working_ && orders_.empty(); }
  [[nodiscard]] std::uint64_t bytes() const { return receiver_.bytes(); }
  [[nodiscard]] machine::LaidBeside laid() const;

 private:
  using Order = transfer::JobFilesReceiver::Order;
  struct Shared;  // with work off the loop
  void add(std::vector<Order> orders);
  void next();
  void worked(const base::Status& status, bool planned, bool finished);
  void reply();
  void fail(const base::Status& status);
  void take_back();
  void refuse();
  void alive();

  loop::Loop& loop_;
  machine::PlacerSpec spec_;
  Callbacks callbacks_;
  transfer::JobFilesReceiver receiver_;
  std::shared_ptr<Shared> shared_;
  std::optional<node::JobSpec> owner_;
  std::deque<Order> orders_;
  std::size_t queued_ = 0;  // bytes of them
  std::deque<base::Bytes> replies_;
  bool working_ = false;
  bool ticking_ = false;  // the timer runs
  bool paused_ = false;
  bool failed_ = false;
  base::Status why_;  // of that
  loop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
