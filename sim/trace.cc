#include "sim/trace.h"

#include "sim/words.h"

namespace sim {

void Trace::add(base::ByteView bytes) {
  add(bytes.size());
  while (bytes.size() >= 8) {
    add(word_at(bytes.data()));
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
