// Texts of /proc as values, by the formats in proc(5). Every parser takes the whole text of one
// file, refuses what is cut off or malformed (kInvalid) or longer than kProcTextMax (kTooLarge),
// and ignores fields that newer kernels append. No number is trusted: what does not fit its type is
// kInvalid. A process may name itself anything, so comm is taken as bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "probe/sample.h"

namespace probe {

// Of the machine, from sysconf(3); the kernel counts in these.
struct KernelUnits {
  std::int64_t ticks_per_second = 100;  // 1..1'000'000
  std::int64_t page_bytes = 4096;       // 1..1 GiB
};

[[nodiscard]] base::Result<LoadSample> parse_loadavg(std::string_view text);  // /proc/loadavg

struct SystemStat {  // /proc/stat
  base::WallTime boot_time{};
  std::uint32_t online_cpus = 0;  // lines "cpuN"
};
[[nodiscard]] base::Result<SystemStat> parse_system_stat(std::string_view text);

[[nodiscard]] base::Result<base::Duration> parse_uptime(std::string_view text);  // since boot

// /proc/PID/stat. comm stands between the first '(' and the *last* ')': it may hold both, blanks
// and newlines too. `command` is "[comm]" until a command line is known.
[[nodiscard]] base::Result<ProcessSample> parse_process_stat(std::string_view text,
                                                             const KernelUnits& units);

struct ProcessStatus {  // /proc/PID/status
  std::string name;     // escaped by the kernel
  char state = '?';
  std::int32_t tgid = 0;
  std::int32_t ppid = 0;
  std::array<std::uint32_t, 4> uids{};  // real, effective, saved, file system
  std::array<std::uint32_t, 4> gids{};
  std::vector<std::uint32_t> groups;
  std::vector<std::int32_t> ns_pids;  // in each PID namespace, outermost (of the reader) first
  std::int64_t rss_bytes = 0;         // 0 for kernel threads and zombies, which have none
  std::uint32_t threads = 0;
};
[[nodiscard]] base::Result<ProcessStatus> parse_process_status(std::string_view text);

struct ProcessMemory {  // /proc/PID/statm
  std::int64_t size_bytes = 0;
  std::int64_t rss_bytes = 0;
};
[[nodiscard]] base::Result<ProcessMemory> parse_statm(std::string_view text,
                                                      const KernelUnits& units);

// /proc/meminfo. Kernels before 3.14 have no MemAvailable: free memory stands for it.
[[nodiscard]] base::Result<MemorySample> parse_meminfo(std::string_view text);

// /proc/PID/cmdline for people: NULs and control characters as spaces, cut at kCommandTextMax.
// Empty for kernel threads and zombies.
[[nodiscard]] std::string command_text(std::string_view cmdline);

}  // namespace probe
