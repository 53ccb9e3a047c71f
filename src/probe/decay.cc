#include "probe/decay.h"

#include "base/check.h"
#include "probe/limits.h"

namespace probe {
namespace {

constexpr std::uint64_t kLowMask = kDecayOne - 1;
constexpr std::uint64_t kInverseE = 1'580'030'169;  // e^-1 * 2^32
constexpr int kWholeMax = 23;                       // e^-23 is below one unit
constexpr std::uint64_t kTerms = 14;                // 1/15! is below one unit

std::uint64_t decay_of_part(std::uint64_t part) {  // e^-(part / 2^32), part < 2^32
  std::uint64_t result = kDecayOne;
  for (std::uint64_t k = kTerms; k >= 1; --k) {
    // part < 2^32 and result <= 2^32: the product fits 64 bits.
    result = kDecayOne - ((part * result) >> 32) / k;
  }
  return result;
}

}  // namespace

std::uint64_t decay_of(base::Duration elapsed, base::Duration window) {
  CHECK(window >= kLoadWindowMin);
  CHECK(window <= kLoadWindowMax);
  if (elapsed <= base::Duration::zero()) return kDecayOne;
  const std::int64_t whole = elapsed / window;
  if (whole >= kWholeMax) return 0;
  const auto rest = static_cast<std::uint64_t>((elapsed % window).count());
  const std::uint64_t part = (rest << 32) / static_cast<std::uint64_t>(window.count());
  std::uint64_t result = decay_of_part(part);
  for (std::int64_t i = 0; i < whole; ++i) result = (result * kInverseE) >> 32;
  return result;
}

std::uint64_t scale_down(std::uint64_t value, std::uint64_t factor) {
  CHECK(factor <= kDecayOne);
  return (value >> 32) * factor + (((value & kLowMask) * factor) >> 32);
}

std::uint64_t scale_up(std::uint64_t value, std::uint64_t factor) {
  CHECK(factor <= kDecayOne);
  return (value >> 32) * factor + (((value & kLowMask) * factor + kLowMask) >> 32);
}

}  // namespace probe
