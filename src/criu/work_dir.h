// A folder on tmpfs for one CRIU run: its sockets, log, statistics and pid file. Nothing of a move
// touches a disk. Private (0700), named `<owner>-criu-<six characters>` so that a restarted daemon
// finds what a killed one left (criu/leftovers.h); `owner` is the node's cgroup name, which tells
// several nodes on one machine apart.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace criu {

class WorkDir {
 public:
  WorkDir() = default;
  ~WorkDir() { remove(); }
  WorkDir(WorkDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  WorkDir& operator=(WorkDir&& other) noexcept {
    remove();
    path_ = std::exchange(other.path_, {});
    return *this;
  }
  // In /dev/shm, else /run. kUnsupported if neither is a tmpfs that can be written; kInvalid for an
  // owner that is no plain name of up to 48 characters.
  [[nodiscard]] static base::Result<WorkDir> create(std::string_view owner);
  [[nodiscard]] const std::string& path() const { return path_; }
  // The last `size_max` bytes of a file in it; empty if there is none.
  [[nodiscard]] std::string tail(std::string_view file, std::size_t size_max) const;
  void remove();  // with everything in it; idempotent

 private:
  std::string path_;
};

// Every folder that create(owner) may have made and nobody removed.
[[nodiscard]] std::vector<std::string> stale_work_dirs(std::string_view owner);
void remove_work_dir(const std::string& path);

}  // namespace criu
