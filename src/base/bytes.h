// Byte sequences and their hexadecimal text.
#pragma once

#include <cstdint>
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
void put_le64(MutableByteView at, std::uint64_t value);
void put_le32(MutableByteView at, std::uint32_t value);
[[nodiscard]] std::uint64_t get_le64(ByteView at);
[[nodiscard]] std::uint32_t get_le32(ByteView at);

}  // namespace base
