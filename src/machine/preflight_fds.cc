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

namespace machine {
namespace {

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

}  // namespace

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
