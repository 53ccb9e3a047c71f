// What a job's processes are to each other, as far as that stands in the way of a move. A part of
// machine/preflight.h.
#pragma once

#include <sys/types.h>

#include <string>

namespace machine {

// Whether two processes share what each has of its own after fork(2). Empty: they do not, or one
// of them is gone. Between vfork(2) and exec a child has its parent's memory, for a moment: that is
// waited for, kBorrowedMax at most. Else how a sentence goes on after the child's name.
[[nodiscard]] std::string shared_with_parent(pid_t pid, pid_t parent);

}  // namespace machine
