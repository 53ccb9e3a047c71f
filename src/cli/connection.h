// The program's end of the control socket.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "control/line_reader.h"
#include "control/request.h"
#include "control/response.h"
#include "machine/fd.h"

namespace cli {

// One request and its answer. Blocking calls wait with poll, bounded by the caller's patience.
class Connection {
 public:
  // kUnreachable: nobody answers there. kRefused: somebody does, but not for us: the permissions
  // forbid it, or the other end is neither root nor us (a socket that a stranger put there could
  // ask for a ticket). Any length of path is reached, beyond what sun_path holds too.
  [[nodiscard]] static base::Result<Connection> open(const std::string& socket_path);
  // kUnreachable when the daemon went away, kTooLarge for a request that is no line.
  [[nodiscard]] base::Status send(const control::Request& request);

  // A line that is ready, of what follows a request.
  [[nodiscard]] base::Status send_line(std::string_view line);

  // ---- for those who poll themselves
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Reads what is there. kUnreachable at the end of the stream or when it broke, kTooLarge for a
  // line over the limit.
  [[nodiscard]] base::Status fill();
  // The next response held, if any. An error is rubbish from the daemon.
  [[nodiscard]] std::optional<base::Result<control::Response>> next();

  // Waits for the next response. kTimeout when there is none within `patience`.
  [[nodiscard]] base::Result<control::Response> wait(
      std::optional<std::chrono::milliseconds> patience);
  [[nodiscard]] pid_t peer_pid() const { return peer_pid_; }  // 0: not visible from here

 private:
  machine::Fd fd_;
  control::LineReader lines_;
  pid_t peer_pid_ = 0;
};

}  // namespace cli
