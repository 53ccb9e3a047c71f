// Exponential decay in integers, the arithmetic under every average and every fading adjustment.
//
// decay_of(t, w) is e^(-t/w) in units of 2^-32. It is computed as e^-whole * e^-part by a Taylor
// series in Horner's form over 32-bit fractions: within 32 units of the true value, the same on
// every machine (std::exp is not).
#pragma once

#include <cstdint>

#include "base/time.h"

namespace probe {

inline constexpr std::uint64_t kDecayOne = std::uint64_t{1} << 32;

// kDecayOne for elapsed <= 0, 0 from 23 windows on. kLoadWindowMin <= window <= kLoadWindowMax.
[[nodiscard]] std::uint64_t decay_of(base::Duration elapsed, base::Duration window);

// value * factor / 2^32 for factor <= kDecayOne, rounded down or up; never overflows.
[[nodiscard]] std::uint64_t scale_down(std::uint64_t value, std::uint64_t factor);
[[nodiscard]] std::uint64_t scale_up(std::uint64_t value, std::uint64_t factor);

}  // namespace probe
