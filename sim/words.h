// Little-endian words of bytes, read in line: hashes read some for each byte that is sent.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace sim {

[[nodiscard]] inline std::uint64_t word_at(const std::uint8_t* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

}  // namespace sim
