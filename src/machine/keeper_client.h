// The daemon's side of a keeper (init/keeper.h says what a keeper is and does).
//
// A keeper is told apart by its job folder: it holds the folder's lock, which names its process.
// It may be killed at any moment and another started; the job does not notice, and no byte of its
// output is lost or doubled. `start_keeper`, `stop_keeper`, `Keeper::call` block: off the loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/result.h"
#include "init/contract.h"
#include "machine/cgroup.h"
#include "machine/process_name.h"

namespace machine {

struct KeeperSpec {
  std::string keeper_path;  // of install_helpers()
  std::string job_dir;      // absolute; exists, writable; one stay of one job
  ProcessName init;
  // Offsets in the whole streams at which this stay's files begin: not 0 when the job moved in.
  // Kept in the folder; a later keeper must be given the same (kRefused otherwise).
  std::uint64_t stdout_base = 0;
  std::uint64_t stderr_base = 0;
  bool paused = false;
  std::uint64_t limit = 0;         // bytes of each stream on the disk: at it the job waits; 0: none
  const Cgroup* cgroup = nullptr;  // the node's `keepers`
};

// Starts one that outlives us; returns when it listens on its socket. kExists: the folder has a
// living keeper. An init that is gone by now is no error: the keeper stores that (ExitSource).
base::Status start_keeper(const KeeperSpec& spec, Patience patience);
// The process of the folder's living keeper; none if there is no such process.
[[nodiscard]] base::Result<std::optional<pid_t>> find_keeper(const std::string& job_dir);
// SIGKILLs the folder's keeper, if there is one, and returns when it is gone. Harmless to the job.
base::Status stop_keeper(const std::string& job_dir, Patience patience);
// stop_keeper and start_keeper.
base::Status replace_keeper(const KeeperSpec& spec, Patience patience);

// What the keeper stored. kNotFound: not yet; kInvalid: damaged.
[[nodiscard]] base::Result<init::ExitRecord> read_exit(const std::string& job_dir);
[[nodiscard]] base::Result<init::Bases> read_bases(const std::string& job_dir);

// One connection. A keeper serves one at a time: a new one ends the one before.
class KeeperClient {
 public:
  // kUnreachable: nobody listens there (start a keeper), or too many wait for it. Never waits: the
  // socket is non-blocking, and a unix socket's connect then succeeds or fails at once. Fit for a
  // loop.
  [[nodiscard]] static base::Result<KeeperClient> connect(const std::string& job_dir);

  // For an event loop: readable when next() has something. Non-blocking. Stable for life.
  [[nodiscard]] int fd() const { return socket_.get(); }
  // Sends a request; returns the id that its reply will carry. kUnreachable: the keeper is gone.
  [[nodiscard]] base::Result<std::uint32_t> send(init::Op op, std::uint32_t stream = 0);
  // The next message, or none for now. Growth is acknowledged (Op::kMore) by taking it from here.
  // kUnreachable: the keeper is gone, or another client took over; kInvalid: it talks nonsense.
  [[nodiscard]] base::Result<std::optional<init::Message>> next();
  // Blocking: sends and returns the reply; other messages stay for next(). kRefused: not legal now.
  [[nodiscard]] base::Result<init::Message> call(init::Op op, Patience patience,
                                                 std::uint32_t stream = 0);
  // Blocking: the next message that is no reply.
  [[nodiscard]] base::Result<init::Message> wait_for(init::MessageKind kind, Patience patience);

 private:
  explicit KeeperClient(Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] base::Result<std::optional<init::Message>> receive();

  Fd socket_;
  std::string heard_;  // part of a message
  std::deque<init::Message> waiting_;
  std::uint32_t last_id_ = 0;
};

}  // namespace machine
