// Bytes that must not outlive their use: wiped when they go, moved but never copied by accident.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace base {

void wipe(MutableByteView bytes);  // not optimised away

template <std::size_t N>
class Secret {
 public:
  static constexpr std::size_t kSize = N;
  Secret() = default;
  explicit Secret(ByteView from) {
    CHECK(from.size() == N);
    std::copy(from.begin(), from.end(), bytes_.begin());
  }
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      wipe(other.bytes_);
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(bytes_); }
  [[nodiscard]] Secret clone() const { return Secret(view()); }
  [[nodiscard]] ByteView view() const { return bytes_; }
  [[nodiscard]] MutableByteView mutable_view() { return bytes_; }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

}  // namespace base
