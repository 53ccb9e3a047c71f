// A seeded generator (xoshiro256**, Blackman & Vigna 2018), the only randomness a core has. Same
// seed, same draws, with every compiler and library. Never for keys.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace base {

class Rng {
 public:
  explicit Rng(std::uint64_t seed);  // state filled by splitmix64
  [[nodiscard]] std::uint64_t next();
  [[nodiscard]] std::uint64_t below(std::uint64_t bound);  // uniform in [0, bound); bound > 0
  // Uniform in [low, high]; low <= high.
  [[nodiscard]] Duration between(Duration low, Duration high);
  void fill(MutableByteView out);

  template <typename T>
  void shuffle(std::vector<T>& items) {  // Fisher-Yates
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[static_cast<std::size_t>(below(i))]);
    }
  }

 private:
  std::uint64_t state_[4];
};

}  // namespace base
