// What a job's sockets mean for a move. A part of machine/preflight.h.
//
// Each socket is looked at through a duplicate (pidfd_getfd(2)), which its owner does not notice;
// who is at the other end of a unix socket only sock_diag(7) tells.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "machine/ports.h"

namespace machine {

struct JobSocket {
  std::string owner;  // the first process that has it, for people
  std::uint64_t inode = 0;
  int domain = 0;    // AF_
  int protocol = 0;  // IPPROTO_, of its domain
  bool raw = false;
  std::string path;            // of a unix socket that is a file
  bool connected_tcp = false;  // in a state in which a peer exists, or is being called
  base::Endpoint from;         // then, and of a listening one, like
  base::Endpoint to;
  std::uint32_t waiting = 0;      // connections that the job has not accepted yet
  std::uint64_t peer = 0;         // of a connected unix socket; 0: none
  std::optional<BoundPort> port;  // that must be free at the sink
};

// Nothing if it was closed meanwhile or cannot be looked at; CRIU then decides.
[[nodiscard]] std::optional<JobSocket> look_at_socket(pid_t pid, const std::string& number,
                                                      std::uint64_t inode);
// A sentence for each socket that cannot move; one for all TCP connections of a process, which
// `tcp_close` lets be closed.
[[nodiscard]] std::vector<std::string> socket_obstacles(const std::vector<JobSocket>& sockets,
                                                        bool tcp_close);

}  // namespace machine
