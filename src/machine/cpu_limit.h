// Less CPU time for a job, all of its processes together, those that it forks later included.
//
// By the first of these that works here:
//   cpu.max  the cpu controller of version 2, where the node's own group offers it to the jobs'
//   quota    a group of version 1 (cpu.cfs_quota_us) beside the job's own, which stays where it is:
//              <cpu mount>/<own group>/tern-<instance>/job-<job>-e<epoch>
//            made with the limit and removed with it; its processes go back to <own group>
//   nice     every thread yields by 10 more. What is at nice 10 or above already stays as it is.
//            The job's folder keeps what was changed ("nice": lines of from and to) from before the
//            first change; so a daemon that was killed sets it back. Two threads whose values fall
//            together by that come back as one. It bounds nothing on an idle machine.
//
// Checkpoints. CRIU ignores control groups, so a copy has no limit where it arrives; a nice value
// would travel. So a limit is suspended while its job is frozen for a dump (nice values go back,
// which works on frozen tasks; a quota would only slow CRIU's code down in the job), and set again
// before the job runs on.
//
// Functions hold no state and block: call them off the loop. Each is idempotent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/cgroup.h"

namespace machine {

enum class LimitMeans : std::uint8_t { kNone, kCpuMax, kQuota, kNice };
[[nodiscard]] const char* limit_means_name(LimitMeans means);  // as in the table above; "none"

struct LimitTools {
  LimitMeans means = LimitMeans::kNone;
  std::string quota_home;  // kQuota: the folder of our own group in the version 1 tree
  std::string quota_root;  // kQuota: quota_home/tern-<instance>
  std::string why;         // why nothing before it in the table; of kNone: why nothing at all
};

// What works for jobs below `node_group` (the node's version 2 folder). Tries to have the
// controller offered there, and makes nothing else. `root` is put before every path that is found
// out here (tests); `may_renice`: whether this process may undo a nice value.
[[nodiscard]] LimitTools find_limit_tools(const std::string& node_group,
                                          const std::string& instance, const std::string& root,
                                          bool may_renice);
[[nodiscard]] bool may_renice();

// 1'000'000 = one CPU, rounded to a hundredth of one; at least that. 0: none. `job_dir` is the
// job's folder. After an error nothing is limited.
base::Status limit_cpu(const LimitTools& tools, const Cgroup& job, const std::string& job_dir,
                       std::int64_t limit_micros);
// Of a frozen job: it is as if it had no limit, until limit_cpu() says so again.
base::Status suspend_limit(const LimitTools& tools, const Cgroup& job, const std::string& job_dir);
// Removes the groups of version 1 that no process is in: of jobs whose groups' names begin with
// `prefix`; all where it is empty.
void remove_unused_limits(const LimitTools& tools, const std::string& prefix);

}  // namespace machine
