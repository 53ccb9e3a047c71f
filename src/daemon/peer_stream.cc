#include "daemon/peer_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <span>
#include <utility>

namespace ternd {
namespace {

using base::Code;
using base::Error;
using base::crypto::Cipher;

constexpr base::Duration kHandshakePatience = std::chrono::seconds(10);

}  // namespace

PeerStream::PeerStream(loop::Loop& loop, Callbacks callbacks)
    : loop_(loop), callbacks_(std::move(callbacks)), deadline_(loop, [this] {
        fail(base::fail(Code::kTimeout, "the peer did not finish its handshake in time"));
      }) {}

PeerStream::~PeerStream() { *alive_ = false; }

std::unique_ptr<PeerStream> PeerStream::connect(loop::Loop& loop, const base::Endpoint& to,
                                                const base::Endpoint& from, MakeConfig make_config,
                                                Callbacks callbacks) {
  std::unique_ptr<PeerStream> self(new PeerStream(loop, std::move(callbacks)));
  self->make_config_ = std::move(make_config);
  self->to_ = to;
  self->from_ = from;
  self->suite_ = base::crypto::aes_available() ? Cipher::kAesGcm : Cipher::kChaChaPoly;
  self->deadline_.start(kHandshakePatience);
  self->open_socket();
  return self;
}

std::unique_ptr<PeerStream> PeerStream::accept(loop::Loop& loop,
                                               std::unique_ptr<loop::Stream> stream,
                                               transfer::StreamConfig config, Callbacks callbacks) {
  std::unique_ptr<PeerStream> self(new PeerStream(loop, std::move(callbacks)));
  self->secure_.emplace(std::move(config));
  self->deadline_.start(kHandshakePatience);
  self->start_socket(std::move(stream));
  return self;
}

void PeerStream::take_over(Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  pump();
}

void PeerStream::open_socket() {
  secure_.emplace(make_config_(suite_));
  socket_ended_ = false;
  backlog_.clear();
  socket_ = loop::Stream::connect_tcp(loop_, to_, from_, [this](base::Status status) {
    if (!status) return fail(status.error());
    start_socket(std::move(socket_));
  });
}

void PeerStream::start_socket(std::unique_ptr<loop::Stream> stream) {
  socket_ = std::move(stream);
  socket_->on_writable([this] { pump(); });
  socket_->start_reading([this](base::ByteView bytes) { on_bytes(bytes); },
                         [this](const base::Status& status) { on_socket_end(status); });
  pump();
}

void PeerStream::on_bytes(base::ByteView bytes) {
  if (backlog_.empty()) {
    const std::size_t taken = paused_ ? 0 : secure_->feed(bytes);
    bytes = bytes.subspan(taken);
  }
  if (!bytes.empty()) {
    // Bounded: reading stops here and goes on when the backlog was taken.
    backlog_.insert(backlog_.end(), bytes.begin(), bytes.end());
    socket_->pause_reading();
  }
  pump();
}

void PeerStream::on_socket_end(const base::Status& status) {
  socket_ended_ = true;
  if (!status && backlog_.empty()) return fail(status.error());
  pump();
}

void PeerStream::feed_backlog() {
  if (!backlog_.empty() && secure_->wants_input()) {
    const std::size_t taken = secure_->feed(backlog_);
    backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(taken));
    if (backlog_.empty() && !socket_ended_) socket_->resume_reading();
  }
  if (backlog_.empty() && socket_ended_) secure_->feed_end();
}

// Takes events, feeds what waits and writes what is pending, until nothing moves any more.
void PeerStream::pump() {
  if (pumping_) return;
  pumping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  while (true) {
    write();
    if (!*alive) return;
    if (!dispatch()) return;  // destroyed
    const bool more = !paused_ && (!backlog_.empty() || socket_ended_);
    if (!more) break;
    const std::size_t before = backlog_.size();
    feed_backlog();
    if (!dispatch()) return;
    if (backlog_.size() == before) break;
  }
  write();
  if (!*alive) return;
  pumping_ = false;
  if (!paused_ && socket_ && secure_->done() && secure_->pending_size() == 0) {
    return fail(base::fail(Code::kNotFound, ""));  // all was said and heard
  }
  if (wants_room_ && has_room() && callbacks_.on_room) {
    wants_room_ = false;
    auto callback = callbacks_.on_room;
    callback();
  }
}

// False: this object is gone.
bool PeerStream::dispatch() {
  const std::shared_ptr<bool> alive = alive_;
  while (!paused_) {
    auto event = secure_->next_event();
    if (!event) break;
    if (!handle(std::move(*event)) || !*alive) return false;
  }
  return true;
}

bool PeerStream::handle(transfer::StreamEvent event) {
  const std::shared_ptr<bool> alive = alive_;
  if (auto* need = std::get_if<transfer::NeedPsk>(&event)) {
    auto psk = callbacks_.psk ? callbacks_.psk(need->ticket_id)
                              : base::fail(Code::kRefused, "tickets are not taken here");
    if (psk) {
      secure_->provide_psk(std::move(*psk));
    } else {
      secure_->refuse();
    }
  } else if (auto* done = std::get_if<transfer::HandshakeDone>(&event)) {
    const bool go_on = callbacks_.on_handshake(*done);
    if (!*alive) return false;
    if (!go_on) {
      secure_->refuse();
      return true;
    }
    secure_->accept();
    deadline_.stop();
    if (auto callback = callbacks_.on_open) callback();
  } else if (auto* data = std::get_if<transfer::Data>(&event)) {
    auto callback = callbacks_.on_data;
    if (callback) callback(std::move(data->bytes));
  } else if (std::holds_alternative<transfer::EndOfStream>(event)) {
    auto callback = callbacks_.on_end;
    if (callback) callback();
  } else if (std::holds_alternative<transfer::SuiteRefused>(event)) {
    if (!make_config_ || suite_ == Cipher::kChaChaPoly) {
      fail(base::fail(Code::kUnsupported, "the peer refuses every cipher suite"));
      return false;
    }
    suite_ = Cipher::kChaChaPoly;
    pumping_ = false;
    open_socket();
    return false;  // this pump is over; the new socket starts its own
  } else if (auto* failed = std::get_if<transfer::Failed>(&event)) {
    write();  // a refusal is one byte
    if (*alive) fail(failed->error);
    return false;
  }
  return *alive;
}

void PeerStream::write() {
  while (secure_ && socket_ && secure_->pending_size() > 0) {
    std::array<base::ByteView, loop::Stream::kPartsMax> parts;
    const std::size_t count = secure_->pending_output(parts);
    auto n = socket_->try_write(std::span<const base::ByteView>(parts).first(count));
    if (!n) {
      if (!socket_ended_) socket_ended_ = true;
      return;
    }
    if (*n == 0) return;
    secure_->consume_output(*n);
  }
}

base::Status PeerStream::send(std::initializer_list<base::ByteView> parts) {
  base::Status status = secure_->send(parts);
  if (!status && status.error().code == Code::kFull) wants_room_ = true;
  return status;
}

std::size_t PeerStream::room() const { return secure_->output_room(); }
bool PeerStream::has_room() const { return secure_->output_room() >= transfer::kRecordDataMax; }
std::size_t PeerStream::pending() const { return secure_->pending_size(); }

void PeerStream::finish() {
  if (secure_->finish().ok()) flush();
}

void PeerStream::give_up_after(base::Duration silence) {
  const auto milliseconds =
      static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(silence).count());
  (void)::setsockopt(socket_->fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
                     sizeof milliseconds);
}

void PeerStream::flush() {
  // Whoever sends by stream() met kFull with less room than its record needs, or is about to.
  if (!has_room()) wants_room_ = true;
  pump();
}

void PeerStream::pause() { paused_ = true; }

void PeerStream::resume() {
  if (!paused_) return;
  paused_ = false;
  pump();
}

base::Endpoint PeerStream::peer() const { return socket_ ? socket_->peer() : to_; }

void PeerStream::fail(const Error& error) {
  if (!*alive_) return;
  deadline_.stop();
  socket_.reset();
  auto callback = std::exchange(callbacks_.on_failed, nullptr);
  callbacks_ = {};
  if (callback) callback(error);
}

}  // namespace ternd
