#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "loop/handles.h"
#include "loop/internal.h"

namespace loop {
namespace {

using base::Endpoint;

constexpr int kBacklog = 128;

struct Address {
  sockaddr_storage storage{};
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address to_sockaddr(const Endpoint& endpoint) {
  Address address;
  if (endpoint.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(endpoint.port);
    std::memcpy(&v4->sin_addr, endpoint.address.data() + 12, 4);
    return address;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(endpoint.port);
  std::memcpy(&v6->sin6_addr, endpoint.address.data(), 16);
  return address;
}

Endpoint from_sockaddr(const sockaddr* address) {
  Endpoint endpoint;
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    endpoint.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(endpoint.address.data() + 12, &v4->sin_addr, 4);
    endpoint.port = ntohs(v4->sin_port);
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    std::memcpy(endpoint.address.data(), &v6->sin6_addr, 16);
    endpoint.port = ntohs(v6->sin6_port);
  }
  return endpoint;
}

// Who only receives learns of a peer that lost its power from nobody else.
void prepare(uv_tcp_t& tcp) {
  constexpr unsigned kKeepAliveSeconds = 15;
  uv_tcp_nodelay(&tcp, 1);
  uv_tcp_keepalive(&tcp, 1, kKeepAliveSeconds);
}

}  // namespace

// ---- streams

struct Stream::State {
  union {
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } handle;
  bool is_tcp = true;
  std::function<void(base::Status)> on_connected;
  std::function<void(base::ByteView)> on_data;
  std::function<void(base::Status)> on_end;
  std::function<void()> on_writable;
  std::unique_ptr<std::uint8_t[]> read_buffer;
  uv_connect_t connect;
  uv_shutdown_t shutdown;
  uv_write_t write;
  base::Bytes waiting;  // what the socket did not take at once; written before anything else
  bool write_pending = false;
  bool wants_writable = false;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // false once the owner let go

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle); }
  void forget() {
    *alive = false;
    on_connected = nullptr;
    on_data = nullptr;
    on_end = nullptr;
    on_writable = nullptr;
  }
};

namespace {

// Every outcome of connect_tcp() is told from the loop, never before it returned.
void fail_later(Loop& loop, std::shared_ptr<bool> alive, std::function<void(base::Status)> callback,
                int code) {
  struct Late {
    uv_timer_t timer;
    std::shared_ptr<bool> alive;
    std::function<void(base::Status)> callback;
    int code;
  };
  auto* late = new Late{{}, std::move(alive), std::move(callback), code};
  CHECK(uv_timer_init(loop.raw(), &late->timer) == 0);
  late->timer.data = late;
  const auto fire = [](uv_timer_t* timer) {
    auto* self = static_cast<Late*>(timer->data);
    if (*self->alive) self->callback(uv_failure("cannot connect", self->code));
    close_state(self, &self->timer);
  };
  CHECK(uv_timer_start(&late->timer, fire, 0, 0) == 0);
}

}  // namespace

Stream::~Stream() {
  state_->forget();
  close_state(state_, &state_->handle);
}

std::unique_ptr<Stream> Stream::connect_tcp(Loop& loop, const Endpoint& to, const Endpoint& from,
                                            std::function<void(base::Status)> on_connected) {
  auto* state = new State();
  CHECK(uv_tcp_init(loop.raw(), &state->handle.tcp) == 0);
  state->stream()->data = state;
  state->on_connected = std::move(on_connected);
  state->connect.data = state;
  const auto connected = [](uv_connect_t* request, int status) {
    auto* self = static_cast<State*>(request->data);
    auto callback = std::exchange(self->on_connected, nullptr);
    if (!callback) return;
    if (status == 0) prepare(self->handle.tcp);
    callback(status == 0 ? base::Status() : uv_failure("cannot connect", status));
  };
  const Address address = to_sockaddr(to);
  int rc = 0;
  if (from.address != Endpoint{}.address && from.is_v4() == to.is_v4()) {
    Endpoint local = from;
    local.port = 0;
    const Address bound = to_sockaddr(local);
    rc = uv_tcp_bind(&state->handle.tcp, bound.get(), 0);
  }
  if (rc == 0) rc = uv_tcp_connect(&state->connect, &state->handle.tcp, address.get(), connected);
  std::unique_ptr<Stream> stream(new Stream(state));
  if (rc != 0) fail_later(loop, state->alive, std::exchange(state->on_connected, nullptr), rc);
  return stream;
}

void Stream::start_reading(std::function<void(base::ByteView)> on_data,
                           std::function<void(base::Status)> on_end) {
  state_->on_data = std::move(on_data);
  state_->on_end = std::move(on_end);
  resume_reading();
}

void Stream::pause_reading() { uv_read_stop(state_->stream()); }

void Stream::resume_reading() {
  const auto allocate = [](uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* buffer) {
    auto* self = static_cast<State*>(handle->data);
    if (!self->read_buffer) self->read_buffer.reset(new std::uint8_t[kReadSizeMax]);
    *buffer = uv_buf_init(reinterpret_cast<char*>(self->read_buffer.get()), kReadSizeMax);
  };
  const auto arrived = [](uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
    auto* self = static_cast<State*>(stream->data);
    if (size == 0) return;
    if (size > 0) {
      auto callback = self->on_data;
      const auto* first = reinterpret_cast<const std::uint8_t*>(buffer->base);
      if (callback) callback({first, static_cast<std::size_t>(size)});
      return;
    }
    uv_read_stop(stream);
    auto callback = std::exchange(self->on_end, nullptr);
    if (!callback) return;
    callback(size == UV_EOF ? base::Status()
                            : uv_failure("the connection broke", static_cast<int>(size)));
  };
  const int rc = uv_read_start(state_->stream(), allocate, arrived);
  CHECK(rc == 0 || rc == UV_EALREADY || rc == UV_ENOTCONN || rc == UV_EINVAL);
}

base::Result<std::size_t> Stream::try_write(base::ByteView bytes) {
  return try_write(std::span<const base::ByteView>(&bytes, 1));
}

base::Result<std::size_t> Stream::try_write(std::span<const base::ByteView> parts) {
  std::array<uv_buf_t, kPartsMax> buffers;
  unsigned count = 0;
  for (const base::ByteView part : parts.first(std::min(parts.size(), kPartsMax))) {
    if (part.empty()) continue;
    buffers[count++] =
        uv_buf_init(const_cast<char*>(reinterpret_cast<const char*>(part.data())),
                    static_cast<unsigned>(std::min<std::size_t>(part.size(), 1U << 30)));
  }
  if (count == 0) return std::size_t{0};
  if (state_->write_pending) {
    state_->wants_writable = true;
    return std::size_t{0};
  }
  const int n = uv_try_write(state_->stream(), buffers.data(), count);
  if (n > 0) return static_cast<std::size_t>(n);
  if (n != UV_EAGAIN) return uv_failure("the connection broke", n);
  // A small piece is handed to libuv, whose completion tells when the socket takes more.
  constexpr std::size_t kPieceSize = 16 * 1024;
  const auto* first = reinterpret_cast<const std::uint8_t*>(buffers[0].base);
  state_->waiting.assign(first, first + std::min<std::size_t>(buffers[0].len, kPieceSize));
  const uv_buf_t piece = uv_buf_init(reinterpret_cast<char*>(state_->waiting.data()),
                                     static_cast<unsigned>(state_->waiting.size()));
  state_->write.data = state_;
  const auto written = [](uv_write_t* request, int /*status: reads and later writes tell*/) {
    auto* self = static_cast<State*>(request->data);
    self->write_pending = false;
    if (!std::exchange(self->wants_writable, false)) return;
    auto callback = self->on_writable;
    if (callback) callback();
  };
  const int rc = uv_write(&state_->write, state_->stream(), &piece, 1, written);
  if (rc != 0) return uv_failure("the connection broke", rc);
  state_->write_pending = true;
  state_->wants_writable = true;
  return state_->waiting.size();
}

void Stream::on_writable(std::function<void()> callback) {
  state_->on_writable = std::move(callback);
}

void Stream::shut_down() {
  state_->shutdown.data = state_;
  // Failing means that the connection is gone already, which reading tells.
  (void)uv_shutdown(&state_->shutdown, state_->stream(), [](uv_shutdown_t*, int) {});
}

Endpoint Stream::peer() const {
  if (!state_->is_tcp) return {};
  sockaddr_storage address{};
  int size = sizeof(address);
  if (uv_tcp_getpeername(&state_->handle.tcp, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return {};
  }
  return from_sockaddr(reinterpret_cast<sockaddr*>(&address));
}

int Stream::fd() const {
  uv_os_fd_t fd = -1;
  (void)uv_fileno(reinterpret_cast<const uv_handle_t*>(&state_->handle), &fd);
  return fd;
}

// ---- listeners

struct Listener::State {
  union {
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } handle;
  bool is_tcp = true;
  Loop* loop = nullptr;
  OnStream on_stream;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle); }
  static void incoming(uv_stream_t* server, int status) {
    auto* self = static_cast<State*>(server->data);
    if (status < 0 || !self->on_stream) return;
    auto* state = new Stream::State();
    state->is_tcp = self->is_tcp;
    if (self->is_tcp) {
      CHECK(uv_tcp_init(self->loop->raw(), &state->handle.tcp) == 0);
    } else {
      CHECK(uv_pipe_init(self->loop->raw(), &state->handle.pipe, 0) == 0);
    }
    state->stream()->data = state;
    std::unique_ptr<Stream> stream(new Stream(state));
    if (uv_accept(server, state->stream()) != 0) return;
    if (self->is_tcp) prepare(state->handle.tcp);
    auto callback = self->on_stream;
    callback(std::move(stream));
  }
};

Listener::~Listener() {
  state_->on_stream = nullptr;
  close_state(state_, &state_->handle);
}

base::Result<std::unique_ptr<Listener>> Listener::tcp(Loop& loop, const Endpoint& at,
                                                      OnStream on_stream) {
  auto* state = new State();
  state->loop = &loop;
  state->on_stream = std::move(on_stream);
  CHECK(uv_tcp_init(loop.raw(), &state->handle.tcp) == 0);
  state->stream()->data = state;
  std::unique_ptr<Listener> listener(new Listener(state));
  const Address address = to_sockaddr(at);
  int rc = uv_tcp_bind(&state->handle.tcp, address.get(), 0);
  if (rc == 0) rc = uv_listen(state->stream(), kBacklog, State::incoming);
  if (rc != 0) return uv_failure("cannot listen on TCP " + at.text(), rc);
  return listener;
}

base::Result<std::unique_ptr<Listener>> Listener::unix_socket(Loop& loop, const std::string& path,
                                                              unsigned mode, OnStream on_stream) {
  auto* state = new State();
  state->loop = &loop;
  state->is_tcp = false;
  state->on_stream = std::move(on_stream);
  CHECK(uv_pipe_init(loop.raw(), &state->handle.pipe, 0) == 0);
  state->stream()->data = state;
  std::unique_ptr<Listener> listener(new Listener(state));
  // Bound through the folder's descriptor, so that sun_path's 108 bytes never matter.
  const std::size_t slash = path.rfind('/');
  CHECK(slash != std::string::npos);
  const int dir = ::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return base::fail(base::Code::kIo, "cannot open " + path + ": " + strerror(errno));
  const std::string name = path.substr(slash + 1);
  const std::string through = "/proc/self/fd/" + std::to_string(dir) + "/" + name;
  (void)::unlinkat(dir, name.c_str(), 0);
  const mode_t old_mask = ::umask(0777 & ~mode);
  int rc = uv_pipe_bind(&state->handle.pipe, through.c_str());
  ::umask(old_mask);
  if (rc == 0) rc = uv_listen(state->stream(), kBacklog, State::incoming);
  ::close(dir);
  if (rc != 0) return uv_failure("cannot listen on " + path, rc);
  return listener;
}

Endpoint Listener::local() const {
  sockaddr_storage address{};
  int size = sizeof(address);
  CHECK(uv_tcp_getsockname(&state_->handle.tcp, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return from_sockaddr(reinterpret_cast<sockaddr*>(&address));
}

// ---- datagrams

struct UdpSocket::State {
  uv_udp_t udp;
  OnDatagram on_datagram;
  std::uint8_t buffer[2048];
};

base::Result<std::unique_ptr<UdpSocket>> UdpSocket::bind(Loop& loop, const Endpoint& at,
                                                         OnDatagram on_datagram) {
  auto* state = new State();
  state->on_datagram = std::move(on_datagram);
  CHECK(uv_udp_init(loop.raw(), &state->udp) == 0);
  state->udp.data = state;
  std::unique_ptr<UdpSocket> socket(new UdpSocket(state));
  const Address address = to_sockaddr(at);
  int rc = uv_udp_bind(&state->udp, address.get(), 0);
  const auto allocate = [](uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* buffer) {
    auto* self = static_cast<State*>(handle->data);
    *buffer = uv_buf_init(reinterpret_cast<char*>(self->buffer), sizeof(self->buffer));
  };
  const auto arrived = [](uv_udp_t* udp, ssize_t size, const uv_buf_t* buffer, const sockaddr* from,
                          unsigned flags) {
    auto* self = static_cast<State*>(udp->data);
    if (size <= 0 || from == nullptr || (flags & UV_UDP_PARTIAL) != 0) return;
    auto callback = self->on_datagram;
    const auto* first = reinterpret_cast<const std::uint8_t*>(buffer->base);
    if (callback) callback(from_sockaddr(from), {first, static_cast<std::size_t>(size)});
  };
  if (rc == 0) rc = uv_udp_recv_start(&state->udp, allocate, arrived);
  if (rc != 0) return uv_failure("cannot listen on UDP " + at.text(), rc);
  return socket;
}

UdpSocket::~UdpSocket() {
  state_->on_datagram = nullptr;
  close_state(state_, &state_->udp);
}

Endpoint UdpSocket::local() const {
  sockaddr_storage address{};
  int size = sizeof(address);
  CHECK(uv_udp_getsockname(&state_->udp, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return from_sockaddr(reinterpret_cast<sockaddr*>(&address));
}

void UdpSocket::send(const Endpoint& to, base::ByteView bytes) {
  const Address address = to_sockaddr(to);
  const uv_buf_t buffer =
      uv_buf_init(const_cast<char*>(reinterpret_cast<const char*>(bytes.data())),
                  static_cast<unsigned>(bytes.size()));
  (void)uv_udp_try_send(&state_->udp, &buffer, 1, address.get());
}

}  // namespace loop
