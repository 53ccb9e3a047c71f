// A node's load as one of three words (design.md §1): PLUS above 0.8, MINUS below 0.3, ERGODIC
// otherwise; exactly 0.8 and exactly 0.3 are ERGODIC. Ratios are in millionths.
//
// TritFilter keeps a trit from flickering (§2): it changes only after the ratio has been beyond the
// threshold by 0.02, or beyond it for 3 samples in a row. Each threshold has a latch of its own:
//
//   threshold   latch        sets when            releases when
//   0.8         is_above     ratio >  0.8         ratio <= 0.8
//   0.3         is_below     ratio <  0.3         ratio >= 0.3
//
// at once if the distance is at least 0.02, else at the third such sample in a row; a sample on the
// latch's own side starts the count again. PLUS = above, MINUS = below, ERGODIC = neither; both at
// once cannot be, since what sets one latch is further than 0.02 beyond the release of the other.
// So PLUS at 0.29 becomes ERGODIC at once and MINUS at the third sample; at 0.28 MINUS at once.
//
//            > 0.8 (0.82)                      < 0.3 (0.28)
//   PLUS  <----------------   ERGODIC   ---------------->  MINUS
//         ---------------->             <----------------
//            <= 0.8 (0.78)                     >= 0.3 (0.32)
#pragma once

#include <cstdint>

namespace probe {

enum class Trit : std::int8_t { kMinus = -1, kErgodic = 0, kPlus = 1 };

inline constexpr std::int64_t kPlusAboveMicros = 800'000;
inline constexpr std::int64_t kMinusBelowMicros = 300'000;
inline constexpr std::int64_t kTritMarginMicros = 20'000;
inline constexpr int kTritSamples = 3;
static_assert(kPlusAboveMicros - kMinusBelowMicros > 2 * kTritMarginMicros);

[[nodiscard]] Trit classify(std::int64_t ratio_micros);
[[nodiscard]] constexpr int trit_value(Trit trit) { return static_cast<int>(trit); }
[[nodiscard]] const char* trit_name(Trit trit);  // "PLUS", "ERGODIC", "MINUS"

class TritFilter {
 public:
  // One sample of the effective ratio, every 5 s; the first one is classified as it is. Returns the
  // trit after it.
  Trit update(std::int64_t ratio_micros);
  // Between two samples, when work came or went: only what is beyond a threshold by the margin
  // counts, at once. However often that is asked, it is no sample.
  Trit correct(std::int64_t ratio_micros);
  [[nodiscard]] Trit trit() const;  // kErgodic before the first sample

 private:
  struct Latch {
    bool set = false;
    int beyond = 0;  // samples in a row on the other side
  };
  static void move(Latch& latch, bool wants_set, bool is_clear);
  [[nodiscard]] bool is_clear(std::int64_t ratio_micros, std::int64_t threshold) const;

  Latch above_;
  Latch below_;
  bool started_ = false;
};

}  // namespace probe
