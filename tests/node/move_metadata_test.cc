// What travels with a checkpoint: taken whole and consistent, or refused.
#include "node/move_metadata.h"

#include <gtest/gtest.h>

#include "base/wire.h"
#include "node/limits.h"

namespace node {
namespace {

MoveMetadata example() {
  MoveMetadata metadata;
  metadata.spec.id.bytes.fill(3);
  metadata.spec.name = "counter";
  metadata.spec.argv = {"count", "-n"};
  metadata.spec.home.bytes.fill(11);
  metadata.acknowledged = {100, 0};
  metadata.ends = {100, 70'000};
  metadata.stopped = {1, 2, INT32_MAX};
  return metadata;
}

TEST(MoveMetadata, ComesBackTheSame) {
  auto back = decode_move_metadata(encode(example()));
  ASSERT_TRUE(back.ok()) << back.error().detail;
  EXPECT_EQ(*back, example());
}

TEST(MoveMetadata, CutOrLengthenedIsRefused) {
  base::Bytes whole = encode(example());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_move_metadata(base::ByteView(whole).first(size)).ok()) << size;
  }
  whole.push_back(0);
  EXPECT_FALSE(decode_move_metadata(whole).ok());
}

TEST(MoveMetadata, DamageInAnyByteIsTakenConsistentOrRefused) {
  const base::Bytes whole = encode(example());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      base::Bytes bytes = whole;
      bytes[at] = static_cast<std::uint8_t>(value);
      auto metadata = decode_move_metadata(bytes);
      if (!metadata) continue;
      for (std::size_t s = 0; s < metadata->ends.size(); ++s) {
        EXPECT_LE(metadata->acknowledged[s], metadata->ends[s]);
      }
      for (const std::int32_t pid : metadata->stopped) EXPECT_GE(pid, 1);
      EXPECT_LE(metadata->stopped.size(), kStoppedMax);
    }
  }
}

TEST(MoveMetadata, OutputDoesNotEndBeforeItWasRead) {
  for (const std::size_t s : {0U, 1U}) {
    MoveMetadata metadata = example();
    metadata.acknowledged[s] = metadata.ends[s] + 1;
    EXPECT_FALSE(decode_move_metadata(encode(metadata)).ok()) << s;
  }
}

TEST(MoveMetadata, ProcessesHaveIdsAndAreCounted) {
  MoveMetadata metadata = example();
  for (const std::int32_t pid : {0, -1, INT32_MIN}) {
    metadata.stopped = {pid};
    EXPECT_FALSE(decode_move_metadata(encode(metadata)).ok()) << pid;
  }
  metadata.stopped.assign(kStoppedMax, 5);
  EXPECT_TRUE(decode_move_metadata(encode(metadata)).ok());
  metadata.stopped.push_back(5);
  EXPECT_FALSE(decode_move_metadata(encode(metadata)).ok());
}

TEST(MoveMetadata, AnUnknownVersionIsRefused) {
  base::Bytes bytes = encode(example());
  ASSERT_EQ(bytes[1], 2);
  bytes[1] = 3;
  EXPECT_FALSE(decode_move_metadata(bytes).ok());
}

}  // namespace
}  // namespace node
