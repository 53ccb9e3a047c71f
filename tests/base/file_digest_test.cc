#include "base/file_digest.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace base {
namespace {

constexpr std::uint64_t kChunk = FileDigest::kChunk;

crypto::Hash256 whole(ByteView bytes) {
  FileDigest digest;
  digest.add(bytes);
  return digest.finish();
}

Bytes random_bytes(std::size_t size) {
  Rng rng(7);
  Bytes out(size);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(rng.below(256));
  return out;
}

TEST(FileDigest, IsTheChainOfItsChunksAndTheSize) {
  ASSERT_TRUE(crypto::init().ok());
  const Bytes bytes = random_bytes(kChunk + 5);
  const ByteView view(bytes);
  const crypto::Hash256 chain =
      crypto::hash256({crypto::Hash256{}, crypto::hash256({view.first(kChunk)})});
  Bytes size(8);
  put_le64(size, bytes.size());
  EXPECT_EQ(whole(bytes), crypto::hash256({chain, crypto::hash256({view.last(5)}), size}));
}

TEST(FileDigest, TakesAnyPieces) {
  ASSERT_TRUE(crypto::init().ok());
  const Bytes bytes = random_bytes(3 * kChunk + 17);
  const crypto::Hash256 expected = whole(bytes);
  Rng rng(3);
  for (int round = 0; round < 5; ++round) {
    FileDigest digest;
    ByteView rest(bytes);
    while (!rest.empty()) {
      const std::size_t piece = std::min<std::size_t>(1 + rng.below(900000), rest.size());
      digest.add(rest.first(piece));
      rest = rest.subspan(piece);
    }
    EXPECT_EQ(digest.finish(), expected);
  }
}

TEST(FileDigest, GoesOnAtTheEndOfAChunk) {
  ASSERT_TRUE(crypto::init().ok());
  const Bytes bytes = random_bytes(2 * kChunk + 1);
  FileDigest first;
  first.add(ByteView(bytes).first(kChunk));
  FileDigest second(first.chain(), first.size());
  second.add(ByteView(bytes).subspan(kChunk));
  EXPECT_EQ(second.finish(), whole(bytes));
}

TEST(FileDigest, HolesAreZeros) {
  ASSERT_TRUE(crypto::init().ok());
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> cases = {
      {0, 2 * kChunk}, {5, kChunk}, {kChunk, 3}, {kChunk - 1, 2 * kChunk + 2}};
  for (const auto& [before, zeros] : cases) {
    Bytes bytes(before, 9);
    FileDigest digest;
    digest.add(bytes);
    digest.add_zeros(zeros);
    bytes.resize(before + zeros);
    EXPECT_EQ(digest.finish(), whole(bytes));
  }
}

TEST(FileDigest, TellsSizesApart) {
  ASSERT_TRUE(crypto::init().ok());
  EXPECT_NE(whole(Bytes(1)), whole(Bytes(2)));
  EXPECT_NE(whole({}), whole(Bytes(1)));
}

}  // namespace
}  // namespace base
