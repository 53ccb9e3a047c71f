// Waiting in the loop for what a cgroup v2 folder reports in cgroup.events, with a deadline: no
// sleeping and no blocking (kernel documentation, admin-guide/cgroup-v2.rst, "cgroup.events").
// The writes are small enough to be done in place: the kernel only takes note and works on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/time.h"

struct uv_loop_s;

namespace criu {

enum class CgroupState { kEmpty, kFrozen, kThawed };

// Runs until it has called `done` once, later than now, or is destroyed. A folder that is gone
// counts as empty and is an error otherwise. kTimeout: the state did not come within `patience`.
class CgroupWait {
 public:
  using Done = std::function<void(base::Status)>;
  CgroupWait();
  ~CgroupWait();
  CgroupWait(CgroupWait&&) noexcept;
  CgroupWait& operator=(CgroupWait&&) noexcept;
  void start(uv_loop_s* loop, const std::string& cgroup, CgroupState wanted,
             base::Duration patience, Done done);
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// What machine/cgroup.h only offers together with waiting. The first two are ok if the folder is
// gone.
base::Status kill_cgroup(const std::string& cgroup);    // SIGKILL to all in it
base::Status remove_cgroup(const std::string& cgroup);  // kIo while not empty
// kNotFound if the folder is gone.
base::Status freeze_cgroup(const std::string& cgroup, bool frozen);

}  // namespace criu
