// The daemon's TCP side: who may connect, and what a connection is for.
//
// What both say first is in node/greeting.h. A peer *is* its certificate only if the handshake
// proved that certificate's X25519 key.
//
// Messages are best effort: one outgoing connection per peer, made on demand, dropped when idle for
// kLinkIdle, or when what was sent is not acknowledged for kLinkSilence (the network was cut: a new
// connection is there sooner than the old one tries again); what cannot be sent is dropped, since
// every protocol above sends again. Bounded: at
// most kStrangersMax connections that have not proven who they are (the oldest goes when a new one
// comes), kPerPeerMax of one member (the one that was used least recently goes), kJoinersMax that
// came with a ticket and kJoinersOfAddressMax of them from one address (the oldest goes; each has
// kJoinPatience in all), kQueuedMax bytes that wait for one peer.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "daemon/entropy.h"
#include "daemon/peer_stream.h"
#include "identity/certificate.h"
#include "identity/keys.h"
#include "node/greeting.h"
#include "transfer/message_channel.h"

namespace ternd {

inline constexpr std::size_t kStrangersMax = 64;
inline constexpr std::size_t kPerPeerMax = 8;
inline constexpr std::size_t kJoinersMax = 16;
inline constexpr std::size_t kJoinersOfAddressMax = 4;
inline constexpr base::Duration kJoinPatience = std::chrono::seconds(15);
inline constexpr std::size_t kQueuedMax = 1024 * 1024;
inline constexpr base::Duration kLinkIdle = std::chrono::seconds(60);
inline constexpr base::Duration kLinkSilence = std::chrono::seconds(10);

// A bulk connection between members, ready for records.
struct BulkStream {
  base::NodeId peer;
  base::crypto::Hash512 handshake_hash{};
  std::unique_ptr<PeerStream> stream;
};

class Links {
 public:
  struct Identity {
    identity::NodeKeys keys;
    base::MeshId mesh;
    base::crypto::SignPublic root{};
    base::Bytes chain;
    std::uint16_t port = 0;
    base::Endpoint from;  // where connections start: the address that is listened on, if one is
  };
  struct Callbacks {
    // `at`: where it takes connections, port 0 if it did not say.
    std::function<void(base::NodeId from, const base::Endpoint& at, base::Bytes message)> message;
    // A certified member at this address, by a connection either way.
    // `called`: this node opened the connection.
    std::function<void(const base::Bytes& chain, const base::Endpoint& at, bool called)> introduced;
    std::function<void(const base::Endpoint& at)> contact_failed;
    std::function<void(BulkStream)> bulk;
    std::function<void(BulkStream)> share;
    std::function<base::Result<base::Secret<32>>(const base::TicketId& ticket)> psk;
    // A join request and the key that its handshake proved; `reply` may be called later, once.
    std::function<void(base::Bytes request, const base::crypto::DhPublic& proven,
                       std::function<void(base::Bytes)> reply)>
        join;
  };

  Links(loop::Loop& loop, Identity identity, base::Log& log, Callbacks callbacks);
  ~Links();

  void accept(std::unique_ptr<loop::Stream> stream);  // from the listener
  void send(const base::NodeId& to, const std::vector<base::Endpoint>& at, base::Bytes message);
  // First contact: a connection for its handshake's sake.
  void contact(const base::Endpoint& at);
  // `done` gets a stream whose purpose is already told, or why there is none; once, unless this
  // object goes before.
  void open_bulk(const base::NodeId& to, const std::vector<base::Endpoint>& at,
                 std::function<void(base::Result<BulkStream>)> done,
                 node::Purpose purpose = node::Purpose::kBulk);
  [[nodiscard]] std::size_t connections() const;
  // For a log line: the connection that messages to that member go by.
  [[nodiscard]] std::string describe(const base::NodeId& to) const;
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  struct Connection;
  using Handle = std::shared_ptr<Connection>;
  [[nodiscard]] transfer::StreamConfig config(bool initiator, base::crypto::Cipher suite) const;
  [[nodiscard]] PeerStream::Callbacks callbacks_for(const Handle& connection);
  [[nodiscard]] bool admit(const Handle& connection, const transfer::HandshakeDone& done);
  void make_room_for(const base::NodeId& peer);
  void make_room_for_joiner(const base::Endpoint& from);
  [[nodiscard]] Handle start(const base::Endpoint& at, node::Purpose purpose);
  void on_open(const Handle& connection);
  void on_data(const Handle& connection, transfer::Buffer bytes);
  void on_purpose(const Handle& connection, base::ByteView first);
  void on_failed(const Handle& connection, const base::Error& error);
  void on_join(const Handle& connection, transfer::Buffer bytes);
  void flush(const Handle& connection);
  void close(const Handle& connection);
  [[nodiscard]] const base::Endpoint& pick(const base::NodeId& to,
                                           const std::vector<base::Endpoint>& at);
  void sweep();

  loop::Loop& loop_;
  Identity identity_;
  base::Log& log_;
  Callbacks callbacks_;
  std::deque<Handle> connections_;  // oldest first
  std::map<base::NodeId, Handle> links_;
  std::map<base::NodeId, std::size_t> next_address_;  // of those that did not answer, the next
  loop::Timer sweeper_;
  std::uint64_t refused_ = 0;
};

// The joiner's side: one connection with a ticket, one request, one reply. `done` comes once.
class Joining {
 public:
  using Done = std::function<void(base::Result<base::Bytes> reply)>;
  Joining(loop::Loop& loop, const base::Endpoint& at, const base::Endpoint& from,
          const base::MeshId& mesh, const identity::NodeKeys& keys, const base::TicketId& ticket_id,
          const base::Secret<32>& psk, base::Bytes request, Done done);

 private:
  base::Bytes request_;
  Done done_;
  base::Secret<32> psk_;
  identity::NodeKeys keys_;
  std::unique_ptr<PeerStream> stream_;
};

}  // namespace ternd
