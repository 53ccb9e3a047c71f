// One encrypted connection of the daemon: a loop::Stream pumped through a transfer::SecureStream.
//
//   connecting -> handshake -> (on_handshake: accept or refuse) -> open -> closed
//
// Rules: every callback may destroy the PeerStream. on_failed is the last callback, also when the
// connection ended in order (then with code kNotFound and an empty sentence). The time until the
// handshake is accepted is bounded. A reader that pauses stops the socket, a slow socket makes
// send() say kFull until on_room: bounded both ways. A refused suite is tried again, once, with
// ChaChaPoly, before anybody is told.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/endpoint.h"
#include "base/result.h"
#include "loop/handles.h"
#include "transfer/secure_stream.h"

namespace ternd {

class PeerStream {
 public:
  struct Callbacks {
    // Responder: whose psk a ticket's id stands for; an error refuses.
    std::function<base::Result<base::Secret<32>>(const base::TicketId& ticket)> psk;
    // Whether to go on with this peer.
    std::function<bool(const transfer::HandshakeDone&)> on_handshake;
    std::function<void()> on_open;  // records may be sent from now on
    std::function<void(transfer::Buffer)> on_data;
    std::function<void()> on_end;   // the peer will send nothing more
    std::function<void()> on_room;  // there is room to send again: for a record of any size
    std::function<void(const base::Error&)> on_failed;
  };
  using MakeConfig = std::function<transfer::StreamConfig(base::crypto::Cipher suite)>;

  [[nodiscard]] static std::unique_ptr<PeerStream> connect(loop::Loop& loop,
                                                           const base::Endpoint& to,
                                                           const base::Endpoint& from,
                                                           MakeConfig make_config,
                                                           Callbacks callbacks);
  [[nodiscard]] static std::unique_ptr<PeerStream> accept(loop::Loop& loop,
                                                          std::unique_ptr<loop::Stream> stream,
                                                          transfer::StreamConfig config,
                                                          Callbacks callbacks);
  ~PeerStream();
  // For an accepted stream whose purpose became known: somebody else goes on with it. Data that
  // waits is told to the new ones.
  void take_over(Callbacks callbacks);

  [[nodiscard]] base::Status send(std::initializer_list<base::ByteView> parts);
  [[nodiscard]] std::size_t room() const;     // what one send() may hold now
  [[nodiscard]] std::size_t pending() const;  // bytes that the socket has not taken yet
  void finish();                              // the end of our direction
  // Once open: it fails where the peer's system acknowledges nothing for so long, instead of trying
  // more and more rarely for a quarter of an hour. Not where a reader may pause.
  void give_up_after(base::Duration silence);
  void pause();  // no more on_data until resume()
  void resume();
  [[nodiscard]] base::Endpoint peer() const;
  [[nodiscard]] transfer::SecureStream& stream() { return *secure_; }
  void flush();  // after sending through stream() or message channel: write what is pending

 private:
  PeerStream(loop::Loop& loop, Callbacks callbacks);
  void open_socket();
  void start_socket(std::unique_ptr<loop::Stream> stream);
  void on_bytes(base::ByteView bytes);
  void on_socket_end(const base::Status& status);
  void pump();
  bool dispatch();
  bool handle(transfer::StreamEvent event);
  void write();
  void feed_backlog();
  void fail(const base::Error& error);

  loop::Loop& loop_;
  Callbacks callbacks_;
  MakeConfig make_config_;
  base::Endpoint to_;
  base::Endpoint from_;
  base::crypto::Cipher suite_ = base::crypto::Cipher::kChaChaPoly;
  std::optional<transfer::SecureStream> secure_;
  std::unique_ptr<loop::Stream> socket_;
  loop::Timer deadline_;
  base::Bytes backlog_;  // read, but not taken by secure_ yet
  bool socket_ended_ = false;
  bool paused_ = false;
  bool pumping_ = false;
  [[nodiscard]] bool has_room() const;
  bool wants_room_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
