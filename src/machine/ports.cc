#include "machine/ports.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "machine/fd.h"
#include "machine/proc_source.h"

namespace machine {
namespace {

using base::Code;
using base::Endpoint;
using base::fail;

constexpr unsigned kTcpListen = 0x0a;    // include/net/tcp_states.h
constexpr unsigned kUdpUnconnected = 7;  // TCP_CLOSE, as /proc/net/udp has it
constexpr std::size_t kProcNetSizeMax = 16 << 20;

// The next word of a line.
std::string_view word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view found = line.substr(0, line.find(' '));
  line.remove_prefix(found.size());
  return found;
}

template <typename Number>
bool read_hex(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// "0100007F:1F90": 32-bit words in this machine's byte order, the port most significant digit
// first.
bool read_endpoint(std::string_view text, Endpoint& out) {
  const std::size_t colon = text.find(':');
  if ((colon != 8 && colon != 32) || !read_hex(text.substr(colon + 1), out.port)) return false;
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t at = 0; at < colon; at += 8) {
    std::uint32_t part = 0;
    if (!read_hex(text.substr(at, 8), part)) return false;
    std::memcpy(bytes.data() + at / 2, &part, sizeof part);
  }
  if (colon == 32) {
    out.address = bytes;
  } else {
    out.address = Endpoint::v4({bytes[0], bytes[1], bytes[2], bytes[3]}, 0).address;
  }
  return true;
}

std::string text_of(const BoundPort& port) {
  return std::string(port.tcp ? "TCP" : "UDP") + " port " + std::to_string(port.at.port);
}

bool same_address(const Endpoint& a, const Endpoint& b) { return a.address == b.address; }

bool is_loopback_v4(const Endpoint& at) { return at.is_v4() && at.address[12] == 127; }

bool is_multicast(const Endpoint& at) {
  return at.is_v4() ? (at.address[12] & 0xf0U) == 0xe0 : at.address[0] == 0xff;
}

// All of 127.0.0.0/8 is a loopback interface's, though it lists one address; groups are nobody's.
bool can_be_held(const Endpoint& at, const std::vector<Endpoint>& addresses) {
  if (is_any_address(at) || is_multicast(at)) return true;
  return std::any_of(addresses.begin(), addresses.end(), [&](const Endpoint& own) {
    return same_address(own, at) || (is_loopback_v4(own) && is_loopback_v4(at));
  });
}

}  // namespace

bool is_any_address(const Endpoint& at) {
  return same_address(at, Endpoint{}) || same_address(at, Endpoint::v4({0, 0, 0, 0}, 0));
}

bool ports_collide(const BoundPort& a, const BoundPort& b) {
  if (a.tcp != b.tcp || a.at.port != b.at.port) return false;
  if (same_address(a.at, b.at)) return true;
  const auto covers = [](const Endpoint& any, const Endpoint& other) {
    return is_any_address(any) && (!any.is_v4() || other.is_v4());
  };
  return covers(a.at, b.at) || covers(b.at, a.at);
}

base::Result<std::vector<BoundPort>> parse_proc_net(std::string_view text, bool tcp) {
  std::vector<BoundPort> out;
  if (text.find("local_address") == std::string_view::npos) {
    return fail(Code::kInvalid, "no table of sockets");
  }
  text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (word(line).empty()) continue;
    BoundPort port{tcp, {}};
    unsigned state = 0;
    const bool read =
        read_endpoint(word(line), port.at) && !word(line).empty() && read_hex(word(line), state);
    if (!read) return fail(Code::kInvalid, "a line that is no socket");
    if (state != (tcp ? kTcpListen : kUdpUnconnected)) continue;
    if (out.size() >= kPortsReadMax) break;
    out.push_back(port);
  }
  return out;
}

std::vector<std::string> port_refusals(const std::vector<BoundPort>& wanted,
                                       const std::vector<BoundPort>& taken,
                                       const std::vector<Endpoint>& addresses) {
  std::vector<std::string> out;
  for (const BoundPort& port : wanted) {
    if (!can_be_held(port.at, addresses)) {
      out.push_back("the job holds " + text_of(port) +
                    " at an address that is not this machine's (" + port.at.text() +
                    "); let it listen at any address");
    } else if (std::any_of(taken.begin(), taken.end(),
                           [&](const BoundPort& other) { return ports_collide(port, other); })) {
      out.push_back(text_of(port) +
                    ", which the job holds, is taken here; free it or move the job "
                    "elsewhere");
    }
  }
  return out;
}

std::vector<BoundPort> ports_taken() {
  std::vector<BoundPort> out;
  for (const char* name : {"tcp", "tcp6", "udp", "udp6"}) {
    auto text = read_small_file(std::string("/proc/self/net/") + name, kProcNetSizeMax);
    if (!text) continue;  // no IPv6, say
    auto some = parse_proc_net(*text, name[0] == 't');
    if (some) out.insert(out.end(), some->begin(), some->end());
  }
  return out;
}

std::vector<Endpoint> own_addresses() {
  std::vector<Endpoint> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    if (one->ifa_addr->sa_family == AF_INET) {
      sockaddr_in v4{};
      std::memcpy(&v4, one->ifa_addr, sizeof v4);
      std::array<std::uint8_t, 4> bytes{};
      std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
      out.push_back(Endpoint::v4(bytes, 0));
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 v6{};
      std::memcpy(&v6, one->ifa_addr, sizeof v6);
      Endpoint at;
      std::memcpy(at.address.data(), &v6.sin6_addr, at.address.size());
      out.push_back(at);
    }
  }
  ::freeifaddrs(all);
  return out;
}

}  // namespace machine
