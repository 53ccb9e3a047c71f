// What a job changed of its files comes home when it ended as a guest: the guest sends it, home
// takes it whole or not at all (transfer/job_files.h, a round that is final, in a connection whose
// hello says so). What came with the job is kept here until home has it on its disk.
//
//   guest  bring() -> noted -> connecting -> sending -> over (home has it, or refuses)
//                       ^------- again after a while ------/
//          Who hears that the job ended finds its files at home, unless home could not be reached,
//          or they take longer than kFilesHomeTellAfter, or this daemon stops: the end is told
//          then, and the files come behind it.
//   home   take() -> taking -> settled -> placed
//
// What is owed is on the guest's disk before anybody hears that the job ended, and until it is
// over: FOLDER/<job>, [version = 1, spec bytes, epoch]. A daemon that starts goes on with it.
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

inline constexpr std::size_t kFilesHomeMax = 8;  // that come at once; more are closed, to try again
inline constexpr base::Duration kFilesHomeAgain = std::chrono::seconds(5);
inline constexpr base::Duration kFilesHomeAgainMax = std::chrono::minutes(5);
inline constexpr base::Duration kFilesHomeTellAfter = std::chrono::seconds(30);

class FilesHome {
 public:
  struct Callbacks {
    std::function<std::vector<base::Endpoint>(const base::NodeId&)> addresses;
    // Guest: nothing more is owed to home; what is here of the job's files may be tidied.
    std::function<void(const base::JobId&)> over;
    // Home: the job's description, if that peer has it.
    std::function<std::optional<node::JobSpec>(const base::JobId&, const base::NodeId&)> expected;
    std::function<void(const base::JobId&, const std::string& what)> said;
    std::function<void(const base::JobId&, const machine::LaidBeside&)> beside;  // home
  };
  FilesHome(loop::Loop& loop, const Paths& paths, Links& links, base::Log& log,
            Callbacks callbacks);
  ~FilesHome();
  // `then`, once: home has it, or refuses it, or there is nothing to bring; or home could not be
  // reached or had not all of it in time, and it will be brought, whatever happens to this daemon.
  void bring(const node::JobSpec& spec, base::Epoch epoch, std::function<void()> then);
  // The daemon stops: no `then` waits for home any more, from now on.
  void tell_now();
  // Of which jobs one did.
  [[nodiscard]] const std::vector<base::JobId>& told_now() const { return told_now_; }
  // At the daemon's start: goes on with what is owed, and says of which jobs. Blocking.
  [[nodiscard]] std::vector<base::JobId> resume();
  [[nodiscard]] bool pending(const base::JobId& job) const { return going_.contains(job); }
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
  void again(const GoingHandle& going, const std::string& why);
  void drop(const GoingHandle& going);
  void finish(const GoingHandle& going);
  void start(const ComingHandle& coming, const node::JobSpec& spec, base::Epoch epoch);
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
