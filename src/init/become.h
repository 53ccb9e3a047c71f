// Another user with some of root's capabilities, for who is about to exec: permitted, inheritable
// and ambient, so that they survive that (capabilities(7)). No supplementary groups. Takes root.
#pragma once

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>

namespace init {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint64_t capabilities = 0;  // bits 1 << CAP_...
};

// Raw calls: libc's would look for other threads. KEEPCAPS carries the permitted set over the
// change of the user; all others are raised again from it. False (errno).
inline bool become(const User& user) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  for (unsigned half = 0; half < 2; ++half) {
    const auto bits = static_cast<std::uint32_t>(user.capabilities >> (32 * half));
    sets[half] = {bits, bits, bits};
  }
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || ::syscall(SYS_setgroups, 0, nullptr) != 0 ||
      ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) != 0 ||
      ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) != 0 ||
      ::syscall(SYS_capset, &header, sets) != 0) {
    return false;
  }
  for (unsigned long number = 0; number < 64; ++number) {
    if ((user.capabilities >> number & 1U) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) != 0) return false;
  }
  return true;
}

}  // namespace init
