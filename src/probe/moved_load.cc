#include "probe/moved_load.h"

#include <algorithm>

#include "probe/decay.h"

namespace probe {
namespace {
constexpr std::int64_t kFine = 1 << 16;
constexpr std::int64_t kFineMax = kLoadMicrosMax * kFine;
static_assert(kFineMax / kFine == kLoadMicrosMax);
static_assert(kFineMax < INT64_MAX / 2, "a sum of two fits");
}  // namespace

MovedLoad::MovedLoad(base::Duration window) : window_(window) {}

std::int64_t MovedLoad::fine_at(base::Time now) const {
  if (fine_ == 0) return 0;
  const std::uint64_t decay = decay_of(now - since_, window_);
  const auto size = static_cast<std::uint64_t>(fine_ < 0 ? -fine_ : fine_);
  const auto left = static_cast<std::int64_t>(scale_down(size, decay));
  return fine_ < 0 ? -left : left;
}

void MovedLoad::add(base::Time now, std::int64_t micros) {
  fine_ = std::clamp(fine_at(now) + micros * kFine, -kFineMax, kFineMax);
  since_ = std::max(now, since_);
}

void MovedLoad::sent_away(base::Time now, std::int64_t job_load_micros) {
  add(now, -std::clamp<std::int64_t>(job_load_micros, 0, kLoadMicrosMax));
}

void MovedLoad::taken_in(base::Time now, std::int64_t job_load_micros) {
  add(now, std::clamp<std::int64_t>(job_load_micros, 0, kLoadMicrosMax));
}

std::int64_t MovedLoad::adjustment_micros(base::Time now) const { return fine_at(now) / kFine; }

std::int64_t MovedLoad::effective_load_micros(base::Time now, std::int64_t load_micros) const {
  const std::int64_t load = std::clamp<std::int64_t>(load_micros, 0, kLoadMicrosMax);
  return std::max<std::int64_t>(0, load + adjustment_micros(now));
}

}  // namespace probe
