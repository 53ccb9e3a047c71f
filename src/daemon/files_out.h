// SOURCE's side of a job's files (transfer/job_files.h): looks which there are, and sends what the
// sink lacks, in one round before the freeze and one after it.
//
//   idle --start()--> looking (off the loop) --> sending --> (sink places) --> idle, done(ok)
//                          \________________________\______________________ done(error)
//
// A sink is hostile until proven otherwise: it learns what is on the list, and can make this wait
// no longer than kFilesPatience without asking for anything. Callbacks never come from within
// start(); each may destroy this.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "loop/handles.h"
#include "machine/job_tree.h"
#include "machine/ledger_files.h"
#include "transfer/job_files_flow.h"

namespace ternd {

inline constexpr base::Duration kFilesPatience = std::chrono::minutes(15);
inline constexpr base::Duration kFilesAliveEvery = std::chrono::seconds(3);

class FilesOut {
 public:
  struct Callbacks {
    std::function<base::Status(base::ByteView)> send;  // kFull: on_room() follows
    std::function<void()> flush;
    std::function<void()> progress;                 // bytes() grew
    std::function<void(const base::Status&)> done;  // once for each start()
  };
  // Off the loop: what is there to move.
  using List = std::function<base::Result<machine::JobTreeSpec>()>;
  // `before`: of an earlier attempt, so that what is as it was is not hashed again; or none.
  FilesOut(loop::Loop& loop, Callbacks callbacks, std::shared_ptr<machine::JobTree> before = {});
  ~FilesOut();

  void start(bool final, base::Bytes who, List list);
  void on_record(base::ByteView record);
  void on_room() { pump(); }
  // What was sent, and a little for every sign of life: never less than before.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // Of the last round.
  [[nodiscard]] const std::shared_ptr<machine::JobTree>& tree() const { return tree_; }
  [[nodiscard]] bool busy() const { return busy_; }
  // Whose word it is that the last round failed: the sink's own, or this machine's about its files.
  enum class Said : std::uint8_t { kNobody, kSink, kHere };
  [[nodiscard]] Said said() const { return said_; }

 private:
  void listed(const base::Status& status, bool final, base::Bytes who);
  void pump();
  void read(const transfer::JobFilesSender::Read& what);
  void alive();
  void end(const base::Status& status);

  loop::Loop& loop_;
  Callbacks callbacks_;
  bool busy_ = false;
  bool working_ = false;  // off the loop
  bool sent_any_ = false;
  Said said_ = Said::kNobody;
  std::shared_ptr<machine::JobTree> tree_;
  std::optional<transfer::JobFilesSender> sender_;
  std::optional<base::Bytes> waiting_;  // a record that found no room
  std::uint64_t bytes_ = 0;
  base::Time asked_{};  // when the sink last made progress
  loop::Timer timer_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
