// Which process is meant: boot, start time and PID. A PID alone is used again sooner or later, so
// nothing is signalled, and no descriptor of a process opened, by PID alone.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/ids.h"
#include "base/result.h"
#include "machine/fd.h"

namespace machine {

struct ProcessName {
  base::BootId boot;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat
  pid_t pid = 0;
  friend auto operator<=>(const ProcessName&, const ProcessName&) = default;
};

struct TaskState {
  char state = '?';  // R S D T t Z X I, as in proc(5)
  std::uint64_t start_ticks = 0;
};
// Of a process or a thread, by /proc/TASK/stat. kNotFound: there is none.
[[nodiscard]] base::Result<TaskState> task_state(pid_t task);

[[nodiscard]] base::Result<base::BootId> current_boot();
// kNotFound: there is none. A zombie still has its name.
[[nodiscard]] base::Result<ProcessName> name_process(pid_t pid);
// A pidfd of exactly this process; readable (poll) when it has ended. kNotFound when it is gone
// and reaped, or from another boot.
[[nodiscard]] base::Result<Fd> open_process(const ProcessName& name);
// kNotFound as above.
base::Status signal_process(const ProcessName& name, int signal);

}  // namespace machine
