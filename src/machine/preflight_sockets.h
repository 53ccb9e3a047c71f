// What a job's sockets mean for a move. A part of machine/preflight.h.
//
// Each socket is looked at through a duplicate (pidfd_getfd(2)), which its owner does not notice;
// who is at the other end of a unix socket only sock_diag(7) tells.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace machine {

struct JobSocket {
  std::uint64_t inode = 0;
  int domain = 0;              // AF_
  bool connected_tcp = false;  // in a state in which a peer exists
  std::uint64_t peer = 0;      // of a connected unix socket; 0: none
};

// Nothing if it was closed meanwhile or cannot be looked at; CRIU then decides.
[[nodiscard]] std::optional<JobSocket> look_at_socket(pid_t pid, const std::string& number,
                                                      std::uint64_t inode);
// "a ... that cannot move; ..."; empty: it can. `inside`: inodes of all the job's sockets.
[[nodiscard]] std::string socket_obstacle(const JobSocket& socket,
                                          const std::set<std::uint64_t>& inside);

}  // namespace machine
