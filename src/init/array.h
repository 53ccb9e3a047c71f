// A growing array for the static programs: no exceptions, no destructors of elements. What cannot
// be had is told, and the caller gives up what it was doing.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <type_traits>
#include <utility>

namespace init {

template <typename T>
class Array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Array() = default;
  ~Array() { std::free(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // The new last element, zeroed; null when there is no memory. Earlier pointers are void.
  [[nodiscard]] T* add() {
    if (size_ == room_) {
      const std::size_t room = room_ == 0 ? 16 : room_ * 2;
      void* grown = std::realloc(data_, room * sizeof(T));
      if (grown == nullptr) return nullptr;
      data_ = static_cast<T*>(grown);
      room_ = room;
    }
    data_[size_] = T{};
    return &data_[size_++];
  }
  void clear() { size_ = 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* begin() { return data_; }
  [[nodiscard]] T* end() { return data_ + size_; }
  [[nodiscard]] const T* begin() const { return data_; }
  [[nodiscard]] const T* end() const { return data_ + size_; }
  [[nodiscard]] T& operator[](std::size_t i) { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t room_ = 0;
};

}  // namespace init
