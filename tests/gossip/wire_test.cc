#include "gossip/wire.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace gossip
