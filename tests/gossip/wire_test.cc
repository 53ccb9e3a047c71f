#include "gossip/wire.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "gossip_world.h"

namespace gossip {
namespace {

using base::Bytes;

std::vector<Message> one_of_each(const Bytes& text) {
  const Entry32 entry{base::NodeId{{1}}, {2}, {3}};
  return {ChallengeMessage{{1}, {2}},
          ResponseMessage{{3}},
          AcceptedMessage{{4}},
          PingMessage{5, State::kDead},
          PongMessage{6},
          DigestMessage{State::kSuspect, text},
          ChainMessage{text},
          SuspectMessage{entry},
          SyncHashMessage{7, 8},
          SyncBucketsMessage{{9, 10}},
          SyncSummaryMessage{true, {}, base::NodeId{{0xff}}, {entry, entry}},
          HaveMessage{{entry}},
          WantMessage{{{base::NodeId{{1}}, true}, {base::NodeId{{2}}, false}}}};
}

TEST(GossipWire, EveryMessageReadsBack) {
  const Bytes text(20, 9);
  Bytes payload;
  const auto messages = one_of_each(text);
  ASSERT_EQ(messages.size(), std::variant_size_v<Message>);
  for (const Message& message : messages) {
    const Bytes bytes = encode_message(message);
    payload.insert(payload.end(), bytes.begin(), bytes.end());
  }
  const auto back = decode_messages(payload);
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->size(), messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ((*back)[i].index(), i);
    EXPECT_EQ(encode_message((*back)[i]), encode_message(messages[i])) << i;
  }
}

TEST(GossipWire, EveryTruncationOfEveryMessageIsRefused) {
  const Bytes text(20, 9);
  for (const Message& message : one_of_each(text)) {
    const Bytes bytes = encode_message(message);
    for (std::size_t size = 1; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_messages(base::ByteView(bytes).first(size)).ok())
          << message.index() << " " << size;
    }
  }
}

TEST(GossipWire, LimitsHoldAndUnknownTypesAreSkipped) {
  EXPECT_TRUE(decode_messages(Bytes{200, 1, 0, 7})->empty());
  EXPECT_TRUE(decode_messages({})->empty());
  EXPECT_FALSE(decode_messages(Bytes{4, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}).ok()) << "state 4";
  Bytes wishes{13, 0, 0};
  wishes.resize(3 + 17 * (kEntriesMax + 1));
  wishes[1] = static_cast<std::uint8_t>((wishes.size() - 3) & 0xff);
  wishes[2] = static_cast<std::uint8_t>((wishes.size() - 3) >> 8);
  EXPECT_FALSE(decode_messages(wishes).ok()) << "one wish too many";
  Bytes many;
  for (int i = 0; i < 129; ++i) many.insert(many.end(), {7, 0, 0});
  EXPECT_FALSE(decode_messages(many).ok()) << "too many messages";
}

Bytes digest_of(bool seated) {
  const auto keys = Mesh::keys(1);
  DigestHead head;
  head.mesh = base::MeshId{{7}};
  head.node = keys.id();
  head.incarnation.value = 0x0102030405060708;
  head.sequence.value = 0x1112131415161718;
  DigestFields fields = Mesh::fields(1);
  if (seated) {
    fields.effective_milli = 1812;
    fields.ratio_milli = 912;
    fields.trit = -1;
    fields.jobs = 3;
    fields.parked = 1;
    fields.seat = Seat{base::TriadId{{1, 2}}, SeatRole::kSink, base::Term{300}};
    fields.power = Power::kBatteryLow;
    fields.capabilities = 5;
    fields.left = true;
  }
  return *make_digest(head, fields, keys.sign);
}

Bytes packet_of(const Bytes& payload) {
  auto keys = Mesh::keys(1);
  Envelope from(keys.id(), std::move(keys.dh), Salt{1, 2, 3}, secret_of(4));
  const auto to = Mesh::keys(2);
  (void)from.seal(base::Time{}, to.id(), to.dh.public_key, payload, false);  // counter 0
  return from.seal(base::Time{}, to.id(), to.dh.public_key, payload, false);
}

// tests/vectors/gossip_wire.txt: "name hex". TERN_WRITE_VECTORS=1 writes it anew; a difference is a
// new protocol version, or for a digest a new format.
TEST(GossipWire, MessagesDigestsAndPacketsAreTheGoldenOnes) {
  ASSERT_TRUE(base::crypto::init().ok());
  const char* const kNames[] = {"challenge",    "response", "accepted", "ping",      "pong",
                                "digest",       "chain",    "suspect",  "sync-hash", "sync-buckets",
                                "sync-summary", "have",     "want"};
  static_assert(std::size(kNames) == std::variant_size_v<Message>);
  const Bytes borrowed(20, 9);
  std::string text;
  const auto add = [&text](const std::string& name, const Bytes& bytes) {
    text += name + " " + base::to_hex(bytes) + "\n";
  };
  for (const Message& message : one_of_each(borrowed)) {
    add(kNames[message.index()], encode_message(message));
  }
  add("digest-plain", digest_of(false));
  add("digest-seated", digest_of(true));
  add("packet", packet_of(encode_message(PingMessage{5, State::kDead})));
  const std::string path = std::string(TERN_SOURCE_DIR) + "/tests/vectors/gossip_wire.txt";
  if (std::getenv("TERN_WRITE_VECTORS") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  EXPECT_EQ(text, (std::string{std::istreambuf_iterator<char>(file), {}}));
}

}  // namespace
}  // namespace gossip
