// What a load average does not show yet of work that has just moved (design.md §2). The average
// lags by its window; without this a node sheds far too much.
//
// Let a job with its own average c leave at time 0. Of the node's average, c * e^(-t/w) is still
// that job's at time t, so just that is subtracted. Let it arrive at another node: that node's
// average has gained c * (1 - e^(-t/w)) by t, so the missing c * e^(-t/w) is added. Both are exact
// for a constant c. A sum of terms with one time constant is itself one such term, so one signed
// number and the time when it held are the whole state, however many jobs move.
//
// For this to hold a job's own average travels with it: a job that is sent on after a short stay
// has added only part of c to the average, but the rest is still in the adjustment. A job that ends
// by itself needs no call, what it leaves fades as the average does. While a job is frozen it adds
// nothing: SOURCE gives the average that it has when it goes (it faded meanwhile, as its part of
// the node's average did); SINK gives the one that it had when it was frozen, what it will do
// again.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "probe/limits.h"

namespace probe {

class MovedLoad {
 public:
  explicit MovedLoad(base::Duration window = kLoadWindowDefault);
  // A job left or arrived at `now`; its own average load in micro-tasks, clamped to
  // [0, kLoadMicrosMax]. To be called once per move, at its commit.
  void sent_away(base::Time now, std::int64_t job_load_micros);
  void taken_in(base::Time now, std::int64_t job_load_micros);
  [[nodiscard]] std::int64_t adjustment_micros(base::Time now) const;
  // `load_micros` with the adjustment, never below 0.
  [[nodiscard]] std::int64_t effective_load_micros(base::Time now, std::int64_t load_micros) const;

 private:
  void add(base::Time now, std::int64_t micros);
  [[nodiscard]] std::int64_t fine_at(base::Time now) const;

  base::Duration window_;
  base::Time since_{};
  std::int64_t fine_ = 0;  // at since_, in 2^-16 micro-tasks, within +-kLoadMicrosMax
};

}  // namespace probe
