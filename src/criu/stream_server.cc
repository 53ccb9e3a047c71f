#include "criu/stream_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "criu/limits.h"
#include "criu/loop_watch.h"
#include "criu/wire.h"

namespace criu {
namespace {

enum class Step { kHeader, kBody, kDescriptor };

base::Error failed_with(const std::string& what) {
  return base::fail(base::Code::kIo, what + ": " + std::strerror(errno));
}

// One byte and the descriptor with it. -1 and errno; EPROTO if the byte came without one.
int receive_descriptor(int socket, ssize_t* got) {
  std::array<char, 1> byte{};
  iovec part{byte.data(), byte.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  *got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (*got <= 0) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    errno = EPROTO;
    return -1;
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return fd;
}

}  // namespace

struct StreamServer::Impl : std::enable_shared_from_this<Impl> {
  ~Impl() {
    watch.stop();
    close_socket();
  }
  void close_socket() {
    watch.stop();
    if (socket >= 0) ::close(std::exchange(socket, -1));
  }
  void accept_one();
  void read_ready();
  bool read_bytes();  // false: wait, or over
  void read_descriptor();
  void resume();
  bool took(base::ByteView message);
  void fail(base::Error error);
  void end();
  base::Status watch_with(void (Impl::*ready)());

  uv_loop_s* loop = nullptr;
  uid_t criu_uid = 0;
  Callbacks callbacks;
  FdWatch watch;
  int socket = -1;  // the listener, then the connection
  Step step = Step::kHeader;
  std::array<std::uint8_t, kRequestSizeMax> buffer{};
  std::size_t have = 0;
  std::size_t want = kHeaderSize;
  bool connected = false;
  bool paused = false;
  bool closed = false;
};

base::Status StreamServer::Impl::watch_with(void (Impl::*ready)()) {
  std::weak_ptr<Impl> weak = weak_from_this();
  return watch.start(loop, socket, Wants::kRead, [weak, ready] {
    if (auto self = weak.lock()) ((*self).*ready)();
  });
}

void StreamServer::Impl::fail(base::Error error) {
  close_socket();
  if (std::exchange(closed, true)) return;
  auto callback = std::move(callbacks.failed);
  callback(std::move(error));
}

void StreamServer::Impl::end() {
  close_socket();
  if (std::exchange(closed, true)) return;
  auto callback = std::move(callbacks.ended);
  callback();
}

void StreamServer::Impl::accept_one() {
  const int connection = ::accept4(socket, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection < 0) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    return fail(failed_with("CRIU's connection"));
  }
  close_socket();  // one run, one connection
  socket = connection;
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != criu_uid && peer.uid != 0)) {
    return fail(base::fail(base::Code::kUnauthentic, "a stranger connected in CRIU's place"));
  }
  connected = true;
  if (base::Status status = watch_with(&Impl::read_ready); !status) fail(status.error());
}

// One pipe a turn of the loop: CRIU writes small images without waiting for anybody, so a machine
// that is busy would find hundreds of them here, before it has read and closed the first.
void StreamServer::Impl::read_ready() {
  while (!closed && step != Step::kDescriptor && read_bytes()) {
  }
  if (!closed && step == Step::kDescriptor) read_descriptor();
}

void StreamServer::Impl::resume() {
  if (!std::exchange(paused, false) || closed) return;
  base::Status status = watch_with(connected ? &Impl::read_ready : &Impl::accept_one);
  if (!status) fail(status.error());
}

bool StreamServer::Impl::read_bytes() {
  const ssize_t got = ::recv(socket, buffer.data() + have, want - have, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) fail(failed_with("CRIU's connection"));
    return false;
  }
  if (got == 0) {
    if (step == Step::kHeader && have == 0) {
      end();
    } else {
      fail(base::fail(base::Code::kTruncated, "CRIU hung up in mid-request"));
    }
    return false;
  }
  have += static_cast<std::size_t>(got);
  if (have < want) return true;
  have = 0;
  return took(base::ByteView(buffer).first(want));
}

bool StreamServer::Impl::took(base::ByteView message) {
  if (step == Step::kHeader) {
    auto size = decode_header(message);
    if (!size) return fail(size.error()), false;
    want = *size;
    step = Step::kBody;
    return true;
  }
  auto name = decode_request(message);
  if (!name) return fail(name.error()), false;
  step = Step::kDescriptor;
  want = kHeaderSize;
  callbacks.request(std::move(*name));
  return true;
}

void StreamServer::Impl::read_descriptor() {
  ssize_t got = 0;
  const int fd = receive_descriptor(socket, &got);
  if (fd < 0) {
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    return fail(got == 0 ? base::fail(base::Code::kTruncated, "CRIU hung up before it sent a pipe")
                         : failed_with("CRIU sent no pipe"));
  }
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  ::fcntl(fd, F_SETPIPE_SZ, kPipeSize);  // refused over the user's quota: then it stays as it is
  step = Step::kHeader;
  callbacks.descriptor(fd);
}

base::Result<std::unique_ptr<StreamServer>> StreamServer::listen(uv_loop_s* loop,
                                                                 const std::string& work_dir,
                                                                 Direction direction,
                                                                 uid_t criu_uid,
                                                                 Callbacks callbacks) {
  const std::string path = work_dir + (direction == Direction::kCapture ? "/streamer-capture.sock"
                                                                        : "/streamer-serve.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return base::fail(base::Code::kInvalid, path + " is too long for a socket");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  auto impl = std::make_shared<Impl>();
  impl->loop = loop;
  impl->criu_uid = criu_uid;
  impl->callbacks = std::move(callbacks);
  impl->socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (impl->socket < 0 ||
      ::bind(impl->socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(impl->socket, 1) != 0) {
    return failed_with(path);
  }
  if (base::Status status = impl->watch_with(&Impl::accept_one); !status) return status.error();
  return std::unique_ptr<StreamServer>(new StreamServer(std::move(impl)));
}

StreamServer::StreamServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

StreamServer::~StreamServer() {
  impl_->closed = true;
  impl_->close_socket();
}

base::Status StreamServer::reply(bool exists) {
  const base::Bytes message = encode_reply(exists);
  const ssize_t put = ::send(impl_->socket, message.data(), message.size(), MSG_NOSIGNAL);
  if (put == static_cast<ssize_t>(message.size())) return {};
  return failed_with("CRIU's connection");  // an empty socket takes these few bytes, or is broken
}

void StreamServer::pause() {
  impl_->paused = true;
  impl_->watch.stop();
}

void StreamServer::resume() { impl_->resume(); }

void StreamServer::skip_descriptor() { impl_->step = Step::kHeader; }

}  // namespace criu
