// Where an axis has its marks, and how figures are written beside them.
#pragma once

#include <string>
#include <vector>

namespace plot {

struct Tick {
  double at = 0;
  std::string label;  // empty: a mark without a word
};

// `value` with at most `digits` behind the point, no trailing zeros.
[[nodiscard]] std::string number_text(double value, int digits);
// 10,000; 0.01; 1e-06 only below a thousandth of a thousandth.
[[nodiscard]] std::string tick_text(double value);
// Round values from `low` to `high`, about `wanted` of them; low < high.
[[nodiscard]] std::vector<Tick> linear_ticks(double low, double high, int wanted);
// Powers of ten; within two of them also 2 and 5 times each. 0 < low < high.
[[nodiscard]] std::vector<Tick> log_ticks(double low, double high);

}  // namespace plot
