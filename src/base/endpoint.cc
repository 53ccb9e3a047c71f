#include "base/endpoint.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

namespace base {
namespace {

constexpr std::array<std::uint8_t, 12> kV4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kGroups = 8;

// A whole number in `text` and nothing else; no sign, no empty text.
std::optional<std::uint32_t> number(std::string_view text, int radix, std::size_t digits_max,
                                    std::uint32_t max) {
  if (text.empty() || text.size() > digits_max) return std::nullopt;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, radix);
  if (error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0;;) {
    const std::size_t to = text.find(at, from);
    parts.push_back(text.substr(from, to == std::string_view::npos ? to : to - from));
    if (to == std::string_view::npos) return parts;
    from = to + 1;
  }
}

std::optional<std::array<std::uint8_t, 4>> parse_v4(std::string_view text) {
  const auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  std::array<std::uint8_t, 4> out{};
  for (std::size_t i = 0; i < 4; ++i) {
    // A leading zero is octal to some programs; nobody needs it.
    if (parts[i].size() > 1 && parts[i][0] == '0') return std::nullopt;
    const auto value = number(parts[i], 10, 3, 255);
    if (!value) return std::nullopt;
    out[i] = static_cast<std::uint8_t>(*value);
  }
  return out;
}

// The groups on one side of "::", or of an address without it. Nothing for an empty text.
std::optional<std::vector<std::uint16_t>> parse_groups(std::string_view text, bool v4_may_end) {
  std::vector<std::uint16_t> groups;
  if (text.empty()) return groups;
  const auto parts = split(text, ':');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (v4_may_end && i + 1 == parts.size() && parts[i].find('.') != std::string_view::npos) {
      const auto v4 = parse_v4(parts[i]);
      if (!v4) return std::nullopt;
      groups.push_back(static_cast<std::uint16_t>((*v4)[0] << 8 | (*v4)[1]));
      groups.push_back(static_cast<std::uint16_t>((*v4)[2] << 8 | (*v4)[3]));
      continue;
    }
    const auto value = number(parts[i], 16, 4, 0xffff);
    if (!value) return std::nullopt;
    groups.push_back(static_cast<std::uint16_t>(*value));
  }
  return groups;
}

std::optional<std::array<std::uint8_t, 16>> parse_v6(std::string_view text) {
  const std::size_t gap = text.find("::");
  const bool has_gap = gap != std::string_view::npos;
  const auto head = parse_groups(has_gap ? text.substr(0, gap) : text, !has_gap);
  const auto tail = parse_groups(has_gap ? text.substr(gap + 2) : std::string_view{}, true);
  if (!head || !tail) return std::nullopt;
  const std::size_t count = head->size() + tail->size();
  if (has_gap ? count >= kGroups : count != kGroups) return std::nullopt;
  std::array<std::uint16_t, kGroups> groups{};
  std::copy(head->begin(), head->end(), groups.begin());
  std::copy_backward(tail->begin(), tail->end(), groups.end());
  std::array<std::uint8_t, 16> out{};
  for (std::size_t i = 0; i < kGroups; ++i) {
    out[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    out[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xff);
  }
  return out;
}

struct Run {
  std::size_t first = kGroups;
  std::size_t size = 0;
};

// The longest run of two or more zero groups, the first of equals (RFC 5952 §4.2).
Run longest_zeros(const std::array<std::uint16_t, kGroups>& groups) {
  Run best;
  Run run;
  for (std::size_t i = 0; i < kGroups; ++i) {
    if (groups[i] != 0) {
      run = {};
      continue;
    }
    if (run.size == 0) run.first = i;
    ++run.size;
    if (run.size > best.size && run.size >= 2) best = run;
  }
  return best;
}

std::string v6_text(const std::array<std::uint8_t, 16>& address) {
  std::array<std::uint16_t, kGroups> groups{};
  for (std::size_t i = 0; i < kGroups; ++i) {
    groups[i] = static_cast<std::uint16_t>(address[2 * i] << 8 | address[2 * i + 1]);
  }
  const Run zeros = longest_zeros(groups);
  std::string out;
  for (std::size_t i = 0; i < kGroups;) {
    if (i == zeros.first) {
      out += "::";
      i += zeros.size;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    std::array<char, 4> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + 4, groups[i], 16).ptr;
    out.append(digits.data(), end);
    ++i;
  }
  return out;
}

}  // namespace

bool Endpoint::is_v4() const {
  return std::equal(kV4Prefix.begin(), kV4Prefix.end(), address.begin());
}

std::string Endpoint::text() const {
  if (!is_v4()) return "[" + v6_text(address) + "]:" + std::to_string(port);
  std::string out;
  for (std::size_t i = 12; i < 16; ++i) {
    out += std::to_string(address[i]);
    out += i < 15 ? '.' : ':';
  }
  return out + std::to_string(port);
}

std::array<std::uint8_t, Endpoint::kPackedSize> Endpoint::packed() const {
  std::array<std::uint8_t, kPackedSize> out{};
  std::copy(address.begin(), address.end(), out.begin());
  out[16] = static_cast<std::uint8_t>(port >> 8);
  out[17] = static_cast<std::uint8_t>(port & 0xff);
  return out;
}

Endpoint Endpoint::v4(std::array<std::uint8_t, 4> v4, std::uint16_t port) {
  Endpoint out;
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), out.address.begin());
  std::copy(v4.begin(), v4.end(), out.address.begin() + 12);
  out.port = port;
  return out;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto bad = [&text] {
    return fail(Code::kInvalid, "\"" + std::string(text.substr(0, 64)) +
                                    "\" is no address like 192.0.2.1:7333 or [2001:db8::1]:7333");
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  const auto port = number(text.substr(colon + 1), 10, 5, 65535);
  std::string_view host = text.substr(0, colon);
  if (!port || host.empty()) return bad();
  const auto port16 = static_cast<std::uint16_t>(*port);
  if (host.front() != '[') {
    const auto address = parse_v4(host);
    if (!address) return bad();
    return v4(*address, port16);
  }
  if (host.size() < 4 || host.back() != ']') return bad();
  const auto address = parse_v6(host.substr(1, host.size() - 2));
  if (!address) return bad();
  Endpoint out;
  out.address = *address;
  out.port = port16;
  return out;
}

Result<Endpoint> Endpoint::unpack(ByteView packed) {
  if (packed.size() != kPackedSize) return fail(Code::kInvalid, "a packed address has 18 bytes");
  Endpoint out;
  std::copy(packed.begin(), packed.begin() + 16, out.address.begin());
  out.port = static_cast<std::uint16_t>(packed[16] << 8 | packed[17]);
  return out;
}

}  // namespace base
