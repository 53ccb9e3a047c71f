// What a CPU quota keeps from the kernel's load average: a task that is out of its quota waits off
// the run queue, and is not counted, though it would run.
//
// A job with r runnable tasks on c CPUs, of which it had u, would have had min(r, c): of each of
// its tasks that share is missing. On a machine that is full anyway the job would have had less, so
// this is the most that can be missing; such a machine is PLUS either way.
#pragma once

#include <cstdint>

namespace probe {

struct QuotaUse {
  std::uint32_t runnable = 0;       // tasks in state R or D
  std::int64_t used_micros = 0;     // CPU, over the last interval; 1'000'000 = one CPU
  std::int64_t limit_micros = 0;    // the quota; 0: none
  std::int64_t cpus_millis = 1000;  // at least 1
};
// Thousandths of tasks. 0 where the job used clearly less than its quota: then that was not what it
// waited for.
[[nodiscard]] std::uint32_t held_back_millis(const QuotaUse& use);

}  // namespace probe
