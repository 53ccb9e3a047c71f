#include "machine/process_name.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <string>

#include "probe/proc_parse.h"

namespace machine {
namespace {

constexpr std::size_t kStatSizeMax = 4096;
}  // namespace

base::Result<std::string> read_small_file(const std::string& path, std::size_t size_max) {
  const Fd fd(retry([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!fd.valid()) return io_error("open " + path);
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t size = retry([&] { return ::read(fd.get(), piece, sizeof piece); });
    if (size < 0) return io_error("read " + path);
    if (size == 0) return text;
    text.append(piece, static_cast<std::size_t>(size));
    if (text.size() > size_max) return base::fail(base::Code::kTooLarge, path + " is too large");
  }
}

base::Result<TaskState> task_state(pid_t task) {
  auto text = read_small_file("/proc/" + std::to_string(task) + "/stat", kStatSizeMax);
  if (!text) return text.error();
  auto sample = probe::parse_process_stat(*text, probe::KernelUnits{});
  if (!sample) return sample.error();
  return TaskState{sample->state, sample->start_ticks};
}

base::Result<base::BootId> current_boot() {
  auto text = read_small_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return text.error();
  std::string hex;
  for (const char c : *text) {
    if (c != '-' && c != '\n') hex.push_back(c);
  }
  return base::BootId::from_hex_text(hex);
}

base::Result<ProcessName> name_process(pid_t pid) {
  auto boot = current_boot();
  if (!boot) return boot.error();
  auto state = task_state(pid);
  if (!state) return state.error();
  return ProcessName{*boot, state->start_ticks, pid};
}

// The pidfd first: if the name still fits afterwards, it fitted when the pidfd was opened.
base::Result<Fd> open_process(const ProcessName& name) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, name.pid, 0)));
  if (!pidfd.valid()) return io_error("open process " + std::to_string(name.pid));
  auto now = name_process(name.pid);
  if (!now) return now.error();
  if (*now != name) {
    return base::fail(base::Code::kNotFound,
                      "process " + std::to_string(name.pid) + " is another one by now");
  }
  return pidfd;
}

base::Status signal_process(const ProcessName& name, int signal) {
  auto pidfd = open_process(name);
  if (!pidfd) return pidfd.error();
  if (::syscall(SYS_pidfd_send_signal, pidfd->get(), signal, nullptr, 0) != 0) {
    return io_error("signal process " + std::to_string(name.pid));
  }
  return {};
}

}  // namespace machine
