// What the running machine says about itself: /proc and control groups as values of src/probe.
//
// All calls block (briefly: they read files that the kernel makes up), hold no state and may be
// used from several threads at once. Nothing is cached: mounts and memberships are looked up anew,
// so a daemon that is moved to another cgroup is seen there. `root` in the options is put before
// every path, so that tests read recorded trees. Errors: kNotFound (no such process or directory),
// kIo, kInvalid and kTooLarge as the parsers say.
//
// Where the load comes from (`--load-source`):
//   system  /proc/loadavg, which counts every task of the machine
//   cgroup  tasks in state R or D in one cgroup v2 subtree, sampled by the caller and averaged by
//           probe::LoadAverage
//   auto    system if this node may use every CPU that is online, else cgroup: the machine's load
//           average measures against all of its CPUs, so with a quota, a cpuset or an affinity that
//           leaves less (as containers have) it counts work that never competes for ours. A
//           container without such bounds shares all CPUs and rightly sees the whole load. Without
//           a cgroup v2 mount: system. Several nodes on one machine must be told `cgroup`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "probe/cgroup_parse.h"
#include "probe/power.h"
#include "probe/proc_parse.h"
#include "probe/sample.h"

namespace machine {

inline constexpr std::size_t kProcessesMax = 1 << 16;   // a table is cut short here
inline constexpr std::size_t kCgroupDirsMax = 1 << 14;  // in one subtree; more: kTooLarge

enum class LoadSource { kAuto, kSystem, kCgroup };
// "auto", "system", "cgroup"; else kInvalid.
[[nodiscard]] base::Result<LoadSource> parse_load_source(std::string_view text);
[[nodiscard]] const char* load_source_name(LoadSource source);

struct CpuView {
  std::uint32_t affinity_cpus = 0;  // what `nproc` prints
  std::uint32_t online_cpus = 0;
  std::vector<probe::CpuQuota> quotas;  // of our cgroup and those above it, both versions
  std::int64_t usable_millis = 0;       // the "CPUs" of design.md §1
};

struct MemoryView {
  std::int64_t machine_total_bytes = 0;  // MemTotal, what `ps` counts mem% of
  probe::MemorySample usable;            // bounded by memory limits of our cgroup and those above
};

struct ProcSourceOptions {
  std::string root;                            // "" = this machine
  std::optional<std::uint32_t> affinity_cpus;  // instead of sched_getaffinity(2)
};

class ProcSource {
 public:
  explicit ProcSource(ProcSourceOptions options = {});

  [[nodiscard]] base::Result<probe::LoadSample> system_load() const;
  [[nodiscard]] base::Result<base::Duration> since_boot() const;  // CLOCK_BOOTTIME, to 10 ms
  [[nodiscard]] base::Result<CpuView> cpus() const;
  [[nodiscard]] base::Result<MemoryView> memory() const;
  // What feeds the machine; `before` as in probe::power_of. Supplies that cannot be read are left
  // out.
  [[nodiscard]] probe::PowerSample power(probe::Power before) const;
  // How long ago somebody typed at a terminal (probe/terminals.h); none: nobody is logged in.
  // `wall` is the wall clock's seconds. An input in the future (the clock was set back) is now.
  [[nodiscard]] std::optional<base::Duration> idle(std::int64_t wall) const;

  // Every process, in one pass with one file each. Resident sizes come from /proc/PID/stat, which
  // may lag by some hundred KiB a CPU; `command` is "[comm]". process() has both in full. Processes
  // that end meanwhile are left out, as are those that may not be read (hidepid).
  [[nodiscard]] base::Result<probe::ProcessTable> processes() const;
  [[nodiscard]] base::Result<probe::ProcessSample> process(std::int32_t pid) const;

  // The directory of our own cgroup in the version 2 hierarchy. kUnsupported where none is mounted.
  [[nodiscard]] base::Result<std::string> own_cgroup() const;
  // Tasks running or in uninterruptible sleep in `directory` and below, as the kernel's load
  // average counts them. Not counted: frozen tasks (v2 groups by cgroup.events, v1 groups by
  // freezer.state: their tasks look as if in state D), and the calling thread, which always runs
  // when it looks. kNotFound when `directory` is gone; groups below it may come and go.
  [[nodiscard]] base::Result<std::uint32_t> runnable_below(const std::string& directory) const;
  // All processes in `directory` and below, in full, ordered by PID: what probe::usage_of_job sums.
  [[nodiscard]] base::Result<std::vector<probe::ProcessSample>> processes_below(
      const std::string& directory) const;

  // kSystem or kCgroup: the choice above.
  [[nodiscard]] base::Result<LoadSource> resolve(LoadSource wanted) const;

 private:
  struct Groups {
    std::vector<probe::CgroupMembership> memberships;
    std::vector<probe::CgroupMount> mounts;
  };
  [[nodiscard]] base::Result<std::string> read(const std::string& path, std::size_t size_max) const;
  [[nodiscard]] base::Result<Groups> groups(const std::string& pid) const;
  [[nodiscard]] base::Status add_quotas(const Groups& groups, bool is_v2, CpuView& view) const;
  [[nodiscard]] base::Status bound_memory(const Groups& groups, bool is_v2, MemoryView& view) const;
  [[nodiscard]] base::Result<std::vector<std::string>> subtree(const std::string& directory,
                                                               bool skips_frozen) const;
  [[nodiscard]] bool counts_as_load(std::int32_t thread_id) const;
  [[nodiscard]] bool is_frozen_v1(std::int32_t thread_id) const;

  ProcSourceOptions options_;
  probe::KernelUnits units_;
};

}  // namespace machine
