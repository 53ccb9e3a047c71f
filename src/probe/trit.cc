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

bool TritFilter::is_clear(std::int64_t ratio_micros, std::int64_t threshold) const {
  const std::int64_t distance = ratio_micros - threshold;
  return !started_ || distance >= kTritMarginMicros || distance <= -kTritMarginMicros;
}

Trit TritFilter::update(std::int64_t ratio_micros) {
  move(above_, ratio_micros > kPlusAboveMicros, is_clear(ratio_micros, kPlusAboveMicros));
  move(below_, ratio_micros < kMinusBelowMicros, is_clear(ratio_micros, kMinusBelowMicros));
  started_ = true;
  return trit();
}

Trit TritFilter::correct(std::int64_t ratio_micros) {
  if (!started_) return update(ratio_micros);
  if (is_clear(ratio_micros, kPlusAboveMicros)) {
    move(above_, ratio_micros > kPlusAboveMicros, true);
  }
  if (is_clear(ratio_micros, kMinusBelowMicros)) {
    move(below_, ratio_micros < kMinusBelowMicros, true);
  }
  return trit();
}

Trit TritFilter::trit() const {
  if (above_.set) return Trit::kPlus;
  return below_.set ? Trit::kMinus : Trit::kErgodic;
}

}  // namespace probe
