// Where a socket listens: an IPv6 or IPv4 address and a port.
//
// IPv4 is kept as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that there is one form to compare and to
// send. Text is "192.0.2.1:7333" or "[2001:db8::1]:7333" (RFC 5952 §6), never a host name: looking
// names up is the host's business. Zones ("%eth0") are refused, as they mean nothing elsewhere.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace base {

struct Endpoint {
  static constexpr std::size_t kPackedSize = 18;
  std::array<std::uint8_t, 16> address{};
  std::uint16_t port = 0;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] std::string text() const;
  // The address, then the port, most significant byte first.
  [[nodiscard]] std::array<std::uint8_t, kPackedSize> packed() const;

  [[nodiscard]] static Endpoint v4(std::array<std::uint8_t, 4> address, std::uint16_t port);
  [[nodiscard]] static Result<Endpoint> parse(std::string_view text);  // kInvalid with a sentence
  [[nodiscard]] static Result<Endpoint> unpack(ByteView packed);
};

}  // namespace base
