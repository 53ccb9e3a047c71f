#include "probe/scum.h"

#include <algorithm>

#include "base/check.h"

namespace probe {
namespace {

constexpr std::int64_t kMillion = 1'000'000;
constexpr base::Duration kAgeMin = std::chrono::seconds(1);
constexpr std::int64_t kDayMicros = std::int64_t{24} * 3600 * kMillion;
// Shares above this are over every weight; cutting them there keeps products within 64 bits.
constexpr std::int64_t kShareMax = kCpusMillisMax * 1000;

// part / whole in millionths, for any non-negative part and whole >= 1, without overflow.
std::int64_t share_micros(std::int64_t part, std::int64_t whole) {
  if (part <= 0) return 0;
  const std::int64_t units = part / whole;
  if (units >= kShareMax / kMillion) return kShareMax;
  const std::int64_t rest = part % whole;
  // rest < whole; where rest * 10^6 would overflow, whole is so large that dividing it is exact
  // enough: an error below one millionth.
  const std::int64_t fraction =
      rest <= INT64_MAX / kMillion ? rest * kMillion / whole : rest / (whole / kMillion);
  return units * kMillion + std::min(fraction, kMillion - 1);
}

// A microsecond count that adding to cannot overflow: 2^61 us are 73,000 years.
base::Duration bounded(base::Duration time) {
  constexpr base::Duration kLongest{std::int64_t{1} << 61};
  return std::clamp(time, base::Duration::zero(), kLongest);
}

}  // namespace

Usage usage_of(const ProcessSample& process, base::Duration since_boot,
               std::int64_t memory_total_bytes) {
  CHECK(memory_total_bytes >= 1);
  const base::Duration age = std::max(kAgeMin, bounded(since_boot) - bounded(process.started));
  return Usage{share_micros(process.cpu_time.count(), age.count()),
               share_micros(process.rss_bytes, memory_total_bytes), age};
}

base::Duration cpu_time_of_job(std::span<const ProcessSample> processes, const JobPast& past) {
  base::Duration sum = bounded(past.cpu_time);
  for (const ProcessSample& process : processes) {
    sum = bounded(sum + bounded(process.cpu_time));
    sum = bounded(sum + bounded(process.children_cpu_time));
  }
  return sum;
}

Usage usage_of_job(std::span<const ProcessSample> processes, const JobPast& past,
                   base::Duration since_boot, std::int64_t memory_total_bytes) {
  CHECK(memory_total_bytes >= 1);
  const base::Duration here =
      std::max(base::Duration::zero(), bounded(since_boot) - bounded(past.arrived));
  const base::Duration age = std::max(kAgeMin, bounded(past.age) + here);
  std::int64_t rss_bytes = 0;
  for (const ProcessSample& process : processes) {
    const std::int64_t room = INT64_MAX - rss_bytes;
    rss_bytes += std::clamp<std::int64_t>(process.rss_bytes, 0, room);
  }
  return Usage{share_micros(cpu_time_of_job(processes, past).count(), age.count()),
               share_micros(rss_bytes, memory_total_bytes), age};
}

ScumScore scum_of(const Usage& usage) {
  const auto term = [](std::int64_t share, std::int64_t weight) {
    return std::min(std::clamp<std::int64_t>(share, 0, kMillion) * weight / kMillion, weight);
  };
  const std::int64_t runtime = std::clamp<std::int64_t>(usage.runtime.count(), 0, kDayMicros);
  return ScumScore{term(usage.cpu_micros, kScumCpuWeightMicros),
                   term(usage.memory_micros, kScumMemoryWeightMicros),
                   runtime / (kDayMicros / kScumRuntimeWeightMicros)};
}

Advice advise(const ScumScore& score, Trit trit) {
  if (!score.is_hog()) return Advice::kNone;
  if (trit == Trit::kPlus) return Advice::kMigrate;
  return trit == Trit::kErgodic ? Advice::kThrottle : Advice::kAllow;
}

const char* advice_name(Advice advice) {
  switch (advice) {
    case Advice::kNone:
      return "none";
    case Advice::kAllow:
      return "allow";
    case Advice::kThrottle:
      return "throttle";
    case Advice::kMigrate:
      return "migrate";
  }
  return "none";
}

}  // namespace probe
