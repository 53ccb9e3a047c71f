#include "cli/text.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "control/json.h"

namespace cli {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t size = 0;  // bytes; 0: no UTF-8 here
};

Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (!control::is_utf8(text.substr(0, size))) return {};
  char32_t code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    code = (code << 6) | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  return {code, size};
}

bool is_dangerous(char32_t code) {
  const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
  const bool bidi = code == 0x61c || (code >= 0x200b && code <= 0x200f) ||
                    (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return control || bidi || code == 0xfeff;
}

std::string hex(std::uint32_t value, std::size_t digits) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (; value != 0 || out.size() < digits; value >>= 4)
    out.insert(out.begin(), kDigits[value & 15]);
  return out;
}

std::string escaped(char32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\t') return "\\t";
  if (code == '\r') return "\\r";
  return code < 0x100 ? "\\x" + hex(code, 2) : "\\u{" + hex(code, 4) + "}";
}

template <typename Escape>
std::string transformed(std::string_view text, Escape escape) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = first_character(text);
    const std::size_t size = std::max<std::size_t>(c.size, 1);
    if (c.size == 0) {
      out += "\\x" + hex(static_cast<unsigned char>(text[0]), 2);
    } else if (is_dangerous(c.code)) {
      out += escape(c.code);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return out;
}

std::size_t columns(char32_t code) {
  const auto within = [code](char32_t from, char32_t to) { return code >= from && code <= to; };
  if (within(0x300, 0x36f) || within(0x1ab0, 0x1aff) || within(0x20d0, 0x20ff) ||
      within(0xfe00, 0xfe0f)) {
    return 0;
  }
  const bool wide = within(0x1100, 0x115f) || within(0x2e80, 0xa4cf) || within(0xac00, 0xd7a3) ||
                    within(0xf900, 0xfaff) || within(0xfe30, 0xfe6f) || within(0xff00, 0xff60) ||
                    within(0xffe0, 0xffe6) || within(0x1f300, 0x1faff) || within(0x20000, 0x3fffd);
  return wide ? 2 : 1;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = corner + (a[i] == b[j] ? 0 : 1);
      corner = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, corner + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string escape_line(std::string_view text) { return transformed(text, escaped); }

std::string escape_block(std::string_view text) {
  return transformed(text, [](char32_t c) { return c == '\n' ? "\n" : escaped(c); });
}

std::string escape_json(std::string_view json) {
  return transformed(json, [](char32_t c) { return "\\u" + hex(c, 4); });
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character c = first_character(text);
    width += c.size == 0 ? 1 : columns(c.code);
    text.remove_prefix(std::max<std::size_t>(c.size, 1));
  }
  return width;
}

std::string clip(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::size_t used = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const Character c = first_character(text.substr(at));
    const std::size_t more = c.size == 0 ? 1 : columns(c.code);
    if (used + more > width - 1) break;
    used += more;
    at += std::max<std::size_t>(c.size, 1);
  }
  return std::string(text.substr(0, at)) + "…";
}

std::string decimal_text(std::int64_t value, std::int64_t scale, int digits) {
  std::int64_t unit = 1;
  for (int i = 0; i < digits; ++i) unit *= 10;
  const bool negative = value < 0;
  std::uint64_t size =
      negative ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const auto step = static_cast<std::uint64_t>(std::max<std::int64_t>(scale / unit, 1));
  size = (size + step / 2) / step;
  const std::uint64_t whole = size / static_cast<std::uint64_t>(unit);
  std::string out = (negative && size != 0 ? "-" : "") + std::to_string(whole);
  if (digits > 0) {
    const std::uint64_t rest = size % static_cast<std::uint64_t>(unit);
    out += "." + std::to_string(rest + static_cast<std::uint64_t>(unit)).substr(1);
  }
  return out;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  std::uint64_t unit = 1;
  std::size_t name = 0;
  while (name + 1 < kUnits.size() && bytes / unit >= 1000) {
    unit *= 1000;
    ++name;
  }
  const std::uint64_t tenths = bytes / unit * 10 + bytes % unit * 10 / unit;
  std::string out = std::to_string(tenths / 10);
  if (name > 0 && tenths < 1000) out += "." + std::to_string(tenths % 10);
  return out + " " + std::string(kUnits[name]);
}

std::string seconds_text(std::int64_t micros) {
  if (micros < 1'000'000) return decimal_text(micros, 1000, 0) + " ms";
  return decimal_text(micros, 1'000'000, 2) + " s";
}

std::string age_text(std::int64_t seconds) {
  if (seconds < 0) seconds = 0;
  if (seconds < 120) return std::to_string(seconds) + "s";
  if (seconds < 120 * 60) return std::to_string(seconds / 60) + "m";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86400) + "d";
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = 3;
  for (const std::string& candidate : candidates) {
    const std::size_t found = distance(word, candidate);
    if (found < best_distance && found * 2 <= word.size()) {
      best = candidate;
      best_distance = found;
    }
  }
  return best;
}

}  // namespace cli
