// What a job changed of its files comes home when it ended as a guest: the guest sends it, home
// takes it whole or not at all (transfer/job_files.h, a round that is final, in a connection whose
// hello says so). What came with the job is kept here until home has it on its disk.
//
//   guest  bring() -> noted -> connecting -> sending -> over (home has it, or refuses)
//                       ^------- again after a while ------/   (also where home has no room)
//          Who hears that the job ended finds its files at home, unless home could not be reached,
//          or has no room, or they take longer than kFilesHomeTellAfter, or this daemon stops:
//          the end is told then, and the files come behind it.
//   home   take() -> taking -> settled -> placed
//                          |-> taken back -> refused: for good, or for want of room, so that the
//                              guest tries again for as long as that takes
//
// What is refused for good, by home or by the guest's own machine (what came with the job is not
// there any more, or cannot be read), stays with the guest, where the job left it. So it is where
// home knows the job no more, or has it under a later epoch (resolved by a person): nobody waits
// for it then. The guest's drain, sleep and stop wait for no files whose end was told.
//
// What is owed is on the guest's disk before anybody hears that the job ended, and until it is
// over; so it is that home has it, before anything goes here (files_owed.h). A daemon that starts
// goes on with either.
//
// Home takes files of a job only from the node where it knows the job to be, for the user whom it
// started the job for.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "daemon/files_in.h"
#include "daemon/files_out.h"
#include "daemon/links.h"
#include "daemon/paths.h"
#include "transfer/image_stream.h"

namespace ternd {

// That come at once, and as many that are refused; more are closed, to try again.
inline constexpr std::size_t kFilesHomeMax = 8;
inline constexpr base::Duration kFilesHomeAgain = std::chrono::seconds(5);
inline constexpr base::Duration kFilesHomeAgainMax = std::chrono::minutes(5);
// Where home has no room; longer, three times as long as an attempt took.
inline constexpr base::Duration kFilesHomeNoRoomMax = std::chrono::seconds(30);
inline constexpr base::Duration kFilesHomeLongMax = std::chrono::hours(1);
[[nodiscard]] base::Duration files_home_wait(base::Duration took, base::Duration wait);
inline constexpr base::Duration kFilesHomeRefuseFor = std::chrono::seconds(30);  // then closed
inline constexpr base::Duration kFilesHomeTellAfter = std::chrono::seconds(30);

class FilesHome {
 public:
  struct Callbacks {
    std::function<std::vector<base::Endpoint>(const base::NodeId&)> addresses;
    // Guest: nothing more is owed to home; what is here of the job's files may be tidied.
    std::function<void(const base::JobId&)> over;
    // Home: the job's description, if that peer has it.
    std::function<std::optional<node::JobSpec>(const base::JobId&, const base::NodeId&)> expected;
    // Home: why it will never take them; empty: it may.
    std::function<std::string(const base::JobId&, base::Epoch)> never;
    std::function<void(const base::JobId&, const std::string& what)> said;
    std::function<void(const base::JobId&, const machine::LaidBeside&)> beside;  // home
    // Home: it did not take them; kFull: they will come again.
    std::function<void(const base::JobId&, const base::Error& why)> refused;
  };
  FilesHome(loop::Loop& loop, const Paths& paths, Links& links, base::Log& log,
            Callbacks callbacks);
  ~FilesHome();
  // `then`, once: home has it, or refuses it, or there is nothing to bring; or home could not be
  // reached, had no room, or not all of it in time, and it will be brought, whatever happens to
  // this daemon.
  void bring(const node::JobSpec& spec, base::Epoch epoch, std::function<void()> then);
  // The daemon stops: no `then` waits for home any more, from now on.
  void tell_now();
  // Of which jobs one did.
  [[nodiscard]] const std::vector<base::JobId>& told_now() const { return told_now_; }
  // At the daemon's start: goes on with what is owed, and says of which jobs. Blocking.
  [[nodiscard]] std::vector<base::JobId> resume();
  [[nodiscard]] bool pending(const base::JobId& job) const { return going_.contains(job); }
  struct Waiting {
    base::JobId job;
    std::string name;
    base::NodeId home;
    std::string why;  // of the last attempt; empty: the first one is under way
  };
  // Whose end was told, and whose files home has not.
  [[nodiscard]] std::vector<Waiting> waiting() const;
  void take(BulkStream bulk, const transfer::ImageHello& hello);  // its first record said that

 private:
  struct Going;
  struct Coming;
  using GoingHandle = std::shared_ptr<Going>;
  using ComingHandle = std::shared_ptr<Coming>;
  void note(const GoingHandle& going);
  static bool tell(const GoingHandle& going);
  void tell_before_home(const GoingHandle& going);
  void connect(const GoingHandle& going);
  void on_connected(const GoingHandle& going, base::Result<BulkStream> bulk);
  void on_sent(const GoingHandle& going, const base::Status& status);
  void wait_for_room(const GoingHandle& going, const std::string& why);
  void give_up(const GoingHandle& going, const std::string& why);
  void gave_up(const GoingHandle& going);
  void again(const GoingHandle& going, const std::string& why);
  void drop(const GoingHandle& going);
  void finish(const GoingHandle& going);
  void start(const ComingHandle& coming, const node::JobSpec& spec, base::Epoch epoch);
  void refuse(BulkStream bulk, const base::JobId& job, const std::string& why);
  void close_soon(const std::weak_ptr<Coming>& coming, const std::string& why);
  void close(const ComingHandle& coming);
  void forget(const ComingHandle& coming);

  loop::Loop& loop_;
  const Paths& paths_;
  Links& links_;
  base::Log& log_;
  Callbacks callbacks_;
  std::map<base::JobId, GoingHandle> going_;
  std::list<ComingHandle> coming_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool tells_at_once_ = false;
  std::vector<base::JobId> told_now_;
};

}  // namespace ternd
