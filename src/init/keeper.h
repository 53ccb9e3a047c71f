// One job's keeper: empties its pipes into the spools and stores its exit.
//
//              kPause                    status seen        pipes empty, stored
//   paused <----------> running ------------> draining -----------------------> exited
//              kResume             (init told it, or init is gone)
//
// In every state it can be killed: what is to be known stands in the pipes, in the spools' sizes
// and in the exit file. Paused, it touches neither pipes nor files, whatever becomes of the job: on
// a handover the original is killed while its keeper is paused, and that is no exit.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "init/contract.h"
#include "init/spool.h"

namespace init {

struct KeeperOptions {
  const char* dir = nullptr;
  pid_t init_pid = 0;
  std::uint64_t init_start = 0;  // field 22 of /proc/PID/stat: PID and this name the process
  std::uint64_t stdout_base = 0;
  std::uint64_t stderr_base = 0;
  bool paused = false;
  std::uint64_t limit = 0;  // bytes of each stream on the disk; 0: none
};

class Keeper {
 public:
  // Each returns a sentence of what failed (errno with it), or nullptr.
  [[nodiscard]] const char* open_files(const KeeperOptions& options);
  [[nodiscard]] const char* open_init(const KeeperOptions& options);
  [[nodiscard]] const char* listen_on_socket();
  [[noreturn]] void run();

 private:
  enum class State { kRunning, kDraining, kExited };

  void turn();
  void move_output();
  void move_stream(unsigned index);
  void look_at_status(bool init_gone);
  void finish();
  void store_failed(int error);
  void acknowledge_to_init() const;
  [[nodiscard]] bool init_gone() const;
  [[nodiscard]] int timeout_ms() const;

  void accept_client();
  void drop_client();
  void hear_client();
  void obey(const Request& request);
  void close_reader(unsigned index);
  void send(MessageKind kind, std::uint32_t id, std::uint32_t extra_flags);
  void tell_growth();

  Stream streams_[2];
  Order order_;
  State state_ = State::kRunning;
  bool paused_ = false;
  std::uint64_t limit_ = 0;
  int store_errno_ = 0;           // not 0: storing failed, next attempt at retry_at_ms_
  std::int64_t retry_at_ms_ = 0;  // CLOCK_MONOTONIC
  ExitRecord exit_ = {};
  int status_pipe_ = -1;
  int init_pidfd_ = -1;
  int peek_[2] = {-1, -1};  // where tee puts its copy of the status

  int listener_ = -1;
  int client_ = -1;
  unsigned char heard_[sizeof(Request)] = {};
  std::size_t heard_size_ = 0;
  bool may_tell_growth_ = false;
  bool grew_ = false;
};

}  // namespace init
