// What a job's descriptors other than sockets mean for a move. A part of machine/preflight.h.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "machine/fd.h"

namespace machine {

// `details` is a /proc/PID/fdinfo/N.

// A lease is this machine's kernel asking before others open the file.
[[nodiscard]] bool has_lease(std::string_view details);
// Exclusive: its copy would wait for it.
[[nodiscard]] bool has_write_lock(std::string_view details);
// Of a unix socket: somebody sent descriptors that nobody received yet (SCM_RIGHTS).
[[nodiscard]] bool holds_descriptors(std::string_view details);
// As they are open; -1 where there are none.
[[nodiscard]] int open_flags(std::string_view details);

// Why one of no file (its link is "anon_inode:" and `kind`) cannot move, after its owner's name;
// empty: it can. `pids`: of the job; it may be about them and their descendants (pidfd_open(2)).
[[nodiscard]] std::string anonymous_obstacle(std::string_view kind, std::string_view details,
                                             const std::vector<pid_t>& pids);
// The same of a pipe; `flags`: open_flags().
[[nodiscard]] std::string pipe_obstacle(const std::string& target, int flags);

// The same everywhere: mem(4), null, zero, full, random, urandom.
[[nodiscard]] bool common_device(dev_t device);
// A POSIX message queue, which looks like a file in the root folder (mq_overview(7)). `file`: in
// /proc/PID/fd.
[[nodiscard]] bool is_message_queue(const std::string& file);
// Of inotify(7): what was not read yet stays in the kernel, no checkpoint has it.
[[nodiscard]] bool has_unread_events(pid_t pid, const std::string& number);

// A duplicate (pidfd_getfd(2)), which its owner does not notice. Invalid: it was closed meanwhile.
[[nodiscard]] Fd duplicate_of(pid_t pid, const std::string& number);

}  // namespace machine
