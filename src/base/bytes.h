// Byte sequences and their hexadecimal text.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace base {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;

[[nodiscard]] std::string to_hex(ByteView bytes);  // lower case
// kInvalid for an odd length or a character that is no hex digit (either case is taken).
[[nodiscard]] Result<Bytes> from_hex(std::string_view hex);

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }

// Little-endian integers at the start of `at`, which must hold them.
template <typename T>
inline void put_le(MutableByteView at, T value) {
  CHECK(at.size() >= sizeof(T));
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(at.data(), &value, sizeof(T));
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}
template <typename T>
[[nodiscard]] inline T get_le(ByteView at) {
  CHECK(at.size() >= sizeof(T));
  T value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, at.data(), sizeof(T));
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(at[i]) << (8 * i);
  }
  return value;
}
inline void put_le64(MutableByteView at, std::uint64_t value) { put_le(at, value); }
inline void put_le32(MutableByteView at, std::uint32_t value) { put_le(at, value); }
[[nodiscard]] inline std::uint64_t get_le64(ByteView at) { return get_le<std::uint64_t>(at); }
[[nodiscard]] inline std::uint32_t get_le32(ByteView at) { return get_le<std::uint32_t>(at); }

}  // namespace base
