#include "node/sleep.h"

#include <algorithm>
#include <utility>

namespace node {

base::Duration SleepDelay::comes(base::Time now, base::Duration patience, bool shutdown) {
  const base::Duration time = std::clamp(patience * 9 / 10, base::Duration(0), kSleepPatienceMax);
  shutdown_ = shutdown;
  if (phase_ != Sleep::kAwake) return std::max(until_ - now, base::Duration(0));
  phase_ = Sleep::kLeaving;
  until_ = now + time;
  return time;
}

bool SleepDelay::tend(base::Time now, std::size_t waiting) {
  const Sleep before = phase_;
  if (phase_ == Sleep::kLeaving && (waiting == 0 || now >= until_)) phase_ = Sleep::kAsleep;
  const bool held = std::exchange(holds_, waiting > 0 && phase_ != Sleep::kAsleep);
  return phase_ != before || holds_ != held;
}

base::Time SleepDelay::next_deadline() const {
  return phase_ == Sleep::kLeaving ? until_ : base::kNever;
}

}  // namespace node
