#include "probe/held_back.h"

#include <algorithm>

#include "probe/limits.h"

namespace probe {

std::uint32_t held_back_millis(const QuotaUse& use) {
  if (use.limit_micros <= 0 || use.runnable == 0) return 0;
  const std::int64_t used = std::clamp<std::int64_t>(use.used_micros, 0, kCpusMillisMax * 1000);
  if (used < use.limit_micros / 10 * 8) return 0;
  const std::int64_t tasks = std::min(use.runnable, kTasksMax / 1000);
  const std::int64_t could =
      std::min(tasks * 1000, std::clamp<std::int64_t>(use.cpus_millis, 1, kCpusMillisMax));
  const std::int64_t had = std::min(used / 1000, could);
  return static_cast<std::uint32_t>(tasks * 1000 * (could - had) / could);
}

}  // namespace probe
