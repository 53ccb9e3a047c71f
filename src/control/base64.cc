#include "control/base64.h"

#include <array>

namespace control {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> kValues = [] {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}();

}  // namespace

std::string to_base64(base::ByteView bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t held = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = static_cast<std::uint32_t>(bytes[i]) << 16;
    if (held > 1) group |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
    if (held > 2) group |= bytes[i + 2];
    out += kAlphabet[group >> 18];
    out += kAlphabet[(group >> 12) & 63];
    out += held > 1 ? kAlphabet[(group >> 6) & 63] : '=';
    out += held > 2 ? kAlphabet[group & 63] : '=';
  }
  return out;
}

base::Result<base::Bytes> from_base64(std::string_view text) {
  const auto bad = [] { return base::fail(base::Code::kInvalid, "damaged base64"); };
  if (text.size() % 4 != 0) return bad();
  base::Bytes out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::size_t held = 3;
    if (i + 4 == text.size() && text[i + 3] == '=') held = text[i + 2] == '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const int value = j <= held ? kValues[static_cast<unsigned char>(text[i + j])] : 0;
      if (value < 0) return bad();
      group = (group << 6) | static_cast<std::uint32_t>(value);
    }
    if (held < 3 && (group & (held == 1 ? 0xffffU : 0xffU)) != 0) return bad();
    out.push_back(static_cast<std::uint8_t>(group >> 16));
    if (held > 1) out.push_back(static_cast<std::uint8_t>(group >> 8));
    if (held > 2) out.push_back(static_cast<std::uint8_t>(group));
  }
  return out;
}

}  // namespace control
