// What a job's own IPC namespace holds. A part of machine/preflight.h.
//
// CRIU would carry System V objects, but no image of them is taken from a peer
// (transfer/image_schema.h): better said before the job is frozen.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace machine {

// Of the process's IPC namespace: "System V shared memory", "System V semaphores", "System V
// message queues". Nothing where that cannot be looked at.
[[nodiscard]] std::vector<std::string> system_v_objects(pid_t pid);

}  // namespace machine
