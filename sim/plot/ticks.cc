#include "plot/ticks.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace plot {
namespace {

constexpr int kLabelledDecadesMax = 7;  // more: every second power is labelled

}  // namespace

std::string number_text(double value, int digits) {
  std::array<char, 64> buffer{};
  const int size = std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
  std::string text(buffer.data(), static_cast<std::size_t>(size));
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string tick_text(double value) {
  if (std::abs(value) < 1000) return number_text(value, 6);
  std::string text = number_text(value, 0);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) text.insert(at -= 3, ",");
  return text;
}

std::vector<Tick> linear_ticks(double low, double high, int wanted) {
  const double rough = (high - low) / wanted;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (rough <= factor * power * 1.0001) step = factor * power;
  }
  std::vector<Tick> ticks;
  const auto first = static_cast<long>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<long>(std::floor(high / step + 1e-9));
  for (long i = first; i <= last; ++i) {
    const double at = static_cast<double>(i) * step;
    ticks.push_back({at, tick_text(at)});
  }
  return ticks;
}

std::vector<Tick> log_ticks(double low, double high) {
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(high) - 1e-9));
  const bool between = last - first <= 2;
  const int every = last - first > kLabelledDecadesMax ? 2 : 1;
  std::vector<Tick> ticks;
  for (int power = first; power <= last; ++power) {
    for (const int factor : {1, 2, 5}) {
      const double at = factor * std::pow(10.0, power);
      if (factor > 1 && !between) continue;
      if (at < low * 0.999999 || at > high * 1.000001) continue;
      ticks.push_back({at, (power - first) % every == 0 ? tick_text(at) : ""});
    }
  }
  return ticks;
}

}  // namespace plot
