// Checkpoints as records: design.md §4.2 (the seal), §7 (verified before use), criu-notes.md (up to
// seven images at once).
#include "transfer/image_stream.h"

#include <gtest/gtest.h>

#include "stream_pair.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;

constexpr std::uint64_t kPlenty = 1 << 26;

class Images : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::crypto::init().ok());
    settle(a, b);
    hello.job.bytes.fill(7);
    hello.triad.bytes.fill(8);
    hello.epoch = base::Epoch{42};
  }
  static EndOptions side(bool initiator) {
    EndOptions options;
    options.initiator = initiator;
    return options;
  }
  // Everything sent so far, as the receiver's records.
  std::vector<Bytes> records() {
    settle(a, b);
    return std::exchange(b.records, {});
  }
  std::vector<Bytes> small_checkpoint() {
    ImageSender sender(a.done->handshake_hash);
    EXPECT_TRUE(sender.hello(a.stream, hello).ok());
    const auto first = sender.begin(a.stream, "pages-1.img");
    const auto second = sender.begin(a.stream, "core-1.img");
    EXPECT_TRUE(sender.data(a.stream, *first, Bytes(100, 1)).ok());
    EXPECT_TRUE(sender.data(a.stream, *second, Bytes(10, 2)).ok());
    EXPECT_TRUE(sender.data(a.stream, *first, Bytes(50, 3)).ok());
    EXPECT_TRUE(sender.end(a.stream, *second).ok());
    EXPECT_TRUE(sender.output(a.stream, 1, 1000, Bytes(5, 'x')).ok());
    EXPECT_TRUE(sender.metadata(a.stream, Bytes(30, 4)).ok());
    EXPECT_TRUE(sender.end(a.stream, *first).ok());
    summary = sender.seal_summary();
    EXPECT_TRUE(sender.seal(a.stream).ok());
    return records();
  }
  static Buffer buffer(const Bytes& bytes) {
    Buffer out(bytes.size());
    std::copy(bytes.begin(), bytes.end(), out.mutable_view().begin());
    return out;
  }
  static base::Status feed_all(ImageReceiver& receiver, const std::vector<Bytes>& records) {
    for (const Bytes& record : records) {
      if (auto fed = receiver.feed(buffer(record)); !fed) return fed;
    }
    return {};
  }

  End a{side(true)};
  End b{side(false)};
  ImageHello hello;
  SealSummary summary;
};

TEST_F(Images, ArriveAsTheyWereSent) {
  const auto sent = small_checkpoint();
  ImageReceiver receiver(b.done->handshake_hash, kPlenty);
  ASSERT_TRUE(receiver.feed(buffer(sent[0])).ok());
  EXPECT_EQ(receiver.hello(), hello);  // known before anything else is taken
  for (std::size_t i = 1; i < sent.size(); ++i) {
    EXPECT_EQ(receiver.state(), ImageReceiver::State::kStreaming);
    ASSERT_TRUE(receiver.feed(buffer(sent[i])).ok());
  }
  ASSERT_EQ(receiver.state(), ImageReceiver::State::kSealed);
  EXPECT_EQ(receiver.seal(), summary);
  EXPECT_EQ(summary.images, 2U);
  EXPECT_EQ(summary.bytes, 160U);
  EXPECT_EQ(receiver.metadata(), Bytes(30, 4));
  const auto outputs = receiver.take_outputs();
  ASSERT_EQ(outputs.size(), 1U);
  EXPECT_EQ(outputs[0].offset, 1000U);
  EXPECT_EQ(to_owned(outputs[0].bytes), Bytes(5, 'x'));
  ImageSet set = receiver.take_images();
  ASSERT_EQ(set.size(), 2U);
  Bytes pages(100, 1);
  pages.resize(150, 3);
  EXPECT_EQ(*image_contents(set.at("pages-1.img"), 150), pages);
  EXPECT_EQ(image_contents(set.at("pages-1.img"), 149).error().code, Code::kTooLarge);
  set.at("pages-1.img").chunks.pop_front();  // served chunks can be freed one by one
  EXPECT_EQ(image_contents(set.at("pages-1.img"), 150)->size(), 50U);
}

TEST_F(Images, ReadingStraightIntoTheStreamIsTheSame) {
  ImageSender sender(a.done->handshake_hash);
  ASSERT_TRUE(sender.hello(a.stream, hello).ok());
  const auto image = sender.begin(a.stream, "pages-1.img");
  auto space = sender.prepare_data(a.stream, *image, kImageDataMax);
  ASSERT_TRUE(space.ok());
  EXPECT_EQ(space->size(), kImageDataMax);
  std::fill_n(space->begin(), 70, std::uint8_t{9});
  sender.commit_data(a.stream, 70);
  ASSERT_TRUE(sender.end(a.stream, *image).ok());
  (void)sender.seal_summary();
  ASSERT_TRUE(sender.seal(a.stream).ok());
  ImageReceiver receiver(b.done->handshake_hash, kPlenty);
  ASSERT_TRUE(feed_all(receiver, records()).ok());
  EXPECT_EQ(*image_contents(receiver.take_images().at("pages-1.img"), 70), Bytes(70, 9));
}

TEST_F(Images, EveryRecordLeftOutDoubledOrSwappedIsRefused) {
  const auto sent = small_checkpoint();
  for (std::size_t i = 0; i < sent.size(); ++i) {
    SCOPED_TRACE(i);
    auto left_out = sent;
    left_out.erase(left_out.begin() + static_cast<long>(i));
    auto doubled = sent;
    doubled.insert(doubled.begin() + static_cast<long>(i), sent[i]);
    auto swapped = sent;
    if (i + 1 < sent.size()) std::swap(swapped[i], swapped[i + 1]);
    for (const auto& records : {left_out, doubled, swapped}) {
      if (records == sent) continue;
      ImageReceiver receiver(b.done->handshake_hash, kPlenty);
      const bool refused = !feed_all(receiver, records).ok();
      EXPECT_TRUE(refused || receiver.state() != ImageReceiver::State::kSealed);
    }
  }
}

// Contents of image data and output are authenticated by the stream, all else by the seal too.
TEST_F(Images, EveryDamagedByteThatTheSealCoversIsRefused) {
  const auto sent = small_checkpoint();
  for (std::size_t record = 0; record < sent.size(); ++record) {
    std::size_t covered = sent[record].size();
    if (sent[record][0] == 3) covered = 3;
    if (sent[record][0] == 5) covered = 10;
    for (std::size_t at = 0; at < covered; ++at) {
      SCOPED_TRACE(testing::Message() << "record " << record << " byte " << at);
      auto damaged = sent;
      damaged[record][at] ^= 0x01;
      ImageReceiver receiver(b.done->handshake_hash, kPlenty);
      EXPECT_FALSE(feed_all(receiver, damaged).ok());
      EXPECT_EQ(receiver.state(), ImageReceiver::State::kFailed);
      EXPECT_FALSE(receiver.feed(buffer(sent[0])).ok());
    }
  }
}

TEST_F(Images, EveryTruncatedRecordIsRefused) {
  const auto sent = small_checkpoint();
  for (std::size_t record = 0; record < sent.size(); ++record) {
    for (std::size_t size = 0; size < sent[record].size(); ++size) {
      SCOPED_TRACE(testing::Message() << "record " << record << " cut to " << size);
      auto cut = sent;
      cut[record].resize(size);
      ImageReceiver receiver(b.done->handshake_hash, kPlenty);
      EXPECT_FALSE(feed_all(receiver, cut).ok());
    }
  }
}

TEST_F(Images, ASealOfAnotherConnectionIsRefused) {
  const auto sent = small_checkpoint();
  Hash512 other = b.done->handshake_hash;
  other[0] ^= 1;
  ImageReceiver receiver(other, kPlenty);
  EXPECT_EQ(feed_all(receiver, sent).error().code, Code::kUnauthentic);
}

TEST_F(Images, WhatIsHeldIsBounded) {
  const auto sent = small_checkpoint();
  std::uint64_t smallest = 0;
  for (std::uint64_t limit = 0; limit < 2000 && smallest == 0; ++limit) {
    ImageReceiver receiver(b.done->handshake_hash, limit);
    const auto fed = feed_all(receiver, sent);
    if (fed.ok()) {
      smallest = limit;
    } else {
      EXPECT_EQ(fed.error().code, Code::kTooLarge);
    }
    EXPECT_EQ(receiver.full(), !fed.ok());
  }
  EXPECT_GT(smallest, 160U + 30U + 5U + 7 * kImageRecordCost - 1);
  EXPECT_LT(smallest, 160U + 30U + 5U + 7 * kImageRecordCost + 100);
}

TEST_F(Images, NamesAreRestricted) {
  const std::string longest(kImageNameMax, 'a');
  for (const std::string& name : {std::string("pages-1.img"), longest, std::string("a_b.0")}) {
    EXPECT_TRUE(image_name_valid(name)) << name;
  }
  for (const std::string& name :
       {std::string(), longest + "a", std::string("a/b"), std::string(".."), std::string(".x"),
        std::string("A"), std::string("a b"), std::string("a\0", 2), std::string("\xc3\xa4")}) {
    EXPECT_FALSE(image_name_valid(name)) << name;
    ImageSender sender(a.done->handshake_hash);
    ASSERT_TRUE(sender.hello(a.stream, hello).ok());
    EXPECT_EQ(sender.begin(a.stream, name).error().code, Code::kInvalid);
    ImageReceiver receiver(b.done->handshake_hash, kPlenty);
    ASSERT_TRUE(feed_all(receiver, records()).ok());
    Bytes start{2, 0, 0};
    start.insert(start.end(), name.begin(), name.end());
    EXPECT_EQ(receiver.feed(buffer(start)).error().code, Code::kInvalid);
  }
}

TEST_F(Images, CountsAreBounded) {
  ImageSender sender(a.done->handshake_hash);
  ASSERT_TRUE(sender.hello(a.stream, hello).ok());
  ImageReceiver receiver(b.done->handshake_hash, kPlenty);
  for (std::size_t i = 0; i < kImagesMax; ++i) {
    ASSERT_TRUE(sender.begin(a.stream, "i" + std::to_string(i)).ok());
    if (i % 256 != 0) continue;
    ASSERT_TRUE(feed_all(receiver, records()).ok());
  }
  EXPECT_EQ(sender.begin(a.stream, "i0").error().code, Code::kInvalid);
  EXPECT_EQ(sender.begin(a.stream, "more").error().code, Code::kTooLarge);
  ASSERT_TRUE(feed_all(receiver, records()).ok());
  Bytes start{2, kImagesMax & 0xff, kImagesMax >> 8, 'x'};
  EXPECT_EQ(receiver.feed(buffer(start)).error().code, Code::kTooLarge);
}

TEST_F(Images, AFullStreamLosesNothing) {
  ImageSender sender(a.done->handshake_hash);
  ImageReceiver receiver(b.done->handshake_hash, kPlenty);
  ASSERT_TRUE(sender.hello(a.stream, hello).ok());
  const auto image = sender.begin(a.stream, "pages-1.img");
  Bytes expected;
  base::Rng rng(3);
  std::size_t full = 0;
  while (expected.size() < 4 * kOutputMax) {
    Bytes piece(1 + rng.below(kImageDataMax));
    rng.fill(piece);
    base::Status sent = sender.data(a.stream, *image, piece);
    if (!sent) {
      ASSERT_EQ(sent.error().code, Code::kFull);
      ++full;
      ASSERT_TRUE(feed_all(receiver, records()).ok());
      ASSERT_TRUE(sender.data(a.stream, *image, piece).ok());
    }
    expected.insert(expected.end(), piece.begin(), piece.end());
  }
  EXPECT_GT(full, 2U);
  ASSERT_TRUE(feed_all(receiver, records()).ok());
  ASSERT_TRUE(sender.end(a.stream, *image).ok());
  (void)sender.seal_summary();
  ASSERT_TRUE(sender.seal(a.stream).ok());
  ASSERT_TRUE(feed_all(receiver, records()).ok());
  EXPECT_EQ(*image_contents(receiver.take_images().at("pages-1.img"), expected.size()), expected);
}

}  // namespace
}  // namespace transfer
