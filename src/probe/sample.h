// What was measured on a machine, with units: loads in micro-tasks (1'000'000 = one runnable task),
// CPUs in milli-CPUs, memory in bytes, times in microseconds. Integers throughout, so that the same
// samples give the same decisions on every node and in the simulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "probe/limits.h"

namespace probe {

// /proc/loadavg: averages over 1, 5 and 15 minutes; tasks runnable this moment and tasks in all.
struct LoadSample {
  std::int64_t load1_micros = 0;
  std::int64_t load5_micros = 0;
  std::int64_t load15_micros = 0;
  std::uint32_t runnable = 0;
  std::uint32_t tasks = 0;
};

struct MemorySample {
  std::int64_t total_bytes = 0;
  std::int64_t available_bytes = 0;  // what new work could have without swapping
};

// CPU time that a cgroup may use in each period.
struct CpuQuota {
  std::int64_t quota_us = 0;
  std::int64_t period_us = 0;
  friend bool operator==(const CpuQuota&, const CpuQuota&) = default;
};

// A process is named by (boot, start_ticks, pid): PIDs come round again.
struct ProcessSample {
  std::int32_t pid = 0;
  std::int32_t ppid = 0;
  char state = '?';                    // R, S, D, Z, T, ... as in proc(5)
  std::uint64_t start_ticks = 0;       // clock ticks from boot to its start
  base::Duration started{};            // the same since boot, in microseconds
  base::Duration cpu_time{};           // user + system, as `ps` counts it
  base::Duration children_cpu_time{};  // of ended children that were waited for
  std::int64_t rss_bytes = 0;
  std::uint32_t threads = 0;
  std::string comm;     // as the kernel holds it: up to 15 bytes (64 for kernel threads), any bytes
  std::string command;  // the command line, its NULs as spaces; "[comm]" where there is none
};

// Processes at one instant, ordered by PID. `since_boot` is CLOCK_BOOTTIME of the scan.
struct ProcessTable {
  base::Duration since_boot{};
  std::vector<ProcessSample> processes;
  bool cut_short = false;  // more processes than the scan's limit
};

// Milli-CPUs that a node may use: min(affinity, quota / period) over all its quotas, never below
// one thousandth. Without a quota that is 1000 * `nproc` (design.md §1).
[[nodiscard]] std::int64_t usable_cpus_millis(std::uint32_t affinity_cpus,
                                              const std::vector<CpuQuota>& quotas);

// Load ratio in millionths: load per CPU. cpus_millis >= 1. Rounded down, so a ratio that is above
// a threshold by less than one millionth counts as on it.
[[nodiscard]] std::int64_t ratio_micros(std::int64_t load_micros, std::int64_t cpus_millis);

}  // namespace probe
