#include "cli/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/secret.h"
#include "control/paths.h"

namespace cli {
namespace {

using base::Code;
using base::fail;
using machine::Fd;

base::Error gone() {
  return fail(Code::kUnreachable, "the tern daemon went away before it answered");
}

base::Error unreachable(const std::string& path) {
  return fail(Code::kUnreachable,
              "no tern daemon answers at " + path + "; start one with: tern up");
}

base::Error from_errno(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
    case ECONNRESET:
    case EAGAIN:  // its backlog is full
      return unreachable(path);
    case EACCES:
    case EPERM:
      return fail(Code::kRefused, "you may not talk to the tern daemon at " + path);
    default:
      return fail(Code::kIo, "cannot reach the tern daemon at " + path + ": " + strerror(error));
  }
}

// The address, and the folder that it goes through where the path itself is too long for it.
struct Address {
  sockaddr_un address{};
  Fd folder;
};

base::Result<Address> address_of(const std::string& path) {
  Address out;
  out.address.sun_family = AF_UNIX;
  std::string shown = path;
  if (path.size() >= sizeof out.address.sun_path) {
    const auto [dir, name] = control::split_path(path);
    out.folder = Fd(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!out.folder.valid()) return from_errno(path, errno);
    shown = "/proc/self/fd/" + std::to_string(out.folder.get()) + "/" + name;
  }
  if (shown.size() >= sizeof out.address.sun_path) {
    return fail(Code::kInvalid, "the name of the socket is too long: " + path);
  }
  std::memcpy(out.address.sun_path, shown.c_str(), shown.size() + 1);
  return out;
}

base::Result<control::Response> parsed(const std::string& line) {
  auto response = control::parse_response(line);
  if (response) return response;
  return fail(Code::kInvalid,
              "the tern daemon's answer makes no sense (" + response.error().detail + ")");
}

}  // namespace

base::Result<Connection> Connection::open(const std::string& socket_path) {
  auto address = address_of(socket_path);
  if (!address) return address.error();
  Connection out;
  out.fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.fd_.valid()) return from_errno(socket_path, errno);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address->address);
  if (machine::retry([&] { return ::connect(out.fd(), raw, sizeof address->address); }) != 0) {
    return from_errno(socket_path, errno);
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(out.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return from_errno(socket_path, errno);
  }
  const uid_t me = ::geteuid();
  if (peer.uid != 0 && peer.uid != me && me != 0) {
    return fail(Code::kRefused, "what answers at " + socket_path +
                                    " belongs to another user (uid " + std::to_string(peer.uid) +
                                    ")");
  }
  out.peer_pid_ = peer.pid;
  return out;
}

base::Status Connection::send(const control::Request& request) {
  auto line = control::encode(request);
  if (!line) return line.error();
  const base::Status status = send_line(*line);
  // It may have held a ticket.
  base::wipe({reinterpret_cast<std::uint8_t*>(line->data()), line->size()});
  return status;
}

base::Status Connection::send_line(std::string_view rest) {
  base::Status status;
  while (!rest.empty() && status.ok()) {
    const ssize_t sent = ::send(fd(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      pollfd wait{fd(), POLLOUT, 0};
      (void)::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      status = gone();
    }
  }
  return status;
}

base::Status Connection::fill() {
  std::array<std::uint8_t, control::kReadBytesMax> buffer;
  const ssize_t got = machine::retry([&] { return ::recv(fd(), buffer.data(), buffer.size(), 0); });
  if (got > 0) return lines_.feed(base::ByteView(buffer).first(static_cast<std::size_t>(got)));
  if (got < 0 && errno == EAGAIN) return {};
  return gone();
}

std::optional<base::Result<control::Response>> Connection::next() {
  const auto line = lines_.next();
  if (!line) return std::nullopt;
  return parsed(*line);
}

base::Result<control::Response> Connection::wait(
    std::optional<std::chrono::milliseconds> patience) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + patience.value_or(std::chrono::milliseconds(0));
  for (;;) {
    if (const auto line = lines_.next()) return parsed(*line);
    int timeout = -1;
    if (patience) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) return fail(Code::kTimeout, "the tern daemon does not answer");
      timeout = static_cast<int>(left.count());
    }
    pollfd readable{fd(), POLLIN, 0};
    if (::poll(&readable, 1, timeout) > 0) {
      const auto status = fill();
      if (!status) return status.error();
    }
  }
}

}  // namespace cli
