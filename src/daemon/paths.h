// Where a daemon keeps things, and what its control groups are called.
//
// The namespace of this folder is `ternd`: libc has a function named daemon.
#pragma once

#include <string>

#include "base/ids.h"
#include "machine/cpu_limit.h"

namespace ternd {

struct Paths {
  std::string state;    // --state
  std::string cgroup;   // the node's cgroup v2 folder, absolute; empty where there is none
  std::string helpers;  // machine/helpers.h; the same path on every node
  bool root = false;    // the daemon is: its jobs can be checkpointed
  std::string criu;     // empty where there is none that works
  std::string guard;    // tern-guard
  std::string gentle;   // tern-gentle
  machine::LimitTools limits;

  [[nodiscard]] std::string jobs() const { return state + "/jobs"; }
  [[nodiscard]] std::string job(const base::JobId& job) const { return jobs() + "/" + job.hex(); }
  [[nodiscard]] std::string job_cgroup_name(const base::JobId& job, base::Epoch epoch) const {
    return "job-" + job.hex() + "-e" + std::to_string(epoch.value);
  }
  [[nodiscard]] std::string job_cgroup(const base::JobId& job, base::Epoch epoch) const {
    return cgroup + "/" + job_cgroup_name(job, epoch);
  }
  [[nodiscard]] std::string criu_cgroup(const base::JobId& job, base::Epoch epoch,
                                        std::uint64_t run) const {
    return cgroup + "/criu-" + job.hex() + "-e" + std::to_string(epoch.value) + "-" +
           std::to_string(run);
  }
  [[nodiscard]] std::string files() const { return state + "/files"; }  // ledgers
  // Jobs that ended here as guests and whose files home has not, a file each (files_home.h).
  [[nodiscard]] std::string files_owed() const { return state + "/files-owed"; }
  // The root folder of the job's init, as machine/init_root.h has it; empty where there is none.
  [[nodiscard]] std::string init_root(const base::JobId& job) const {
    return root ? helpers + "/root-" + job.hex() : std::string();
  }
  // What all copies' groups of one job begin with.
  [[nodiscard]] static std::string job_groups(const base::JobId& job) {
    return "job-" + job.hex() + "-e";
  }
  [[nodiscard]] std::string keepers_cgroup() const { return cgroup + "/keepers"; }
  // The node's name among several on one machine, for CRIU's work folders.
  [[nodiscard]] std::string owner() const {
    const std::size_t slash = cgroup.rfind('/');
    return slash == std::string::npos ? cgroup : cgroup.substr(slash + 1);
  }
};

}  // namespace ternd
