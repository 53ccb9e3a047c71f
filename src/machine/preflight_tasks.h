// What a job's processes are to each other, as far as that stands in the way of a move. A part of
// machine/preflight.h.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "probe/proc_parse.h"

namespace machine {

// Whether this process may read the limits of another user's processes (prlimit(2)): CRIU has to.
// Root may not where it lacks CAP_SYS_RESOURCE, as in containers.
[[nodiscard]] bool may_read_limits();

// Of a job whose first process is `job`: how a sentence about a process of another user or group
// goes on, where that stands in the way. Else empty.
[[nodiscard]] std::string other_user(const probe::ProcessStatus& job,
                                     const probe::ProcessStatus& process);

// Between vfork(2) and exec a child has its parent's memory, for a moment: that is waited for, in
// one inspection for so long altogether, on a busy machine.
inline constexpr std::chrono::milliseconds kBorrowedMax{1000};

// Whether two processes share what each has of its own after fork(2). Empty: they do not, or one
// of them is gone or a zombie. Else how a sentence goes on after the child's name. What it waits
// for shared memory is taken from `patience`; 0, as for what stands still: it does not wait.
[[nodiscard]] std::string shared_with_parent(pid_t pid, pid_t parent,
                                             std::chrono::milliseconds& patience);

// Likewise, of a timer that signals the first of a process's threads and no other (timer_create(2)
// with SIGEV_THREAD_ID): CRIU knows the numbers of the others alone.
[[nodiscard]] std::string timer_obstacle(pid_t pid);

}  // namespace machine
