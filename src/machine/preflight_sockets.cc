#include "machine/preflight_sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <set>

#include "machine/fd.h"
#include "machine/preflight_fds.h"

namespace machine {
namespace {

int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

base::Endpoint endpoint_of(const sockaddr_storage& at) {
  base::Endpoint endpoint;
  if (at.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &at, sizeof v4);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    endpoint = base::Endpoint::v4(bytes, ntohs(v4.sin_port));
  } else if (at.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &at, sizeof v6);
    std::memcpy(endpoint.address.data(), &v6.sin6_addr, endpoint.address.size());
    endpoint.port = ntohs(v6.sin6_port);
  }
  return endpoint;
}

// Empty: unnamed, or abstract.
std::string unix_path(int fd) {
  sockaddr_un at{};
  socklen_t size = sizeof at;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return {};
  return std::string(at.sun_path, ::strnlen(at.sun_path, sizeof at.sun_path));
}

using NameOf = int (*)(int, sockaddr*, socklen_t*);
base::Endpoint name_of(int fd, NameOf which) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (which(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return {};
  return endpoint_of(at);
}

void look_at_tcp(int fd, JobSocket& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  if (info.tcpi_state == TCP_CLOSE) return;
  socket.from = name_of(fd, ::getsockname);
  if (info.tcpi_state == TCP_LISTEN) {
    socket.waiting = info.tcpi_unacked;  // of a listening socket: its queue, tcp(7)
    return;
  }
  socket.connected_tcp = true;
  socket.to = name_of(fd, ::getpeername);
}

// Where a listening TCP or a bound UDP socket is. A TCP socket that is only bound holds its port,
// too, but nobody can be heard on it yet: CRIU says so.
std::optional<BoundPort> bound_port(int fd, bool stream) {
  if (stream && option(fd, SO_ACCEPTCONN) != 1) return std::nullopt;
  if (!stream && option(fd, SO_TYPE) != SOCK_DGRAM) return std::nullopt;
  const BoundPort port{stream, name_of(fd, ::getsockname)};
  return port.at.port == 0 ? std::nullopt : std::optional(port);
}

// UNIX_DIAG_PEER of one socket: the inode at the other end, 0 if there is none.
std::uint64_t unix_peer(std::uint64_t inode) {
  const Fd diag(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!diag.valid()) return 0;
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } query{};
  query.header.nlmsg_len = sizeof query;
  query.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  query.header.nlmsg_flags = NLM_F_REQUEST;
  query.request.sdiag_family = AF_UNIX;
  query.request.udiag_states = ~0U;
  query.request.udiag_ino = static_cast<__u32>(inode);
  query.request.udiag_show = UDIAG_SHOW_PEER;
  query.request.udiag_cookie[0] = ~0U;
  query.request.udiag_cookie[1] = ~0U;
  if (::send(diag.get(), &query, sizeof query, 0) != sizeof query) return 0;
  alignas(nlmsghdr) std::array<char, 4096> buffer{};
  const ssize_t got = ::recv(diag.get(), buffer.data(), buffer.size(), 0);
  constexpr std::size_t kFixed = NLMSG_LENGTH(sizeof(unix_diag_msg));
  nlmsghdr header{};
  if (got < static_cast<ssize_t>(kFixed)) return 0;
  std::memcpy(&header, buffer.data(), sizeof header);
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return 0;
  const std::size_t end = std::min<std::size_t>(header.nlmsg_len, static_cast<std::size_t>(got));
  for (std::size_t at = NLMSG_ALIGN(kFixed); at + sizeof(rtattr) <= end;) {
    rtattr attribute{};
    std::memcpy(&attribute, buffer.data() + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > end) return 0;
    if (attribute.rta_type == UNIX_DIAG_PEER && attribute.rta_len >= RTA_LENGTH(sizeof(__u32))) {
      __u32 peer = 0;
      std::memcpy(&peer, buffer.data() + at + RTA_LENGTH(0), sizeof peer);
      return peer;
    }
    at += RTA_ALIGN(attribute.rta_len);
  }
  return 0;
}

}  // namespace

std::optional<JobSocket> look_at_socket(pid_t pid, const std::string& number, std::uint64_t inode) {
  const Fd fd = duplicate_of(pid, number);
  if (!fd.valid()) return std::nullopt;
  JobSocket socket;
  socket.inode = inode;
  socket.domain = option(fd.get(), SO_DOMAIN);
  const bool stream = option(fd.get(), SO_TYPE) == SOCK_STREAM;
  socket.protocol = option(fd.get(), SO_PROTOCOL);
  socket.raw = option(fd.get(), SO_TYPE) == SOCK_RAW;
  const bool inet = socket.domain == AF_INET || socket.domain == AF_INET6;
  if (inet && stream) look_at_tcp(fd.get(), socket);
  if (inet && !socket.connected_tcp) socket.port = bound_port(fd.get(), stream);
  if (socket.domain == AF_UNIX) {
    socket.peer = unix_peer(inode);
    socket.path = unix_path(fd.get());
  }
  return socket;
}

namespace {

constexpr int kMultipath = 262;  // IPPROTO_MPTCP, newer than some headers

// "a ... that cannot move; ..."; empty: it can.
std::string why_not(const JobSocket& socket, const std::set<std::uint64_t>& inside) {
  switch (socket.domain) {
    case AF_INET:
    case AF_INET6:
      if (socket.raw) return "a raw socket, which cannot move";
      if (socket.protocol != kMultipath) return {};
      return "a Multipath TCP socket, which cannot move (Go programs: GODEBUG=multipathtcp=0)";
    case AF_UNIX:
      if (socket.peer != 0 && !inside.contains(socket.peer)) {
        return "a unix socket connected to a program outside the job, which cannot move";
      }
      if (socket.path.empty()) return {};
      return "the unix socket " + socket.path + ", which cannot move; an abstract one can";
    case AF_NETLINK:
      return "a netlink socket, which speaks with this machine's kernel and cannot move";
    case AF_PACKET:
      return "a packet socket, which listens on this machine's network and cannot move";
    default:
      return "a socket of a kind that cannot move (family " + std::to_string(socket.domain) + ")";
  }
}

struct Connections {  // of one process
  std::string first;
  std::size_t count = 0;
};

std::string sentence(const std::string& owner, const Connections& all) {
  const std::string more =
      all.count > 1 ? " and " + std::to_string(all.count - 1) + " more" : std::string();
  return owner + " has the TCP connection " + all.first + more +
         ", which a move would close; wait for its end, or allow that with --tcp-close of tern "
         "migrate or tern run";
}

}  // namespace

std::vector<std::string> socket_obstacles(const std::vector<JobSocket>& sockets, bool tcp_close) {
  std::vector<std::string> out;
  std::set<std::uint64_t> inside;
  std::set<std::uint64_t> seen;
  std::map<std::string, Connections> connections;
  for (const JobSocket& socket : sockets) inside.insert(socket.inode);
  for (const JobSocket& socket : sockets) {
    if (!seen.insert(socket.inode).second) continue;  // shared by several processes
    if (std::string why = why_not(socket, inside); !why.empty()) {
      out.push_back(socket.owner + " has " + why);
    }
    if (tcp_close || (!socket.connected_tcp && socket.waiting == 0)) continue;
    Connections& of_owner = connections[socket.owner];
    if (of_owner.count == 0) {
      of_owner.first = socket.connected_tcp
                           ? "from " + socket.from.text() + " to " + socket.to.text()
                           : "that waits to be accepted at " + socket.from.text();
    }
    of_owner.count += socket.connected_tcp ? 1 : socket.waiting;
  }
  for (const auto& [owner, all] : connections) out.push_back(sentence(owner, all));
  return out;
}

}  // namespace machine
