// The SCUM score: how much of a machine a process or a job takes (design.md §1), in millionths.
//
//   0.6 * cpu%/100 + 0.3 * mem%/100 + 0.1 * runtime_hours/24, each term at most its weight
//
// cpu% and mem% are `ps`'s: CPU time over time since the start (100 = one CPU, four busy threads
// are 400), resident memory over MemTotal. A process is a *hog* above 0.35; exactly 0.35 is none.
// Terms are rounded down to millionths one by one, so that they sum to the score that is shown.
//
// A job counts as one process would that did all of its work: sums over its processes, CPU time of
// its ended children included, and with the CPU time and age that it brought from other machines,
// so that a moved hog does not look new. CPU time of children that a process disowned by ignoring
// SIGCHLD is counted nowhere by the kernel and is missing here too.
#pragma once

#include <cstdint>
#include <span>

#include "probe/sample.h"
#include "probe/trit.h"

namespace probe {

inline constexpr std::int64_t kScumCpuWeightMicros = 600'000;
inline constexpr std::int64_t kScumMemoryWeightMicros = 300'000;
inline constexpr std::int64_t kScumRuntimeWeightMicros = 100'000;
inline constexpr std::int64_t kHogAboveMicros = 350'000;

// 1'000'000 = 100 % as `ps` counts.
struct Usage {
  std::int64_t cpu_micros = 0;
  std::int64_t memory_micros = 0;
  base::Duration runtime{};
};

struct ScumScore {  // with its reasons
  std::int64_t cpu_micros = 0;
  std::int64_t memory_micros = 0;
  std::int64_t runtime_micros = 0;
  [[nodiscard]] std::int64_t total_micros() const {
    return cpu_micros + memory_micros + runtime_micros;
  }
  [[nodiscard]] bool is_hog() const { return total_micros() > kHogAboveMicros; }
};

// What a job brought along: CPU time used elsewhere and its age when it arrived here, which was at
// `arrived` since this machine's boot. For a job started here: zero, zero, its start.
struct JobPast {
  base::Duration cpu_time{};
  base::Duration age{};
  base::Duration arrived{};
};

// As `ps` has it; a process younger than a second counts as one second old (else a process that
// began this instant would be at any percentage). `memory_total_bytes` is MemTotal, at least 1.
[[nodiscard]] Usage usage_of(const ProcessSample& process, base::Duration since_boot,
                             std::int64_t memory_total_bytes);
// `processes` are those of the job at `since_boot`, its init included.
[[nodiscard]] Usage usage_of_job(std::span<const ProcessSample> processes, const JobPast& past,
                                 base::Duration since_boot, std::int64_t memory_total_bytes);
// The job's CPU time so far, all machines: what travels with it as JobPast::cpu_time.
[[nodiscard]] base::Duration cpu_time_of_job(std::span<const ProcessSample> processes,
                                             const JobPast& past);

[[nodiscard]] ScumScore scum_of(const Usage& usage);

// The process rule's row (design.md §2). kMigrate becomes kThrottle while no MINUS node has room;
// whether one has is the caller's knowledge.
enum class Advice { kNone, kAllow, kThrottle, kMigrate };
[[nodiscard]] Advice advise(const ScumScore& score, Trit trit);
[[nodiscard]] const char* advice_name(Advice advice);  // "none", "allow", "throttle", "migrate"

}  // namespace probe
