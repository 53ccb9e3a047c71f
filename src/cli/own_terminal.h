// The person's own terminal while it belongs to a job (tern run --tty).
//
// Raw: every key goes to the job, as it is. Whatever ends or stops this program gives the terminal
// back as it was: return, a failed check, a crash, SIGTERM, suspending. Only kill -9 cannot.
#pragma once

#include <termios.h>

#include <optional>

#include "control/input.h"

namespace cli {

// Whether `fd` is a terminal whose foreground we are in: reading it, or changing it, from the
// background would stop us.
[[nodiscard]] bool in_foreground(int fd);
// Its size now; none where it has none.
[[nodiscard]] std::optional<control::InputWindow> window_of(int fd);

// One at a time per process.
class OwnTerminal {
 public:
  explicit OwnTerminal(int fd) : fd_(fd) {}
  ~OwnTerminal() { give_back(); }
  OwnTerminal(const OwnTerminal&) = delete;
  OwnTerminal& operator=(const OwnTerminal&) = delete;
  // Does nothing in the background; try again when the person is back.
  void take();
  void give_back();
  [[nodiscard]] bool taken() const { return taken_; }
  // Stops this program as Ctrl-Z does; returns when it was continued.
  void suspend();

 private:
  int fd_;
  bool taken_ = false;
};

}  // namespace cli
