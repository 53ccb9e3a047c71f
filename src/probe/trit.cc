#include "probe/trit.h"

namespace probe {

Trit classify(std::int64_t ratio_micros) {
  if (ratio_micros > kPlusAboveMicros) return Trit::kPlus;
  if (ratio_micros < kMinusBelowMicros) return Trit::kMinus;
  return Trit::kErgodic;
}

const char* trit_name(Trit trit) {
  if (trit == Trit::kPlus) return "PLUS";
  return trit == Trit::kMinus ? "MINUS" : "ERGODIC";
}

void TritFilter::move(Latch& latch, bool wants_set, bool is_clear) {
  if (wants_set == latch.set) {
    latch.beyond = 0;
    return;
  }
  ++latch.beyond;
  if (!is_clear && latch.beyond < kTritSamples) return;
  latch = Latch{wants_set, 0};
}

Trit TritFilter::update(std::int64_t ratio_micros) {
  const auto is_clear = [&](std::int64_t threshold) {
    const std::int64_t distance = ratio_micros - threshold;
    return !started_ || distance >= kTritMarginMicros || distance <= -kTritMarginMicros;
  };
  move(above_, ratio_micros > kPlusAboveMicros, is_clear(kPlusAboveMicros));
  move(below_, ratio_micros < kMinusBelowMicros, is_clear(kMinusBelowMicros));
  started_ = true;
  return trit();
}

Trit TritFilter::trit() const {
  if (above_.set) return Trit::kPlus;
  return below_.set ? Trit::kMinus : Trit::kErgodic;
}

}  // namespace probe
