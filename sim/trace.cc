#include "sim/trace.h"

namespace sim {

std::uint64_t Trace::fold(std::uint64_t x, std::uint64_t y) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(x ^ 0x9e3779b97f4a7c15ULL) * y;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

void Trace::add(base::ByteView bytes) {
  add(bytes.size());
  while (bytes.size() >= 8) {
    add(base::get_le64(bytes.first(8)));
    bytes = bytes.subspan(8);
  }
  std::uint64_t rest = 0;
  for (const std::uint8_t byte : bytes) rest = (rest << 8) | byte;
  add(rest);
}

std::string Trace::hex() const {
  std::array<std::uint8_t, 16> bytes{};
  base::put_le64(base::MutableByteView(bytes).first(8), fold(a_, words_));
  base::put_le64(base::MutableByteView(bytes).subspan(8), fold(b_, a_ ^ words_));
  return base::to_hex(bytes);
}

}  // namespace sim
