// Owned bytes that move and never copy: one allocation, not zeroed, of which a middle part is
// shown. What was received is opened in such a buffer and travels in it to where it is used.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace transfer {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size)  // contents unspecified
      : bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(size)), size_(size) {}
  Buffer(Buffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        start_(std::exchange(other.start_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    start_ = std::exchange(other.start_, 0);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] base::ByteView view() const { return {bytes_.get() + start_, size_}; }
  [[nodiscard]] base::MutableByteView mutable_view() { return {bytes_.get() + start_, size_}; }
  void drop_front(std::size_t count) {
    CHECK(count <= size_);
    start_ += count;
    size_ -= count;
  }
  void drop_back(std::size_t count) {
    CHECK(count <= size_);
    size_ -= count;
  }

 private:
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t start_ = 0;
  std::size_t size_ = 0;
};

}  // namespace transfer
