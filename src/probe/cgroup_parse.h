// Texts of control groups, both versions, and where they are mounted. Machines mix the versions
// (v2 without controllers at one place, the cpu controller in v1 at another), so nothing about
// paths is assumed: mounts come from /proc/self/mountinfo, memberships from /proc/self/cgroup.
// Errors as in proc_parse.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "probe/sample.h"

namespace probe {

struct CgroupMount {
  std::string root;                      // the directory of its hierarchy that is mounted
  std::string mount_point;               // unescaped
  std::vector<std::string> controllers;  // v1: from the super options; v2: empty
  bool is_v2 = false;
};
// The cgroup mounts of a mountinfo text, in order (proc(5): "/proc/pid/mountinfo").
[[nodiscard]] base::Result<std::vector<CgroupMount>> parse_cgroup_mounts(std::string_view text);

struct CgroupMembership {
  std::string path;                      // within its hierarchy, as the reader's namespace sees it
  std::vector<std::string> controllers;  // empty for v2 (hierarchy 0)
  bool is_v2 = false;
};
// /proc/PID/cgroup.
[[nodiscard]] base::Result<std::vector<CgroupMembership>> parse_memberships(std::string_view text);

// Where `membership` is in the file system: the mount of its hierarchy, and below it the part of
// its path that lies beneath the mount's root. A container may have its own cgroup mounted as a
// root that its path does not begin with (or no path at all, "/../.."): then the mount point.
struct CgroupPlace {
  std::string mount_point;
  std::string below;  // "" or "/a/b"
};
[[nodiscard]] std::optional<CgroupPlace> place_of(const std::vector<CgroupMembership>& memberships,
                                                  const std::vector<CgroupMount>& mounts,
                                                  std::string_view controller);  // "" = v2

// cpu.max: "max 100000" is no quota. v1: the two files; -1 is no quota. Periods are positive.
[[nodiscard]] base::Result<std::optional<CpuQuota>> parse_cpu_max(std::string_view text);
[[nodiscard]] base::Result<std::optional<CpuQuota>> parse_cfs_quota(std::string_view quota_text,
                                                                    std::string_view period_text);

// Count of CPUs in a list such as "0-3,8" (cpuset.cpus.effective); "" is 0. Each CPU < kCpusMax,
// ranges ascending as the kernel prints them.
[[nodiscard]] base::Result<std::uint32_t> parse_cpu_list(std::string_view text);

// memory.max ("max" is none), v1 memory.limit_in_bytes (its "none" is a number near 2^63).
[[nodiscard]] base::Result<std::optional<std::int64_t>> parse_memory_limit(std::string_view text);
[[nodiscard]] base::Result<std::int64_t> parse_byte_count(std::string_view text);
// The value of `key` in a file of "key value" lines (memory.stat, cgroup.events); kNotFound.
[[nodiscard]] base::Result<std::int64_t> parse_keyed(std::string_view text, std::string_view key);

// cgroup.threads: one id a line. Ids outside the reader's PID namespace are 0 and left out.
[[nodiscard]] base::Result<std::vector<std::int32_t>> parse_thread_ids(std::string_view text);

}  // namespace probe
