// Who gets a connection to a daemon, how many, and what strangers can do (daemon/links.h).
#include "daemon/links.h"

#include "links_rig.h"

namespace ternd::testing {
namespace {

class LinksTest : public ::testing::Test {
 protected:
  LinksTest()
      : root_(base::crypto::sign_key_from_seed(random_secret())),
        a_(loop_, root_, "a"),
        b_(loop_, root_, "b") {}
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }
  std::unique_ptr<loop::Stream> raw(const Member& to, std::uint8_t from = 1) {
    return loop::Stream::connect_tcp(loop_, to.at(), loopback(0, from), [](base::Status) {});
  }
  // A connection with the ticket that says nothing once it is open.
  std::unique_ptr<PeerStream> idle_joiner(const Member& to, std::uint8_t from, int& opened,
                                          int& failed) {
    PeerStream::Callbacks callbacks;
    callbacks.on_handshake = [](const transfer::HandshakeDone&) { return true; };
    callbacks.on_open = [&opened] { ++opened; };
    callbacks.on_failed = [&failed](const base::Error&) { ++failed; };
    const auto make =
        [&to, mesh = base::crypto::mesh_id_of(root_.public_key)](base::crypto::Cipher suite) {
          transfer::StreamConfig config;
          config.initiator = true;
          config.mesh = mesh;
          config.static_key = base::crypto::dh_key_from_secret(random_secret());
          config.ephemeral = random_secret();
          config.suite = suite;
          config.ticket.emplace();
          config.ticket->id = to.ticket;
          config.ticket->psk = to.psk.clone();
          return config;
        };
    return PeerStream::connect(loop_, to.at(), loopback(0, from), make, std::move(callbacks));
  }

  loop::Loop loop_;
  base::crypto::SignKey root_;
  Member a_;
  Member b_;
};

TEST_F(LinksTest, MembersTalkOverOneConnectionEachWay) {
  for (int i = 0; i < 50; ++i) a_.say(b_, "message " + std::to_string(i));
  ASSERT_TRUE(until([&] { return b_.messages.size() == 50; }));
  EXPECT_EQ(b_.messages[49], std::pair(a_.id(), std::string("message 49")));
  EXPECT_EQ(b_.called_from, a_.at()) << "where it listens";
  EXPECT_EQ(a_.links->connections(), 1U);
  EXPECT_EQ(b_.links->connections(), 1U);
  EXPECT_EQ(b_.introduced, 1);
  EXPECT_TRUE(a_.called);
  EXPECT_FALSE(b_.called);
}

TEST_F(LinksTest, OfAnotherMeshNobodyComesIn) {
  Member stranger(loop_, base::crypto::sign_key_from_seed(random_secret()), "s");
  stranger.links->contact(b_.at());
  ASSERT_TRUE(until([&] { return stranger.failed_contacts == 1; }));
  EXPECT_EQ(b_.introduced, 0);
  ASSERT_TRUE(until([&] { return b_.links->connections() == 0; }));
}

TEST_F(LinksTest, StrangersAreBoundedAndKeepNoMemberOut) {
  std::vector<std::unique_ptr<loop::Stream>> silent;
  for (std::size_t i = 0; i < kStrangersMax + 20; ++i) silent.push_back(raw(b_));
  ASSERT_TRUE(until([&] { return b_.links->refused() >= 20; }));
  EXPECT_LE(b_.links->connections(), kStrangersMax);
  a_.say(b_, "hello");
  ASSERT_TRUE(until([&] { return b_.messages.size() == 1; }));
}

TEST_F(LinksTest, RubbishIsRefusedAndCostsNothing) {
  std::vector<std::unique_ptr<loop::Stream>> clients;
  const base::Bytes rubbish(5000, 0x5a);
  for (int i = 0; i < 10; ++i) {
    clients.push_back(nullptr);
    auto& client = clients.back();
    client = loop::Stream::connect_tcp(loop_, b_.at(), {}, [&client, &rubbish](base::Status) {
      (void)client->try_write(base::ByteView(rubbish)).ok();
    });
    ASSERT_TRUE(until([&] { return b_.links->refused() == static_cast<std::uint64_t>(i + 1); }));
  }
  EXPECT_EQ(b_.links->connections(), 0U);
}

// One ticket, one machine: its holder cannot fill the table.
TEST_F(LinksTest, ConnectionsByTicketAreBoundedForOneAddress) {
  int opened = 0;
  int failed = 0;
  std::vector<std::unique_ptr<PeerStream>> joiners;
  for (std::size_t i = 0; i < kJoinersOfAddressMax + 6; ++i) {
    joiners.push_back(idle_joiner(b_, 1, opened, failed));
    ASSERT_TRUE(until([&] { return opened == static_cast<int>(i + 1); }));
  }
  ASSERT_TRUE(until([&] { return failed == 6; }));
  EXPECT_EQ(b_.links->connections(), kJoinersOfAddressMax);
}

TEST_F(LinksTest, ConnectionsByTicketAreBoundedInAll) {
  int opened = 0;
  int failed = 0;
  const base::Time begin = loop::Loop::now();
  std::vector<std::unique_ptr<PeerStream>> joiners;
  for (std::uint8_t address = 1; address <= 8; ++address) {
    for (std::size_t i = 0; i < kJoinersOfAddressMax; ++i) {
      const int before = opened;
      joiners.push_back(idle_joiner(b_, address, opened, failed));
      ASSERT_TRUE(until([&] { return opened == before + 1; }));
    }
  }
  ASSERT_TRUE(until([&] { return b_.links->connections() <= kJoinersMax; }));
  EXPECT_LT(loop::Loop::now() - begin, kJoinPatience) << "they went for lack of room";
  a_.say(b_, "members come in");
  ASSERT_TRUE(until([&] { return b_.messages.size() == 1; }));
  std::optional<base::Result<base::Bytes>> reply;
  Joining joining(loop_, b_.at(), loopback(), base::crypto::mesh_id_of(root_.public_key), a_.keys,
                  b_.ticket, b_.psk, base::Bytes{1},
                  [&](base::Result<base::Bytes> answer) { reply = std::move(answer); });
  ASSERT_TRUE(until([&] { return reply.has_value(); }));
  ASSERT_TRUE(reply->ok()) << reply->error().detail;
  EXPECT_EQ(b_.joins, 1);
}

TEST_F(LinksTest, WhoHasATicketMayOnlyJoin) {
  for (const std::uint8_t purpose : base::Bytes{1, 2, 0}) {
    SCOPED_TRACE(static_cast<int>(purpose));
    int opened = 0;
    int failed = 0;
    const std::uint64_t refused = b_.links->refused();
    const auto joiner = idle_joiner(b_, 1, opened, failed);
    ASSERT_TRUE(until([&] { return opened == 1; }));
    ASSERT_TRUE(joiner->send({base::ByteView(&purpose, 1)}).ok());
    joiner->flush();
    ASSERT_TRUE(until([&] { return failed == 1; }));
    EXPECT_EQ(b_.links->refused(), refused + 1);
  }
  EXPECT_EQ(b_.links->connections() + b_.bulks.size() + b_.messages.size(), 0U);
}

TEST_F(LinksTest, OneMembersConnectionsAreBounded) {
  for (std::size_t i = 0; i < kPerPeerMax + 4; ++i) a_.links->contact(b_.at());
  ASSERT_TRUE(until([&] { return b_.introduced == static_cast<int>(kPerPeerMax + 4); }));
  EXPECT_LE(b_.links->connections(), kPerPeerMax);
}

TEST_F(LinksTest, ABulkStreamCarriesRecords) {
  std::optional<base::Result<BulkStream>> opened;
  a_.links->open_bulk(b_.id(), {b_.at()},
                      [&](base::Result<BulkStream> bulk) { opened = std::move(bulk); });
  ASSERT_TRUE(until([&] { return opened && b_.bulks.size() == 1; }));
  ASSERT_TRUE(opened->ok());
  EXPECT_EQ((*opened)->handshake_hash, b_.bulks[0].handshake_hash);
  EXPECT_EQ(a_.links->connections() + b_.links->connections(), 0U);
  std::string heard;
  PeerStream::Callbacks callbacks;
  callbacks.on_data = [&](transfer::Buffer bytes) { heard += text_of(bytes); };
  b_.bulks[0].stream->take_over(std::move(callbacks));
  ASSERT_TRUE((*opened)->stream->send({base::as_bytes("pages")}).ok());
  (*opened)->stream->flush();
  EXPECT_TRUE(until([&] { return heard == "pages"; }));
}

// Whoever asked for a stream hears of it once, however it fails.
TEST_F(LinksTest, ABulkStreamThatCannotBeIsToldOnce) {
  Member other(loop_, root_, "other");
  base::Endpoint nobody;
  {
    auto listener = loop::Listener::tcp(loop_, loopback(), [](auto) {});
    ASSERT_TRUE(listener.ok());
    nobody = (*listener)->local();
  }
  auto drops = loop::Listener::tcp(loop_, loopback(), [](auto) {});  // at once
  ASSERT_TRUE(drops.ok());
  const struct {
    const char* name;
    std::vector<base::Endpoint> at;
  } kRows[] = {{"no address", {}},
               {"nobody listens", {nobody}},
               {"closed in the handshake", {(*drops)->local()}},
               {"another member listens", {other.at()}}};
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.name);
    int told = 0;
    a_.links->open_bulk(b_.id(), row.at, [&](const base::Result<BulkStream>& bulk) {
      ++told;
      EXPECT_FALSE(bulk.ok());
    });
    ASSERT_TRUE(until([&] { return told > 0; }));
    ASSERT_TRUE(until([&] { return a_.links->connections() == 0; }));
    EXPECT_EQ(told, 1);
  }
}

}  // namespace
}  // namespace ternd::testing
