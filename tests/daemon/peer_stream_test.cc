// One encrypted connection over real sockets: whatever the wire does, records come whole or the
// stream fails once, and who destroys a stream from its own callback hears nothing more.
#include "daemon/peer_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "loop_rig.h"

namespace ternd::testing {
namespace {

using base::Code;

transfer::StreamConfig config(bool initiator, base::crypto::Cipher suite) {
  transfer::StreamConfig config;
  config.initiator = initiator;
  config.mesh.bytes.fill(7);
  config.static_key = base::crypto::dh_key_from_secret(random_secret());
  config.ephemeral = random_secret();
  config.suite = suite;
  config.aes_allowed = base::crypto::aes_available();
  return config;
}

// What one end heard.
struct End {
  std::unique_ptr<PeerStream> stream;
  int handshakes = 0;
  int opened = 0;
  int ended = 0;
  int rooms = 0;
  std::vector<std::string> heard;
  std::vector<base::Error> failed;

  PeerStream::Callbacks callbacks() {
    PeerStream::Callbacks callbacks;
    callbacks.on_handshake = [this](const transfer::HandshakeDone&) {
      ++handshakes;
      return true;
    };
    callbacks.on_open = [this] { ++opened; };
    callbacks.on_data = [this](transfer::Buffer bytes) { heard.push_back(text_of(bytes)); };
    callbacks.on_end = [this] { ++ended; };
    callbacks.on_room = [this] { ++rooms; };
    callbacks.on_failed = [this](const base::Error& error) { failed.push_back(error); };
    return callbacks;
  }
};

class PeerStreams : public ::testing::Test {
 protected:
  PeerStreams() {
    auto listener = loop::Listener::tcp(loop_, loopback(), [this](auto stream) {
      server_fd_ = stream->fd();
      server_.stream = PeerStream::accept(
          loop_, std::move(stream), config(false, base::crypto::Cipher::kChaChaPoly),
          server_callbacks_ ? server_callbacks_() : server_.callbacks());
    });
    EXPECT_TRUE(listener.ok());
    listener_ = std::move(*listener);
  }
  void connect(const base::Endpoint& to) { connect(to, client_.callbacks()); }
  void connect(const base::Endpoint& to, PeerStream::Callbacks callbacks) {
    client_.stream = PeerStream::connect(
        loop_, to, {}, [](base::crypto::Cipher suite) { return config(true, suite); },
        std::move(callbacks));
  }
  void open(const base::Endpoint& to) {
    connect(to);
    ASSERT_TRUE(until([&] { return client_.opened == 1 && server_.opened == 1; }));
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }
  static void say(End& end, const std::string& text) {
    ASSERT_TRUE(end.stream->send({base::as_bytes(text)}).ok());
    end.stream->flush();
  }

  int server_fd_ = -1;
  loop::Loop loop_;
  std::unique_ptr<loop::Listener> listener_;
  std::function<PeerStream::Callbacks()> server_callbacks_;
  End client_;
  End server_;
};

TEST_F(PeerStreams, RecordsArriveWholeInWhateverPiecesTheyCome) {
  for (const std::size_t piece : {1U, 3U, 16U, 1000U}) {
    SCOPED_TRACE(piece);
    client_ = {};
    server_ = {};
    Relay relay(loop_, listener_->local(), piece);
    open(relay.at());
    std::vector<std::string> said;
    for (int i = 0; i < 20; ++i) {
      said.push_back(std::string(static_cast<std::size_t>(1 + i * 37), static_cast<char>('a' + i)));
      say(client_, said.back());
    }
    ASSERT_TRUE(until([&] { return server_.heard.size() == said.size(); }));
    EXPECT_EQ(server_.heard, said);
    client_.stream.reset();
    server_.stream.reset();
  }
}

TEST_F(PeerStreams, ADamagedRecordIsNeverToldAndEndsTheStream) {
  Relay relay(loop_, listener_->local(), 4096);
  open(relay.at());
  say(client_, "whole");
  ASSERT_TRUE(until([&] { return server_.heard.size() == 1; }));
  relay.damage_next();
  say(client_, "this one is damaged on its way");
  ASSERT_TRUE(until([&] { return !server_.failed.empty(); }));
  EXPECT_EQ(server_.heard.size(), 1U);
  EXPECT_TRUE(server_.failed[0].code == Code::kUnauthentic ||
              server_.failed[0].code == Code::kTooLarge || server_.failed[0].code == Code::kInvalid)
      << server_.failed[0].detail;
  ASSERT_TRUE(until([&] { return !client_.failed.empty(); }));
  EXPECT_EQ(server_.failed.size() + client_.failed.size(), 2U);
}

TEST_F(PeerStreams, ADamagedHandshakeOpensNothing) {
  Relay relay(loop_, listener_->local(), 4096);
  relay.damage_next();
  connect(relay.at());
  ASSERT_TRUE(until([&] { return !server_.failed.empty(); }));
  EXPECT_EQ(server_.opened, 0);
  ASSERT_TRUE(until([&] { return !client_.failed.empty(); }));
  EXPECT_EQ(client_.opened, 0);
}

TEST_F(PeerStreams, ACutIsNoEnd) {
  Relay relay(loop_, listener_->local(), 4096);
  open(relay.at());
  relay.cut();
  ASSERT_TRUE(until([&] { return !server_.failed.empty() && !client_.failed.empty(); }));
  EXPECT_EQ(server_.ended, 0);
  EXPECT_NE(server_.failed[0].detail, "");
}

TEST_F(PeerStreams, OneDirectionMayEndBeforeTheOther) {
  open(listener_->local());
  client_.stream->finish();
  ASSERT_TRUE(until([&] { return server_.ended == 1; }));
  EXPECT_TRUE(server_.failed.empty());
  EXPECT_FALSE(client_.stream->send({base::as_bytes("late")}).ok());
  say(server_, "still here");
  ASSERT_TRUE(until([&] { return client_.heard.size() == 1; }));
  server_.stream->finish();
  ASSERT_TRUE(until([&] { return !server_.failed.empty() && !client_.failed.empty(); }));
  EXPECT_EQ(client_.failed[0].code, Code::kNotFound);  // all was said and heard
  EXPECT_EQ(client_.failed[0].detail, "");
  EXPECT_EQ(server_.failed[0].code, Code::kNotFound);
}

TEST_F(PeerStreams, WhoStopsHalfWayIsToldApartFromAnEnd) {
  auto raw = loop::Stream::connect_tcp(loop_, listener_->local(), {},
                                       [&](base::Status status) { ASSERT_TRUE(status.ok()); });
  ASSERT_TRUE(until([&] { return server_.stream != nullptr; }));
  const std::uint8_t some[] = {1, 2, 3};
  ASSERT_TRUE(raw->try_write(base::ByteView(some)).ok());
  raw->shut_down();
  ASSERT_TRUE(until([&] { return !server_.failed.empty(); }));
  EXPECT_EQ(server_.handshakes, 0);
  EXPECT_EQ(server_.failed.size(), 1U);
}

TEST_F(PeerStreams, ASilentPeerIsGivenUpInTime) {
  auto raw = loop::Stream::connect_tcp(loop_, listener_->local(), {}, [](base::Status) {});
  ASSERT_TRUE(until([&] { return !server_.failed.empty(); }));
  EXPECT_EQ(server_.failed[0].code, Code::kTimeout);
}

TEST_F(PeerStreams, WhoAcknowledgesNothingIsGivenUpIfThatIsWanted) {
  open(listener_->local());
  unsigned milliseconds = 1;
  socklen_t size = sizeof milliseconds;
  const auto silence = [&] {
    EXPECT_EQ(::getsockopt(server_fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, &size), 0);
    return milliseconds;
  };
  EXPECT_EQ(silence(), 0U);
  server_.stream->give_up_after(std::chrono::seconds(10));
  EXPECT_EQ(silence(), 10'000U);
}

TEST_F(PeerStreams, WhoIsNotThereIsUnreachable) {
  const base::Endpoint nobody = listener_->local();
  listener_.reset();
  connect(nobody);
  ASSERT_TRUE(until([&] { return !client_.failed.empty(); }));
  EXPECT_EQ(client_.failed[0].code, Code::kUnreachable);
}

TEST_F(PeerStreams, AStreamMayBeDestroyedInEveryState) {
  const char* const kStates[] = {"connecting", "handshake", "open", "data"};
  for (const std::string state : kStates) {
    SCOPED_TRACE(state);
    client_ = {};
    server_ = {};
    bool gone = false;
    const auto destroy = [&](const char* now) {
      if (state != now) return;
      gone = true;
      client_.stream.reset();
    };
    PeerStream::Callbacks callbacks = client_.callbacks();
    callbacks.on_handshake = [&](const transfer::HandshakeDone&) {
      destroy("handshake");
      return true;
    };
    callbacks.on_open = [&] { destroy("open"); };
    callbacks.on_data = [&](transfer::Buffer) { destroy("data"); };
    callbacks.on_failed = [&](const base::Error&) { ADD_FAILURE() << "told after its end"; };
    connect(listener_->local(), std::move(callbacks));
    destroy("connecting");
    if (state == "data") {
      ASSERT_TRUE(until([&] { return server_.opened == 1; }));
      say(server_, "one");
      say(server_, "two");
    }
    ASSERT_TRUE(until([&] { return gone && (state == "connecting" || !server_.failed.empty()); }));
    EXPECT_LE(server_.failed.size(), 1U);
    server_.stream.reset();
  }
}

TEST_F(PeerStreams, ARefusalIsToldToBoth) {
  server_callbacks_ = [this] {
    PeerStream::Callbacks callbacks = server_.callbacks();
    callbacks.on_handshake = [](const transfer::HandshakeDone&) { return false; };
    return callbacks;
  };
  connect(listener_->local());
  ASSERT_TRUE(until([&] { return !client_.failed.empty() && !server_.failed.empty(); }));
  EXPECT_EQ(server_.failed[0].code, Code::kRefused);
  EXPECT_EQ(server_.opened, 0);
}

// A reader that pauses stops the sender, bounded on both sides, and nothing is lost by it.
TEST_F(PeerStreams, ASlowReaderHoldsTheSenderBack) {
  open(listener_->local());
  server_.stream->pause();
  const std::string record(60'000, 'x');
  std::size_t sent = 0;
  const auto fill = [&] {
    while (client_.stream->send({base::as_bytes(record)}).ok()) ++sent;
    client_.stream->flush();
  };
  fill();
  std::size_t before = 0;
  do {  // until neither the sockets nor the buffers take any more
    before = sent;
    for (int i = 0; i < 50; ++i) {
      loop::Timer soon(loop_, [] {});
      soon.start(base::Duration(1000));
      (void)loop_.run_once();
      fill();
    }
  } while (sent != before);
  EXPECT_TRUE(server_.heard.empty());
  EXPECT_LE(client_.stream->pending(), transfer::kOutputMax);
  EXPECT_LT(sent * record.size(), 64U << 20);
  client_.rooms = 0;
  server_.stream->resume();
  ASSERT_TRUE(until([&] { return server_.heard.size() == sent && client_.rooms > 0; }));
  for (const std::string& one : server_.heard) EXPECT_EQ(one.size(), record.size());
}

}  // namespace
}  // namespace ternd::testing
