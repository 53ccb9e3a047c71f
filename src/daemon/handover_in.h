// SINK's side of handovers: takes a checkpoint in, restores it held, lets it go or destroys it.
//
//   expected -> receiving -> sealed (metadata stored by the node) -> restoring -> held
//                                     release(): marker stored, thawed, settled -> released
//                                     discard(): killed, seen empty, forgotten
//
// Its files come first, in the same connection; whatever of them was placed goes with discard().
// Of a job that is queued there is nothing to restore: it is launched, held as a copy is.
//
// What must outlive the daemon is in the job's folder: `held-e<epoch>` (the copy is whole and held)
// and `released-e<epoch>` (it may have run), both durable before anybody is told. The processes
// themselves are in job-<id>-e<epoch>. So every order can be carried out by a restarted daemon.
//
// A stream that comes before it is expected waits, a few at a time, unread.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "balance/event.h"
#include "base/log.h"
#include "daemon/copies.h"
#include "daemon/links.h"
#include "daemon/paths.h"
#include "machine/helpers.h"
#include "machine/job_placer.h"
#include "node/move_metadata.h"
#include "transfer/image_stream.h"

namespace ternd {

inline constexpr std::size_t kEarlyStreamsMax = 4;  // the oldest is dropped for a newer one
inline constexpr base::Duration kEarlyPatience = std::chrono::seconds(15);

class HandoverIn {
 public:
  struct Callbacks {
    std::function<void(const balance::Event&)> report;
    // The stream is whole, verified and its images admitted; sealed() is to be reported once the
    // node has stored the description.
    std::function<void(const balance::HandoverId&, const node::MoveMetadata&)> arrived;
    // Why this job may not run here, or empty (policy).
    std::function<std::string(const node::JobSpec&)> refusal;
    std::function<std::uint64_t()> memory_available;  // bytes
    std::function<std::string()> node_name;           // this node's, for what its peer shows
    std::function<bool(const base::JobId&)> home_is_here;
    // A connection of no checkpoint, paused: files that come home, or a question about files.
    std::function<void(BulkStream, const transfer::ImageHello&)> files_only;
    // Something about its files that a person should know.
    std::function<void(const base::JobId&, const machine::LaidBeside&)> files_beside;
  };
  HandoverIn(loop::Loop& loop, const Paths& paths, machine::Helpers helpers, Copies& copies,
             base::Log& log, bool allow_root_jobs, Callbacks callbacks);
  ~HandoverIn();

  void take(BulkStream bulk);  // from Links
  void expect(const balance::ExpectStream& order);
  void stored(const base::JobId& job);  // the node has stored what arrived() gave it
  void restore(const balance::Restore& order);
  void release(const balance::ReleaseCopy& order);
  void discard(const balance::DiscardCopy& order);
  void check(const balance::CheckCopy& order);

 private:
  struct Attempt;
  using Handle = std::shared_ptr<Attempt>;
  struct Early;
  void greet(const std::shared_ptr<Early>& early, transfer::Buffer bytes);
  void begin(const Handle& attempt, BulkStream bulk, transfer::Buffer hello);
  void on_data(const Handle& attempt, transfer::Buffer bytes);
  void on_sealed(const Handle& attempt);
  void on_admitted(const Handle& attempt, const base::Status& status);
  void start_restore(const Handle& attempt);
  void on_held(const Handle& attempt);
  void on_file_record(const Handle& attempt, const transfer::Buffer& record);
  void start_files(const Handle& attempt);
  [[nodiscard]] static base::Status check_files(const Attempt& attempt, const node::JobSpec& spec);
  void settle_files(const balance::HandoverId& id);
  void progress(const Handle& attempt);
  void fail(const Handle& attempt, const std::string& reason);
  static void tell_source(const Handle& attempt, const std::string& reason);
  void work(const Handle& attempt, std::function<base::Status()> work,
            std::function<void(const base::Status&)> done);
  [[nodiscard]] Copies::Done worked(const Handle& attempt,
                                    std::function<void(const base::Status&)> done);
  void destroy(const Handle& attempt);
  [[nodiscard]] Handle get(const balance::HandoverId& id) const;

  loop::Loop& loop_;
  const Paths& paths_;
  machine::Helpers helpers_;
  Copies& copies_;
  base::Log& log_;
  bool allow_root_jobs_;
  Callbacks callbacks_;
  std::map<balance::HandoverId, Handle> attempts_;
  std::list<std::shared_ptr<Early>> early_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
