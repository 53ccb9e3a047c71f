#include "daemon/control_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace ternd {

using control::Exit;

namespace {

constexpr std::size_t kGroupsAsked = 65536;  // as many as Linux gives to anybody (NGROUPS_MAX)

}  // namespace

Client::Client(loop::Loop& loop, std::unique_ptr<loop::Stream> stream)
    : stream_(std::move(stream)), patience_(loop, [this] {
        if (final_) return close();
        fail(Exit::kError, "no request came in time");
      }) {
  ucred who{};
  socklen_t size = sizeof(who);
  if (::getsockopt(stream_->fd(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
    uid_ = who.uid;
    gid_ = who.gid;
    pid_ = who.pid;
  }
  // Of the moment it connected: what /proc says of that PID by now may be another program's.
  groups_.resize(kGroupsAsked);
  size = static_cast<socklen_t>(groups_.size() * sizeof(groups_[0]));
  if (::getsockopt(stream_->fd(), SOL_SOCKET, SO_PEERGROUPS, groups_.data(), &size) != 0) size = 0;
  groups_.resize(size / sizeof(groups_[0]));
  groups_.shrink_to_fit();
}

void Client::line(const std::string& text) {
  if (closed_ || final_) return;
  if (waiting_.size() + text.size() > kClientBacklogMax) return close();
  waiting_ += text;
  flush();
}

void Client::done(const std::string& data) {
  auto text = control::done_line(data);
  line(text ? *text : control::error_line(text.error()));
  final_ = true;
  flush();
}

void Client::fail(Exit exit, std::string_view error, std::string_view next, std::string_view data) {
  line(control::error_line(exit, error, next, data));
  final_ = true;
  flush();
}

void Client::fail(const base::Error& error, std::string_view next) {
  line(control::error_line(error, next));
  final_ = true;
  flush();
}

void Client::fail_unknown_job(std::string_view reference) {
  line(control::unknown_job_line(reference));
  final_ = true;
  flush();
}

void Client::flush() {
  while (!closed_ && !waiting_.empty()) {
    auto n = stream_->try_write(base::as_bytes(waiting_));
    if (!n) return close();
    if (*n == 0) return;
    waiting_.erase(0, *n);
  }
  if (closed_) return;
  if (final_) {
    patience_.start(kRequestPatience);
    return stream_->shut_down();  // the client closes when it has read the end
  }
  if (has_room() && on_room_) {
    auto callback = on_room_;
    callback();
  }
}

void Client::close() {
  if (closed_) return;
  closed_ = true;
  patience_.stop();
  stream_.reset();
  on_room_ = nullptr;
  on_input_ = nullptr;
  on_line_ = nullptr;
  auto callback = std::exchange(on_closed_, nullptr);
  if (callback) callback();
}

void Client::pause_input() {
  if (!closed_) stream_->pause_reading();
}

void Client::resume_input() {
  if (!closed_) stream_->resume_reading();
}

void Client::hear(base::ByteView bytes) {
  while (!bytes.empty() && on_line_ && !closed_ && !final_) {
    const std::size_t piece = std::min(bytes.size(), control::kReadBytesMax);
    if (!reader_.feed(bytes.first(piece))) return fail(Exit::kError, "that line is too long");
    bytes = bytes.subspan(piece);
    while (on_line_) {
      const auto line = reader_.next();
      if (!line) break;
      const auto callback = on_line_;  // which may close us
      callback(*line);
    }
  }
}

ControlServer::ControlServer(loop::Loop& loop, base::Log& log, OnRequest on_request)
    : loop_(loop), log_(log), on_request_(std::move(on_request)) {}

ControlServer::~ControlServer() {
  for (const auto& client : clients_) {
    client->on_closed_ = nullptr;
    client->close();
  }
  if (listener_) (void)::unlink(path_.c_str());
}

base::Result<std::unique_ptr<ControlServer>> ControlServer::start(loop::Loop& loop,
                                                                  const std::string& path,
                                                                  base::Log& log,
                                                                  OnRequest on_request) {
  std::unique_ptr<ControlServer> server(new ControlServer(loop, log, std::move(on_request)));
  // Anybody on the machine may ask; what each may do is decided by the uid.
  const unsigned mode = ::geteuid() == 0 ? 0666 : 0600;
  auto listener = loop::Listener::unix_socket(
      loop, path, mode, [raw = server.get()](std::unique_ptr<loop::Stream> stream) {
        raw->accept(std::move(stream));
      });
  if (!listener) return listener.error();
  server->listener_ = std::move(*listener);
  server->path_ = path;
  return server;
}

void ControlServer::stop_listening() {
  if (!listener_) return;
  listener_.reset();
  (void)::unlink(path_.c_str());
}

bool ControlServer::idle() const {
  for (const auto& client : clients_) {
    if (client->closed_ || client->endless_) continue;
    if (!client->final_ || !client->waiting_.empty()) return false;
  }
  return true;
}

void ControlServer::accept(std::unique_ptr<loop::Stream> stream) {
  // One that was cut off while it was written to is not told of by reading.
  clients_.remove_if([](const auto& client) { return client->closed_; });
  auto client = std::make_shared<Client>(loop_, std::move(stream));
  const auto same = std::count_if(clients_.begin(), clients_.end(),
                                  [&](const auto& c) { return c->uid_ == client->uid_; });
  const bool greedy = client->uid_ != 0 && static_cast<std::size_t>(same) >= kClientsOfUserMax;
  if (clients_.size() >= kClientsMax || greedy) {
    log_.warn("too_many_clients", {{"uid", static_cast<std::uint64_t>(client->uid_)}});
    return;
  }
  clients_.push_back(client);
  client->patience_.start(kRequestPatience);
  client->stream_->on_writable([weak = std::weak_ptr<Client>(client)] {
    if (auto strong = weak.lock()) strong->flush();
  });
  client->stream_->start_reading(
      [this, weak = std::weak_ptr<Client>(client)](base::ByteView bytes) {
        if (auto strong = weak.lock()) on_bytes(strong, bytes);
      },
      [this, weak = std::weak_ptr<Client>(client)](const base::Status& status) {
        auto strong = weak.lock();
        if (!strong) return;
        // A client that only listens may have closed its side; one that is gone shows on writing.
        if (status && !strong->final_ && strong->uid_ != UINT32_MAX && strong->on_room_) return;
        strong->close();
        clients_.remove(strong);
      });
}

void ControlServer::on_bytes(const std::shared_ptr<Client>& client, base::ByteView bytes) {
  while (!bytes.empty() && !client->closed_) {
    const std::size_t piece = std::min(bytes.size(), control::kReadBytesMax);
    if (!client->reader_.feed(bytes.first(piece))) {
      return client->fail(Exit::kError, "the request is too long");
    }
    bytes = bytes.subspan(piece);
    auto line = client->reader_.next();
    if (!line) continue;
    client->patience_.stop();
    client->stream_->pause_reading();
    // Reading goes on, to notice when the client goes away, and for who asked for what it says.
    client->stream_->start_reading(
        [weak = std::weak_ptr<Client>(client)](base::ByteView more) {
          auto strong = weak.lock();
          if (!strong) return;
          if (!strong->on_input_) return strong->hear(more);
          const auto callback = strong->on_input_;
          callback(more);
        },
        [this, weak = std::weak_ptr<Client>(client)](const base::Status&) {
          auto strong = weak.lock();
          if (!strong) return;
          strong->close();
          clients_.remove(strong);
        });
    auto request = control::parse_request(*line);
    base::wipe({reinterpret_cast<std::uint8_t*>(line->data()), line->size()});
    if (!request) return client->fail(request.error());
    on_request_(std::move(*request), client);
    return;
  }
}

}  // namespace ternd
