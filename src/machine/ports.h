// The ports that a job's sockets hold, and whether they are free where the job would go. A part of
// machine/preflight.h.
//
// CRIU binds every socket again at the sink; a port that somebody holds there, or an address that
// is not that machine's, would fail the restore after the job was frozen. What is bound is read
// from /proc/net, which shows the network namespace of whoever reads it. Whether two sockets that
// ask for SO_REUSEPORT could share a port is not seen: such a port counts as taken.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"

namespace machine {

struct BoundPort {  // of a listening TCP socket or a bound UDP socket
  bool tcp = true;
  base::Endpoint at;  // all zeros or 0.0.0.0: any address
  friend auto operator<=>(const BoundPort&, const BoundPort&) = default;
};

// The text of /proc/net/tcp, tcp6, udp or udp6; kInvalid: not such a text. Other sockets than those
// above are left out. At most kPortsReadMax.
inline constexpr std::size_t kPortsReadMax = 65536;
[[nodiscard]] base::Result<std::vector<BoundPort>> parse_proc_net(std::string_view text, bool tcp);

// Whether both cannot be there at once. "::" takes IPv4 too, as it does where nobody asked
// otherwise.
[[nodiscard]] bool ports_collide(const BoundPort& a, const BoundPort& b);
[[nodiscard]] bool is_any_address(const base::Endpoint& at);

// Sentences; empty: all of them can be bound here. `addresses`: this machine's, ports are ignored.
[[nodiscard]] std::vector<std::string> port_refusals(const std::vector<BoundPort>& wanted,
                                                     const std::vector<BoundPort>& taken,
                                                     const std::vector<base::Endpoint>& addresses);

// Of this network namespace.
[[nodiscard]] std::vector<BoundPort> ports_taken();
[[nodiscard]] std::vector<base::Endpoint> own_addresses();

}  // namespace machine
