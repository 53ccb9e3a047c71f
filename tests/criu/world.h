// What a test of CRIU needs: a node's cgroup, jobs in namespaces of their own, a loop.
#pragma once

#include <gtest/gtest.h>
#include <uv.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "criu/dump_session.h"
#include "criu/memory_images.h"
#include "criu/program.h"
#include "criu/restore_session.h"
#include "criu/work_dir.h"
#include "machine/cgroup.h"
#include "machine/spawn.h"

namespace criu_test {

inline constexpr machine::Patience kLong = std::chrono::seconds(30);

class World : public testing::Test {
 protected:
  void SetUp() override;  // skips without root or CRIU, but fails where CI=true
  void TearDown() override;

  [[nodiscard]] std::string path_of(const std::string& cgroup) const {
    return root_ + "/" + cgroup;
  }
  [[nodiscard]] std::string file(const std::string& name) const { return dir_.path() + "/" + name; }
  // Starts `script` under bash as PID 1 of a namespace, in cgroup `name`, in the test's folder.
  void start_job(const std::string& name, const std::string& script);
  // Host PID of the job's init.
  [[nodiscard]] int init_of(const std::string& cgroup);
  void freeze(const std::string& cgroup);
  void thaw(const std::string& cgroup);
  // The number in a file.
  [[nodiscard]] long count(const std::string& name = "count");
  // Waits (inotify, no polling) until the number in the file is above `beyond`.
  void wait_beyond(long beyond, const std::string& name = "count");
  // Thaws a guarded_job, which counts on and finds nothing wrong with itself.
  void goes_on(const std::string& job);
  // Turns the loop until `done` or half a minute passed.
  void turn_until(const std::function<bool()>& done);

  [[nodiscard]] criu::DumpSpec dump_spec(const std::string& cgroup);
  [[nodiscard]] criu::RestoreSpec restore_spec(const std::string& cgroup);
  // Collects a dump into `images`.
  base::Result<criu::DumpStats> dump(const std::string& cgroup, criu::MemoryImages& images);
  base::Result<criu::HeldCopy> restore(const std::string& cgroup, criu::MemoryImages& images);
  base::Status release(const std::string& cgroup);
  base::Status discard(const std::string& cgroup);
  [[nodiscard]] bool exists(const std::string& cgroup) const;

  criu::Program criu_;
  uv_loop_t loop_{};
  bool loop_made_ = false;
  criu::WorkDir dir_;
  std::string root_;
  std::string owner_;
  unsigned runs_ = 0;
};

}  // namespace criu_test
