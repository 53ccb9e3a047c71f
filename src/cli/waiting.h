// Waiting for signals and for sockets to appear, without sleeping for fixed times.
#pragma once

#include <chrono>
#include <csignal>
#include <optional>
#include <string>

#include "cli/connection.h"
#include "machine/fd.h"

namespace cli {

// SIGINT, SIGTERM and SIGHUP as readable events instead of interruptions, while this lives. Those
// that our parent had us ignore (nohup) stay ignored. One at a time per process.
class SignalWatch {
 public:
  // `terminal`: SIGWINCH, SIGTSTP and SIGCONT as well.
  explicit SignalWatch(bool terminal = false);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::optional<int> take();  // the next signal that came, if any

 private:
  machine::Fd fd_;
  sigset_t before_{};
};

// When to try a socket again: something changed in its folder, another event arrived, or a growing
// delay is over (a folder that appears only later cannot be watched; bind and listen are two
// steps).
class SocketRetry {
 public:
  explicit SocketRetry(const std::string& socket_path);
  // Waits once. `other_fd` (-1: none) readable ends the wait too, and is told by true.
  [[nodiscard]] bool wait(int other_fd);

 private:
  std::string dir_;
  machine::Fd inotify_;
  std::chrono::milliseconds delay_{10};
};

}  // namespace cli
