// The receiver's daemon in a share: whether the files may come, and their way into the inbox.
//
//   greeting -> admission (off the loop: space, consent) -> [asking a person] -> taking -> over
//                    \__ refused
//
// Consent is this node's own setting (control::SharePolicy). Under "ask" an offer waits in the
// inbox folder (machine/inbox.h) until `tern inbox accept` or `refuse`, also when its sender has
// gone meanwhile: the same command again then goes through, unless it brings more than was listed.
// What broke off stays there, to be gone on with, and so does the note of what has arrived until
// the sender has heard of it, since nothing is to arrive twice; what nobody tried again for
// kStageKept goes. What a daemon that was killed left of stages that were over goes at the next
// start.
//
// A sender is hostile until proven otherwise: transfer::ShareReceiver checks every word; here are
// bounds on how many may come at once, how long a silent one is kept, what waits for the disk and
// how much of it they take. One attempt per share: a newer one ends the older, whose connection may
// hang without this node's knowing.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "control/daemon_options.h"
#include "control/share_report.h"
#include "daemon/links.h"
#include "daemon/share_stage.h"
#include "machine/arrival.h"
#include "transfer/share_receiver.h"

namespace ternd {

inline constexpr std::size_t kGuestSharesMax = 32;  // at once, asked or under way; more are refused
inline constexpr std::size_t kGuestSharesOfPeerMax = 4;  // likewise
// Threads of the pool that shares may hold at once, since some of their work is long (hashing what
// is there, syncing a file system) and the store's must not wait for it; further work stands in a
// queue.
inline constexpr std::size_t kShareWorkersMax = 2;
inline constexpr std::size_t kShareQueueMax = 8 << 20;  // bytes for the disk; the sender then waits
inline constexpr std::size_t kShareOrdersMax = 16384;   // orders, likewise
inline constexpr base::Duration kGuestAliveEvery = std::chrono::seconds(5);
inline constexpr base::Duration kGuestSilence = std::chrono::seconds(60);
inline constexpr std::int64_t kStageKeptSeconds = 7 * 24 * 3600;
inline constexpr base::Duration kSweepStagesEvery = std::chrono::hours(1);

class ShareIn {
 public:
  struct Callbacks {
    std::function<std::string(const base::NodeId&)> name_of;
    std::function<void(const base::NodeId& from, const std::string& what)> happened;
  };
  ShareIn(loop::Loop& loop, control::SharePolicy policy, std::string inbox, base::Log& log,
          Callbacks callbacks);
  ~ShareIn();

  void take(BulkStream bulk);  // from Links
  void list(std::function<void(base::Result<control::InboxReport>)> done);
  // A person's word about an offer, by its id or the first digits; with what it is about.
  void answer(const std::string& offer, bool accept,
              std::function<void(base::Result<control::InboxItem>)> done);
  [[nodiscard]] std::size_t shares() const { return guests_.size(); }

 private:
  struct Guest;
  struct Batch;
  using Handle = std::shared_ptr<Guest>;
  void off_loop(std::function<void()> work, std::function<void()> done);
  void start_work();
  void greet(const Handle& guest, const transfer::Buffer& record);
  void admit(const Handle& guest);
  void on_admission(const Handle& guest, const ShareAdmission& admission);
  void accept(const Handle& guest);
  void on_record(const Handle& guest, transfer::Buffer record);
  void add(const Handle& guest, transfer::ShareOrders orders);
  void work(const Handle& guest);
  static void carry_out(Guest& guest, Batch& batch);  // off the loop
  void worked(const Handle& guest, const std::shared_ptr<Batch>& batch);
  void report_results(const Handle& guest, const std::vector<transfer::ShareResult>& results);
  void reply(const Handle& guest, base::Bytes record);
  void flush(const Handle& guest);
  void refuse(const Handle& guest, const std::string& why);
  void stop(const Handle& guest, const std::string& why, bool forget);
  void close(const Handle& guest);
  void said(const StageAnswer& answer, bool accept);
  void look();
  void sweep(bool first);
  [[nodiscard]] Handle find(const std::string& key) const;
  [[nodiscard]] Handle find_working(const std::string& key) const;

  loop::Loop& loop_;
  control::SharePolicy policy_;
  std::string path_;
  base::Log& log_;
  Callbacks callbacks_;
  std::list<Handle> guests_;
  struct Work {
    std::function<void()> work;
    std::function<void()> done;
  };
  std::deque<Work> work_;  // that waits; at most one of each guest, and one to tidy up behind it
  std::size_t workers_ = 0;
  bool swept_ = false;  // once: before that a stage that is made could be taken for what was left
  loop::Timer timer_;
  loop::Timer sweeper_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
