// A 128-bit hash over everything that happens in a world, in order. Two runs of one seed with the
// same code have the same hash, whatever compiled them; not for security.
//
// Two 64-bit lanes, each folded with a 64 x 64 -> 128 bit multiplication (the idea of Wang Yi's
// wyhash and of FoundationDB's unseed check, over every event).
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace sim {

class Trace {
 public:
  void add(std::uint64_t word) {
    a_ = fold(a_ ^ word, 0xa0761d6478bd642fULL);
    b_ = fold(b_ + word, 0xe7037ed1a0b428dbULL) ^ a_;
    ++words_;
  }
  void add(base::ByteView bytes);
  [[nodiscard]] std::string hex() const;  // 32 digits
  friend bool operator==(const Trace&, const Trace&) = default;

 private:
  static std::uint64_t fold(std::uint64_t x, std::uint64_t y) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(x ^ 0x9e3779b97f4a7c15ULL) * y;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  std::uint64_t a_ = 0x243f6a8885a308d3ULL;  // digits of pi
  std::uint64_t b_ = 0x13198a2e03707344ULL;
  std::uint64_t words_ = 0;
};

}  // namespace sim
