#include "probe/load_average.h"

#include <algorithm>

#include "probe/decay.h"

namespace probe {
namespace {

constexpr unsigned kFractionBits = 40;
constexpr std::uint64_t kMillion = 1'000'000;
static_assert((std::uint64_t{kTasksMax} << kFractionBits) >> kFractionBits == kTasksMax);

std::uint64_t from_micros(std::uint64_t micros) {
  return ((micros / kMillion) << kFractionBits) + ((micros % kMillion) << kFractionBits) / kMillion;
}

}  // namespace

LoadAverage::LoadAverage(base::Time start, base::Duration window, std::int64_t start_micros)
    : last_(start),
      window_(window),
      value_(from_micros(
          static_cast<std::uint64_t>(std::clamp<std::int64_t>(start_micros, 0, kLoadMicrosMax)))) {}

void LoadAverage::sample(base::Time now, std::uint32_t runnable) {
  if (now < last_ + kSampleSpacingMin) return;
  const std::uint64_t approach = kDecayOne - decay_of(now - last_, window_);
  last_ = now;
  const std::uint64_t target = std::uint64_t{std::min(runnable, kTasksMax)} << kFractionBits;
  if (target >= value_) {
    value_ += scale_up(target - value_, approach);
  } else {
    value_ -= scale_up(value_ - target, approach);
  }
}

std::int64_t LoadAverage::micros() const {
  const std::uint64_t part = value_ & ((std::uint64_t{1} << kFractionBits) - 1);
  return static_cast<std::int64_t>((value_ >> kFractionBits) * kMillion +
                                   ((part * kMillion) >> kFractionBits));
}

}  // namespace probe
