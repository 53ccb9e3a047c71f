// The exponentially weighted average of runnable tasks, as the kernel computes its load average
// (Linux, kernel/sched/loadavg.c, calc_load), for any sampling interval and any window.
//
// Rule: at each sample, with a = tasks running or in uninterruptible sleep, t = time since the last
// sample and e = e^(-t/window):
//     average' = average * e + a * (1 - e)
// rounded towards a, so that a constant load is reached and not just approached: the kernel adds
// FIXED_1 - 1 before its division when the load rises, for the same reason. The kernel samples
// every 5 s with 11-bit fractions (EXP_1 = 1884/2048); here fractions have 32 bits and the average
// 40, so it differs from the kernel's by that rounding only. A late sample stands for the whole
// time since the last one, as in the kernel's calc_load_n.
//
// Like the kernel's, a fresh average starts at 0 and needs a few windows to show a constant load.
// Who knows better (a job that arrives with its own average) gives a start value. And for planning,
// the 0 that nobody measured can be left out: the samples' weights sum to 1 - e^(-age/window), so
//     average / (1 - e^(-age/window))
// is their mean by the same weights (as Kingma & Ba 2015, "Adam", §3, correct theirs), equal to a
// constant load. One or two samples are chance: a task that mostly sleeps may run just then. So
// what was measured counts as a quarter of a window at least.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "probe/limits.h"

namespace probe {

class LoadAverage {
 public:
  // `start_micros` is clamped to [0, kLoadMicrosMax]; 0: nothing is known of before.
  explicit LoadAverage(base::Time start, base::Duration window = kLoadWindowDefault,
                       std::int64_t start_micros = 0);
  // `runnable` above kTasksMax counts as that. A sample less than kSampleSpacingMin after the last
  // one, or before it, is left out; the next one stands for its time too.
  void sample(base::Time now, std::uint32_t runnable);
  [[nodiscard]] std::int64_t micros() const;  // in micro-tasks, rounded down
  // Over the time that was measured, or a quarter of a window.
  [[nodiscard]] std::int64_t measured_micros() const;

 private:
  base::Time last_;
  base::Duration window_;
  std::uint64_t value_;   // in 2^-40 tasks; kTasksMax of them fit 63 bits
  std::uint64_t weight_;  // of what was measured, in 2^-40
};

// What the average of a machine does not show yet of a constant load that began `age` ago: its part
// e^(-age/window).
[[nodiscard]] std::int64_t not_shown_micros(std::int64_t load_micros, base::Duration age,
                                            base::Duration window);

}  // namespace probe
