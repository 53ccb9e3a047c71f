// A file system that a test mounts for itself.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <functional>
#include <string>
#include <thread>

namespace machine {

struct Mount {
  std::string source;
  std::string at;
  const char* type = nullptr;
  unsigned long flags = 0;
  const char* options = nullptr;
};

// False: it cannot be mounted here, and `work` was not done. In a view of its own, gone afterwards.
inline bool with_mount(const Mount& mount, const std::function<void()>& work) {
  bool mounted = false;
  std::thread([&] {
    mounted = ::unshare(CLONE_FS | CLONE_NEWNS) == 0 &&
              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount(mount.source.c_str(), mount.at.c_str(), mount.type, mount.flags,
                      mount.options) == 0;
    if (mounted) work();
  }).join();
  return mounted;
}

}  // namespace machine
