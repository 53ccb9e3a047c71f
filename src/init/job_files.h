// What the guard reads of a job in /proc and in its cgroup: the files behind proc_text.h.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "init/array.h"
#include "init/proc_text.h"
#include "init/sys.h"

namespace init {

inline constexpr std::size_t kPathMax = 512;     // of a cgroup, terminator included
inline constexpr std::size_t kStatusMax = 4096;  // of /proc/PID/status
inline constexpr std::size_t kLineMax = 4352;    // of /proc/PID/maps: a path and what precedes it

struct Folder {
  char path[kPathMax];
};

inline bool read_text(const char* path, char* out, std::size_t room) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = retry([&] { return ::read(fd, out, room - 1); });
  ::close(fd);
  if (got < 0) return false;
  out[got] = '\0';
  return true;
}

inline bool read_of(pid_t task, const char* file, char* out, std::size_t room) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/%s", task, file);
  return read_text(path, out, room);
}

// When a task began; 0: it is gone or dead.
inline std::uint64_t start_of(pid_t task) {
  char text[1024];
  return read_of(task, "stat", text, sizeof text) && !parse_dead(text) ? parse_start_ticks(text)
                                                                       : 0;
}

template <typename F>
bool each_number_in(const char* folder, F visit) {
  DIR* dir = ::opendir(folder);
  if (dir == nullptr) return false;
  bool good = true;
  while (const dirent* entry = ::readdir(dir)) {
    std::uint64_t number = 0;
    if (!parse_number(entry->d_name, 10, INT32_MAX, &number)) continue;
    if (!visit(static_cast<int>(number))) {
      good = false;
      break;
    }
  }
  ::closedir(dir);
  return good;
}

template <typename F>
bool each_mapping(pid_t pid, F visit) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/maps", pid);
  FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  static char line[kLineMax];
  bool good = true;
  while (good && std::fgets(line, sizeof line, file) != nullptr) {
    MapsLine mapping;
    if (parse_maps_line(line, &mapping)) good = visit(mapping);
  }
  std::fclose(file);
  return good;
}

inline int umask_of(pid_t pid) {
  char text[kStatusMax];
  return read_of(pid, "status", text, sizeof text) ? parse_umask(text) : -1;
}

// By /proc/PID/pagemap: mapped, or swapped out. True if that cannot be told.
inline bool in_memory(int pagemap, std::uint64_t at) {
  constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62;
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t entry = 0;
  const auto place = static_cast<off_t>(at / page * sizeof entry);
  if (::pread(pagemap, &entry, sizeof entry, place) != sizeof entry) return true;
  return (entry & kPresentOrSwapped) != 0;
}

// How to reach the descriptors of a process, which must live.
struct Descriptors {
  int pidfd;
  int folder;
};

inline Descriptors descriptors_of(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd", pid);
  return {static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)),
          ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

inline void close_descriptors(const Descriptors& all) {
  if (all.pidfd >= 0) ::close(all.pidfd);
  if (all.folder >= 0) ::close(all.folder);
}

// Ours of a process's local socket, to be closed, and its SO_PEEK_OFF. -1: it is no such thing,
// by its name: to look at a file may block.
inline int borrow_local_socket(const Descriptors& all, int fd, int* peek_offset) {
  constexpr char kSocket[] = "socket:";
  char number[16];
  char name[sizeof kSocket - 1];
  std::snprintf(number, sizeof number, "%d", fd);
  if (::readlinkat(all.folder, number, name, sizeof name) != sizeof name ||
      std::memcmp(name, kSocket, sizeof name) != 0) {
    return -1;
  }
  const auto ours = static_cast<int>(::syscall(SYS_pidfd_getfd, all.pidfd, fd, 0));
  int domain = 0;
  socklen_t size = sizeof domain;
  if (ours >= 0 && ::getsockopt(ours, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
      domain == AF_UNIX && ::getsockopt(ours, SOL_SOCKET, SO_PEEK_OFF, peek_offset, &size) == 0) {
    return ours;
  }
  if (ours >= 0) ::close(ours);
  return -1;
}

inline bool add_folders_in(const char* folder, Array<Folder>* out) {
  DIR* dir = ::opendir(folder);
  if (dir == nullptr) return false;
  bool good = true;
  while (const dirent* entry = good ? ::readdir(dir) : nullptr) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    Folder* const found = out->add();
    if (found == nullptr) {
      good = false;
      continue;
    }
    const int size = std::snprintf(found->path, sizeof found->path, "%s/%s", folder, entry->d_name);
    good = size > 0 && static_cast<std::size_t>(size) < sizeof found->path;
  }
  ::closedir(dir);
  return good;
}

}  // namespace init
