#include "daemon/links.h"

#include <algorithm>
#include <utility>

namespace ternd {
namespace {

using base::Code;
using base::Endpoint;
using base::fail;
using base::NodeId;
using base::Result;
using base::crypto::Cipher;
using node::Purpose;

constexpr transfer::VersionRange kVersions{1, 1};

bool is_bulk(Purpose purpose) { return purpose == Purpose::kBulk || purpose == Purpose::kShare; }
constexpr base::Duration kSweep = std::chrono::seconds(5);

}  // namespace

struct Links::Connection {
  std::unique_ptr<PeerStream> stream;
  bool initiator = false;
  bool proven = false;  // a member, or a joiner with a valid ticket
  bool by_ticket = false;
  bool open = false;
  bool closed = false;
  Endpoint at;
  Endpoint listens_at;  // as it greeted
  NodeId peer;
  base::crypto::DhPublic remote_static{};
  base::crypto::Hash512 handshake_hash{};
  std::optional<Purpose> purpose;
  std::optional<NodeId> wanted;  // who must be there
  transfer::MessageReader reader;
  std::deque<base::Bytes> queue;
  std::size_t queued = 0;
  base::Time used{};
  base::Time began{};
  std::function<void(Result<BulkStream>)> bulk_done;
};

Links::Links(loop::Loop& loop, Identity identity, base::Log& log, Callbacks callbacks)
    : loop_(loop),
      identity_(std::move(identity)),
      log_(log),
      callbacks_(std::move(callbacks)),
      sweeper_(loop, [this] { sweep(); }) {
  sweeper_.start(kSweep);
}

Links::~Links() {
  for (const Handle& connection : connections_) {
    connection->closed = true;
    connection->stream.reset();
    connection->bulk_done = nullptr;
  }
}

std::size_t Links::connections() const { return connections_.size(); }

transfer::StreamConfig Links::config(bool initiator, Cipher suite) const {
  transfer::StreamConfig config;
  config.initiator = initiator;
  config.mesh = identity_.mesh;
  config.versions = kVersions;
  config.static_key.public_key = identity_.keys.dh.public_key;
  config.static_key.secret = identity_.keys.dh.secret.clone();
  config.ephemeral = random_secret();
  config.payload = node::encode(node::Greeting{identity_.chain, identity_.port});
  config.suite = suite;
  config.aes_allowed = base::crypto::aes_available();
  config.tickets_allowed = true;
  return config;
}

PeerStream::Callbacks Links::callbacks_for(const Handle& connection) {
  PeerStream::Callbacks callbacks;
  std::weak_ptr<Connection> weak = connection;
  const auto with = [weak](auto&& action) {
    if (auto strong = weak.lock(); strong && !strong->closed) action(strong);
  };
  callbacks.psk = [this](const base::TicketId& ticket) { return callbacks_.psk(ticket); };
  callbacks.on_handshake = [this, weak](const transfer::HandshakeDone& done) {
    auto strong = weak.lock();
    return strong && !strong->closed && admit(strong, done);
  };
  callbacks.on_open = [this, with] { with([this](const Handle& c) { on_open(c); }); };
  callbacks.on_data = [this, with](transfer::Buffer bytes) {
    with([&](const Handle& c) { on_data(c, std::move(bytes)); });
  };
  callbacks.on_end = [this, with] { with([this](const Handle& c) { close(c); }); };
  callbacks.on_room = [this, with] { with([this](const Handle& c) { flush(c); }); };
  callbacks.on_failed = [this, with](const base::Error& error) {
    with([&](const Handle& c) { on_failed(c, error); });
  };
  return callbacks;
}

// ---- who it is

bool Links::admit(const Handle& connection, const transfer::HandshakeDone& done) {
  connection->remote_static = done.remote_static;
  connection->handshake_hash = done.handshake_hash;
  connection->by_ticket = done.by_ticket;
  if (done.by_ticket) {
    make_room_for_joiner(connection->at);
    connection->proven = true;
    return true;
  }
  const auto refuse = [&](const std::string& why) {
    ++refused_;
    log_.debug("connection_refused", {{"at", connection->at.text()}, {"why", why}});
    return false;
  };
  auto greeting = node::decode_greeting(done.payload);
  if (!greeting) return refuse(greeting.error().detail);
  auto certificate = identity::verify(greeting->chain, identity_.root, loop::Loop::wall_now());
  if (!certificate) return refuse(certificate.error().detail);
  if (certificate->body.dh_public != done.remote_static) {
    return refuse("the certificate is for another key");
  }
  if (certificate->id == identity_.keys.id()) return refuse("this is the node itself");
  if (connection->wanted && *connection->wanted != certificate->id) {
    return refuse("another member answers there");
  }
  make_room_for(certificate->id);
  connection->proven = true;
  connection->peer = certificate->id;
  Endpoint at = connection->at;
  at.port = greeting->port;
  connection->listens_at = at;
  if (callbacks_.introduced && greeting->port != 0) {
    callbacks_.introduced(greeting->chain, at, connection->initiator);
  }
  return true;
}

// What a cut link leaves hangs until it is idle for long; it must not keep its member's new ones
// out.
void Links::make_room_for(const NodeId& peer) {
  std::vector<Handle> of_peer;
  for (const Handle& other : connections_) {
    if (other->proven && other->peer == peer) of_peer.push_back(other);
  }
  if (of_peer.size() < kPerPeerMax) return;
  close(*std::min_element(of_peer.begin(), of_peer.end(),
                          [](const Handle& a, const Handle& b) { return a->used < b->used; }));
}

// A ticket lets one machine in: whoever has it needs few connections.
void Links::make_room_for_joiner(const Endpoint& from) {
  std::vector<Handle> all;
  std::vector<Handle> of_address;
  for (const Handle& other : connections_) {  // oldest first
    if (!other->proven || !other->by_ticket) continue;
    all.push_back(other);
    if (other->at.address == from.address) of_address.push_back(other);
  }
  if (of_address.size() >= kJoinersOfAddressMax) return close(of_address.front());
  if (all.size() >= kJoinersMax) close(all.front());
}

// ---- incoming

void Links::accept(std::unique_ptr<loop::Stream> stream) {
  std::size_t strangers = 0;
  for (const Handle& other : connections_) strangers += other->proven ? 0 : 1;
  if (strangers >= kStrangersMax) {
    const auto oldest = std::find_if(connections_.begin(), connections_.end(),
                                     [](const Handle& c) { return !c->proven && !c->initiator; });
    if (oldest == connections_.end()) return;
    ++refused_;
    close(Handle(*oldest));
  }
  auto connection = std::make_shared<Connection>();
  connection->at = stream->peer();
  connection->used = connection->began = loop::Loop::now();
  connections_.push_back(connection);
  connection->stream = PeerStream::accept(
      loop_, std::move(stream), config(false, Cipher::kChaChaPoly), callbacks_for(connection));
}

void Links::on_purpose(const Handle& connection, base::ByteView first) {
  auto purpose = node::decode_purpose(first, connection->by_ticket);
  if (!purpose) {
    ++refused_;
    log_.debug("connection_refused",
               {{"at", connection->at.text()}, {"why", purpose.error().detail}});
    return close(connection);
  }
  connection->purpose = *purpose;
  if (!is_bulk(*purpose)) return;
  BulkStream bulk{connection->peer, connection->handshake_hash, std::move(connection->stream)};
  close(connection);
  *purpose == Purpose::kShare ? callbacks_.share(std::move(bulk))
                              : callbacks_.bulk(std::move(bulk));
}

void Links::on_data(const Handle& connection, transfer::Buffer bytes) {
  connection->used = loop::Loop::now();
  if (!connection->purpose) return on_purpose(connection, bytes.view());
  if (*connection->purpose == Purpose::kJoin) return on_join(connection, std::move(bytes));
  if (*connection->purpose != Purpose::kMessages) return close(connection);
  if (!connection->reader.feed(bytes.view())) return close(connection);
  while (!connection->closed) {
    auto message = connection->reader.next();
    if (!message) return;
    callbacks_.message(connection->peer, connection->listens_at, std::move(*message));
  }
}

void Links::on_join(const Handle& connection, transfer::Buffer bytes) {
  std::weak_ptr<Connection> weak = connection;
  const auto reply = [this, weak](const base::Bytes& answer) {
    auto strong = weak.lock();
    if (!strong || strong->closed || !strong->stream) return;
    if (!strong->stream->send({answer})) return close(strong);
    strong->stream->finish();
  };
  callbacks_.join(base::to_bytes(bytes.view()), connection->remote_static, reply);
}

// ---- outgoing

Links::Handle Links::start(const Endpoint& at, Purpose purpose) {
  auto connection = std::make_shared<Connection>();
  connection->initiator = true;
  connection->at = at;
  connection->purpose = purpose;
  connection->used = connection->began = loop::Loop::now();
  connections_.push_back(connection);
  connection->stream = PeerStream::connect(
      loop_, at, identity_.from, [this](Cipher suite) { return config(true, suite); },
      callbacks_for(connection));
  return connection;
}

// A member may have several addresses; one that does not answer makes room for the next.
const Endpoint& Links::pick(const NodeId& to, const std::vector<Endpoint>& at) {
  const auto it = next_address_.find(to);
  return at[it == next_address_.end() ? 0 : it->second % at.size()];
}

void Links::contact(const Endpoint& at) { (void)start(at, Purpose::kMessages); }

void Links::send(const NodeId& to, const std::vector<Endpoint>& at, base::Bytes message) {
  Handle connection;
  const auto it = links_.find(to);
  if (it != links_.end()) connection = it->second;
  if (!connection) {
    if (at.empty()) return;
    connection = start(pick(to, at), Purpose::kMessages);
    connection->wanted = to;
    links_[to] = connection;
  }
  if (connection->queued + message.size() > kQueuedMax) return;
  connection->queued += message.size();
  connection->queue.push_back(std::move(message));
  flush(connection);
}

void Links::open_bulk(const NodeId& to, const std::vector<Endpoint>& at,
                      std::function<void(Result<BulkStream>)> done, Purpose purpose) {
  if (at.empty()) return done(fail(Code::kUnreachable, "no address of that node is known"));
  Handle connection = start(pick(to, at), purpose);
  connection->wanted = to;
  connection->bulk_done = std::move(done);
}

std::string Links::describe(const NodeId& to) const {
  const auto it = links_.find(to);
  if (it == links_.end()) return "none";
  const Connection& link = *it->second;
  const auto age = loop::Loop::now() - link.began;
  return std::string(link.open ? "open" : "opening") + " since " +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(age).count()) + " s, " +
         std::to_string(link.queued) + " bytes queued, " +
         std::to_string(link.stream ? link.stream->pending() : 0) + " not taken by the socket";
}

void Links::on_open(const Handle& connection) {
  connection->open = true;
  if (!connection->initiator) return;
  if (!is_bulk(*connection->purpose)) connection->stream->give_up_after(kLinkSilence);
  if (!connection->stream->send({node::encode(*connection->purpose)})) return close(connection);
  if (!is_bulk(*connection->purpose)) return flush(connection);
  auto done = std::exchange(connection->bulk_done, nullptr);
  BulkStream bulk{connection->peer, connection->handshake_hash, std::move(connection->stream)};
  close(connection);
  bulk.stream->flush();
  done(std::move(bulk));
}

void Links::flush(const Handle& connection) {
  if (!connection->open || connection->closed) return;
  connection->used = loop::Loop::now();
  while (!connection->queue.empty()) {
    const base::Status sent =
        transfer::send_message(connection->stream->stream(), connection->queue.front());
    if (!sent && sent.error().code == Code::kFull) break;
    connection->queued -= connection->queue.front().size();
    connection->queue.pop_front();
  }
  connection->stream->flush();
}

void Links::on_failed(const Handle& connection, const base::Error& error) {
  const bool never_open = !connection->open;
  auto done = std::exchange(connection->bulk_done, nullptr);
  if (!connection->initiator && never_open) ++refused_;
  if (!error.detail.empty()) {
    log_.debug("connection_closed", {{"at", connection->at.text()}, {"why", error.detail}});
  }
  const Endpoint at = connection->at;
  const bool initiator = connection->initiator;
  if (never_open && connection->wanted) ++next_address_[*connection->wanted];
  close(connection);
  if (done) done(error);
  if (initiator && never_open && callbacks_.contact_failed) callbacks_.contact_failed(at);
}

void Links::close(const Handle& connection) {
  if (connection->closed) return;
  connection->closed = true;
  const auto link = links_.find(connection->peer);
  if (link != links_.end() && link->second == connection) links_.erase(link);
  if (connection->wanted) {
    const auto wanted = links_.find(*connection->wanted);
    if (wanted != links_.end() && wanted->second == connection) links_.erase(wanted);
  }
  const Handle keep = connection;  // the deque's handle may be the caller's argument
  connections_.erase(std::remove(connections_.begin(), connections_.end(), keep),
                     connections_.end());
  keep->stream.reset();
  const auto done = std::exchange(keep->bulk_done, nullptr);
  if (done) done(fail(Code::kUnreachable, "the connection was closed before it was open"));
}

void Links::sweep() {
  const base::Time now = loop::Loop::now();
  const std::deque<Handle> all = connections_;
  for (const Handle& connection : all) {
    const bool slow_joiner = connection->by_ticket && now - connection->began > kJoinPatience;
    if (now - connection->used > kLinkIdle || slow_joiner) close(connection);
  }
  sweeper_.start(kSweep);
}

// ---- joining

Joining::Joining(loop::Loop& loop, const Endpoint& at, const Endpoint& from,
                 const base::MeshId& mesh, const identity::NodeKeys& keys,
                 const base::TicketId& ticket_id, const base::Secret<32>& psk, base::Bytes request,
                 Done done)
    : request_(std::move(request)), done_(std::move(done)), psk_(psk.clone()), keys_(keys.clone()) {
  PeerStream::Callbacks callbacks;
  callbacks.on_handshake = [](const transfer::HandshakeDone& proven) { return proven.by_ticket; };
  callbacks.on_open = [this] {
    base::Status sent = stream_->send({node::encode(Purpose::kJoin)});
    if (sent) sent = stream_->send({request_});
    stream_->flush();
  };
  callbacks.on_data = [this](transfer::Buffer bytes) {
    auto finish = std::exchange(done_, nullptr);
    if (finish) finish(base::to_bytes(bytes.view()));
  };
  callbacks.on_failed = [this](const base::Error& error) {
    auto finish = std::exchange(done_, nullptr);
    if (finish) finish(error);
  };
  const auto make_config = [this, mesh, ticket_id](Cipher suite) {
    transfer::StreamConfig config;
    config.initiator = true;
    config.mesh = mesh;
    config.versions = kVersions;
    config.static_key.public_key = keys_.dh.public_key;
    config.static_key.secret = keys_.dh.secret.clone();
    config.ephemeral = random_secret();
    config.suite = suite;
    config.ticket.emplace();
    config.ticket->id = ticket_id;
    config.ticket->psk = psk_.clone();
    return config;
  };
  stream_ = PeerStream::connect(loop, at, from, make_config, std::move(callbacks));
}

}  // namespace ternd
