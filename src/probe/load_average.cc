#include "probe/load_average.h"

#include <algorithm>

#include "probe/decay.h"

namespace probe {
namespace {

constexpr unsigned kFractionBits = 40;
constexpr std::uint64_t kOne = std::uint64_t{1} << kFractionBits;
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
          static_cast<std::uint64_t>(std::clamp<std::int64_t>(start_micros, 0, kLoadMicrosMax)))),
      weight_(start_micros > 0 ? kOne : 0) {}

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
  weight_ += scale_up(kOne - weight_, approach);
}

std::int64_t LoadAverage::micros() const {
  const std::uint64_t part = value_ & (kOne - 1);
  return static_cast<std::int64_t>((value_ >> kFractionBits) * kMillion +
                                   ((part * kMillion) >> kFractionBits));
}

std::int64_t LoadAverage::measured_micros() const {
  const std::uint64_t least = (kDecayOne - decay_of(window_ / 4, window_)) << (kFractionBits - 32);
  const std::uint64_t weight = std::max(weight_, least);
  // Both are rounded up at each sample: a little more than the tasks that there were is not meant.
  const std::uint64_t whole = std::min<std::uint64_t>(value_ / weight, kTasksMax);
  const std::uint64_t part = whole == kTasksMax ? 0 : value_ % weight;  // < 2^40
  return static_cast<std::int64_t>(whole * kMillion + part * kMillion / weight);
}

std::int64_t not_shown_micros(std::int64_t load_micros, base::Duration age, base::Duration window) {
  const auto load = std::clamp<std::int64_t>(load_micros, 0, kLoadMicrosMax);
  return static_cast<std::int64_t>(
      scale_down(static_cast<std::uint64_t>(load), decay_of(age, window)));
}

}  // namespace probe
