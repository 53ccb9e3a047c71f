// Control messages over records: limits, framing, and all or nothing.
#include "transfer/message_channel.h"

#include <gtest/gtest.h>

#include "stream_pair.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

class Messages : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::crypto::init().ok());
    settle(a, b);
  }
  static EndOptions side(bool initiator) {
    EndOptions options;
    options.initiator = initiator;
    return options;
  }
  End a{side(true)};
  End b{side(false)};
};

TEST_F(Messages, ArriveWholeAtEverySize) {
  MessageReader reader;
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, kRecordDataMax - 4,
                                 kRecordDataMax - 3, kMessageSizeMax}) {
    SCOPED_TRACE(size);
    const Bytes message(size, static_cast<std::uint8_t>(size));
    ASSERT_TRUE(send_message(a.stream, message).ok());
    settle(a, b);
    std::optional<Bytes> got;
    for (const Bytes& record : b.records) {
      ASSERT_FALSE(got.has_value());
      ASSERT_TRUE(reader.feed(record).ok());
      got = reader.next();
    }
    b.records.clear();
    EXPECT_EQ(got, message);
    EXPECT_FALSE(reader.in_message());
  }
}

TEST_F(Messages, BadSizesAreRefused) {
  EXPECT_EQ(send_message(a.stream, {}).error().code, Code::kInvalid);
  EXPECT_EQ(send_message(a.stream, Bytes(kMessageSizeMax + 1)).error().code, Code::kTooLarge);
  for (const std::uint32_t length : {0U, 65537U, 0xffffffffU}) {
    SCOPED_TRACE(length);
    MessageReader reader;
    Bytes raw(8);
    base::put_le32(raw, length);
    EXPECT_FALSE(reader.feed(raw).ok());
    EXPECT_FALSE(reader.next().has_value());
    EXPECT_FALSE(reader.feed(Bytes{1, 0, 0, 0, 9}).ok());
  }
}

TEST_F(Messages, AMessageOfTwoRecordsIsSentWhollyOrNotAtAll) {
  while (a.stream.pending_size() + kMessageSizeMax + 4 + 2 * kRecordOverhead <= kOutputMax) {
    ASSERT_TRUE(send_message(a.stream, Bytes(kMessageSizeMax, 1)).ok());
  }
  ASSERT_GT(a.stream.output_room(), 0U);
  const std::size_t before = a.stream.pending_size();
  EXPECT_EQ(send_message(a.stream, Bytes(kMessageSizeMax, 1)).error().code, Code::kFull);
  EXPECT_EQ(a.stream.pending_size(), before);
  ASSERT_TRUE(a.stream.finish().ok());
  EXPECT_EQ(send_message(a.stream, Bytes(kMessageSizeMax, 1)).error().code, Code::kRefused);
}

TEST_F(Messages, AnyChunkingGivesTheSameMessages) {
  Bytes raw;
  std::vector<Bytes> sent;
  for (std::size_t size = 1; size < 40; size += 3) {
    sent.emplace_back(size, static_cast<std::uint8_t>(size));
    Bytes length(4);
    base::put_le32(length, static_cast<std::uint32_t>(size));
    raw.insert(raw.end(), length.begin(), length.end());
    raw.insert(raw.end(), sent.back().begin(), sent.back().end());
  }
  for (std::size_t piece = 1; piece <= raw.size(); ++piece) {
    MessageReader reader;
    std::vector<Bytes> got;
    for (std::size_t at = 0; at < raw.size(); at += piece) {
      ASSERT_TRUE(reader.feed(ByteView(raw).subspan(at, std::min(piece, raw.size() - at))).ok());
      while (auto message = reader.next()) got.push_back(std::move(*message));
    }
    EXPECT_EQ(got, sent);
    EXPECT_FALSE(reader.in_message());
  }
}

TEST_F(Messages, WaitingMessagesHoldTheReaderBack) {
  MessageReader reader;
  ASSERT_TRUE(reader.feed(Bytes{1, 0, 0, 0, 9, 2}).ok());
  EXPECT_EQ(reader.feed(Bytes{1}).error().code, Code::kFull);
  EXPECT_EQ(reader.next(), (Bytes{9}));
  EXPECT_TRUE(reader.in_message());
  EXPECT_TRUE(reader.feed(Bytes{0, 0, 0, 7, 7}).ok());
  EXPECT_EQ(reader.next(), (Bytes{7, 7}));
}

}  // namespace
}  // namespace transfer
