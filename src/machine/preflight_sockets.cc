#include "machine/preflight_sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <array>
#include <charconv>
#include <cstring>

#include "machine/fd.h"

namespace machine {
namespace {

int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

bool tcp_connected(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_state != TCP_CLOSE && info.tcpi_state != TCP_LISTEN;
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
  int theirs = -1;
  std::from_chars(number.data(), number.data() + number.size(), theirs);
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return std::nullopt;
  const Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), theirs, 0)));
  if (!fd.valid()) return std::nullopt;
  JobSocket socket;
  socket.inode = inode;
  socket.domain = option(fd.get(), SO_DOMAIN);
  const bool stream = option(fd.get(), SO_TYPE) == SOCK_STREAM;
  const bool inet = socket.domain == AF_INET || socket.domain == AF_INET6;
  socket.connected_tcp = inet && stream && tcp_connected(fd.get());
  if (socket.domain == AF_UNIX) socket.peer = unix_peer(inode);
  return socket;
}

std::string socket_obstacle(const JobSocket& socket, const std::set<std::uint64_t>& inside) {
  switch (socket.domain) {
    case AF_INET:
    case AF_INET6:
      if (!socket.connected_tcp) return {};
      return "an open TCP connection, which would be cut; move it when the connection is closed";
    case AF_UNIX:
      if (socket.peer == 0 || inside.contains(socket.peer)) return {};
      return "a unix socket connected to a program outside the job, which cannot move";
    case AF_NETLINK:
      return "a netlink socket, which speaks with this machine's kernel and cannot move";
    case AF_PACKET:
      return "a packet socket, which listens on this machine's network and cannot move";
    default:
      return "a socket of a kind that cannot move (family " + std::to_string(socket.domain) + ")";
  }
}

}  // namespace machine
