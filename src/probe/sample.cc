#include "probe/sample.h"

#include "base/check.h"

namespace probe {

std::int64_t usable_cpus_millis(std::uint32_t affinity_cpus, const std::vector<CpuQuota>& quotas) {
  std::int64_t millis = std::int64_t{std::min(affinity_cpus, kCpusMax)} * 1000;
  for (const CpuQuota& quota : quotas) {
    if (quota.quota_us <= 0 || quota.period_us <= 0) continue;
    // A quota this large limits nothing; multiplying it would overflow.
    if (quota.quota_us > INT64_MAX / 1000) continue;
    const std::int64_t allowed = quota.quota_us * 1000 / quota.period_us;
    millis = std::min(millis, allowed);
  }
  return std::max<std::int64_t>(millis, 1);
}

std::int64_t ratio_micros(std::int64_t load_micros, std::int64_t cpus_millis) {
  CHECK(cpus_millis >= 1);
  return std::clamp<std::int64_t>(load_micros, 0, kLoadMicrosMax) * 1000 / cpus_millis;
}

}  // namespace probe
