// What is loaded into a CRIU that restores into a job's capsule (enter_main.cc): its /proc is the
// capsule's.
//
// CRIU finds the processes that it restores by their PIDs below the folder /proc, which it opens
// once. It runs in the capsule's PID namespace, but in the machine's mount namespace, since what it
// restores inherits that; so /proc there counts otherwise. Only that open(2) is led elsewhere, to
// the mount that TERN_PROC names: paths below /proc/self are right in any /proc.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

int open_path(const char* path, int flags, mode_t mode) {
  const char* const number = std::strcmp(path, "/proc") == 0 ? getenv("TERN_PROC") : nullptr;
  if (number == nullptr) {
    return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  }
  return static_cast<int>(syscall(SYS_openat, atoi(number), ".", flags, mode));  // NOLINT: ours
}

mode_t mode_of(int flags, va_list more) {
  const bool has_mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return has_mode ? static_cast<mode_t>(va_arg(more, int)) : 0;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {  // NOLINT: libc's
  va_list more;
  va_start(more, flags);
  const mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_path(path, flags, mode);
}

int open64(const char* path, int flags, ...) {  // NOLINT: libc's
  va_list more;
  va_start(more, flags);
  const mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_path(path, flags, mode);
}

}  // extern "C"
