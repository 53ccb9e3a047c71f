#include "machine/preflight_fds.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

#include "probe/proc_parse.h"

namespace machine {
namespace {

constexpr std::size_t kStatusSizeMax = 64 << 10;
constexpr long kMessageQueues = 0x19800202;  // statfs(2)

bool has_lock_of(std::string_view details, std::initializer_list<std::string_view> kinds) {
  for (std::size_t at = 0; (at = details.find("\nlock:", at)) != std::string_view::npos; ++at) {
    const std::string_view line = details.substr(at + 1, details.find('\n', at + 1) - at - 1);
    for (const std::string_view kind : kinds) {
      if (line.find(kind) != line.npos) return true;
    }
  }
  return false;
}

// Of `key`, which ends with a tabulator or a space; -1: it is not there.
int number_of(std::string_view details, std::string_view key, int base) {
  const std::size_t at = details.find(key);
  int value = -1;
  if (at == std::string_view::npos) return value;
  std::from_chars(details.data() + at + key.size(), details.data() + details.size(), value, base);
  return value;
}

// Or a descendant: a zombie is in no cgroup's list, and who was born since is in no older one.
bool among(pid_t pid, const std::vector<pid_t>& pids) {
  constexpr int kDepthMax = 64;
  for (int depth = 0; pid > 1 && depth < kDepthMax; ++depth) {
    if (std::find(pids.begin(), pids.end(), pid) != pids.end()) return true;
    auto text = read_small_file("/proc/" + std::to_string(pid) + "/status", kStatusSizeMax);
    if (!text) return depth == 0;  // reaped meanwhile
    const auto status = probe::parse_process_status(*text);
    if (!status) return false;
    pid = status->ppid;
  }
  return false;
}

std::string process_obstacle(std::string_view details, const std::vector<pid_t>& pids) {
  constexpr int kThread = O_EXCL;  // PIDFD_THREAD
  constexpr int kReaped = -1;
  if ((std::max(open_flags(details), 0) & kThread) != 0) {
    return "has a pidfd of a thread, which cannot move; one of a process can";
  }
  const int pid = number_of(details, "\nPid:\t", 10);
  if (pid == kReaped || among(pid, pids)) return "";
  return "has a pidfd of a process outside the job, which stays here";
}

}  // namespace

std::string anonymous_obstacle(std::string_view kind, std::string_view details,
                               const std::vector<pid_t>& pids) {
  if (kind == "[pidfd]") return process_obstacle(details, pids);
  // Kernels before 6.5 do not tell it, and CRIU would make a plain counter of it.
  if (kind == "[eventfd]" && number_of(details, "eventfd-semaphore: ", 10) == 1) {
    return "counts with an eventfd of type EFD_SEMAPHORE, which cannot move; sem_init(3)'s and "
           "plain ones can";
  }
  for (const char* fine : {"[eventpoll]", "[eventfd]", "[timerfd]", "[signalfd]", "inotify"}) {
    if (kind == fine) return "";
  }
  const bool bracketed = kind.starts_with('[') && kind.ends_with(']');
  const std::string name(bracketed ? kind.substr(1, kind.size() - 2) : kind);
  const bool ring = name == "io_uring";  // programs fall back to what they did before it
  return "uses " + name + ", which cannot move" +
         (ring ? "; have it not do so (node.js: UV_USE_IO_URING=0)" : "");
}

std::string pipe_obstacle(const std::string& target, int flags) {
  if (target.starts_with('/')) {
    return "has the named pipe " + target +
           " open, which cannot move; one without a name can, as of a pipeline";
  }
  if ((flags & O_DIRECT) == 0) return "";
  return "has a pipe in packet mode (O_DIRECT), which cannot move; a socket pair of type "
         "SOCK_SEQPACKET can";
}

bool has_lease(std::string_view details) { return has_lock_of(details, {" LEASE ", " DELEG "}); }

bool has_write_lock(std::string_view details) { return has_lock_of(details, {" WRITE "}); }

bool holds_descriptors(std::string_view details) { return number_of(details, "scm_fds: ", 10) > 0; }

int open_flags(std::string_view details) { return number_of(details, "flags:\t", 8); }

bool common_device(dev_t device) {
  constexpr std::array kMinors = {3U, 5U, 7U, 8U, 9U};
  return major(device) == 1 &&
         std::find(kMinors.begin(), kMinors.end(), minor(device)) != kMinors.end();
}

bool is_message_queue(const std::string& file) {
  struct statfs info {};
  return ::statfs(file.c_str(), &info) == 0 && info.f_type == kMessageQueues;
}

bool has_unread_events(pid_t pid, const std::string& number) {
  const Fd fd = duplicate_of(pid, number);
  int bytes = 0;
  return fd.valid() && ::ioctl(fd.get(), FIONREAD, &bytes) == 0 && bytes > 0;
}

Fd duplicate_of(pid_t pid, const std::string& number) {
  int theirs = -1;
  std::from_chars(number.data(), number.data() + number.size(), theirs);
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return Fd();
  return Fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), theirs, 0)));
}

}  // namespace machine
