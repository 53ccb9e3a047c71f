#include "base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace base {
namespace {

// Published: splitmix64 from seed 0 (Vigna's splitmix64.c) begins with these four, which are the
// state; xoshiro256** (xoshiro256starstar.c) then draws rotl(s[1] * 5, 7) * 9 first.
TEST(Rng, FollowsThePublishedAlgorithms) {
  constexpr std::uint64_t kState[] = {0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f,
                                      0xf88bb8a8724c81ec};
  const std::uint64_t product = kState[1] * 5;
  const std::uint64_t first = ((product << 7) | (product >> 57)) * 9;
  Rng rng(0);
  EXPECT_EQ(rng.next(), first);
  EXPECT_EQ(first, 0x99ec5f36cb75f2b4U);
}

TEST(Rng, SameSeedSameDrawsAndOtherSeedOtherDraws) {
  Rng a(7);
  Rng b(7);
  Rng c(8);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t draw = a.next();
    ASSERT_EQ(draw, b.next());
    differs = differs || draw != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, BelowIsUniformAndWithinItsBound) {
  Rng rng(1);
  std::array<int, 7> counts{};
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<std::size_t>(rng.below(7)));
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  EXPECT_LT(chi_square, 22.5) << "6 degrees of freedom, p = 0.001";
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.below(1), 0U);
  for (int i = 0; i < 1000; ++i)
    EXPECT_LT(rng.below((std::uint64_t{1} << 63) + 1), (std::uint64_t{1} << 63) + 1);
}

TEST(RngDeathTest, AnEmptyRangeIsOurBug) {
  Rng rng(1);
  EXPECT_DEATH((void)rng.below(0), "bound > 0");
  EXPECT_DEATH((void)rng.between(2s, 1s), "low <= high");
}

TEST(Rng, BetweenIncludesBothEnds) {
  Rng rng(2);
  bool low = false;
  bool high = false;
  for (int i = 0; i < 1000; ++i) {
    const Duration draw = rng.between(-1us, 2us);
    ASSERT_GE(draw, -1us);
    ASSERT_LE(draw, 2us);
    low = low || draw == -1us;
    high = high || draw == 2us;
  }
  EXPECT_TRUE(low);
  EXPECT_TRUE(high);
  EXPECT_EQ(rng.between(5s, 5s), 5s);
}

TEST(Rng, FillWritesLittleEndianDraws) {
  Rng words(3);
  Rng bytes(3);
  Bytes out(11);
  bytes.fill(out);
  const std::uint64_t first = words.next();
  const std::uint64_t second = words.next();
  EXPECT_EQ(get_le64(out), first);
  EXPECT_EQ(out[8], static_cast<std::uint8_t>(second));
  EXPECT_EQ(out[10], static_cast<std::uint8_t>(second >> 16));
}

TEST(Rng, ShuffleKeepsItemsAndReachesEveryOrder) {
  Rng rng(4);
  std::array<int, 6> orders{};
  for (int i = 0; i < 600; ++i) {
    std::vector<int> items = {0, 1, 2};
    rng.shuffle(items);
    ++orders.at(static_cast<std::size_t>(items[0] * 2 + (items[1] > items[2] ? 1 : 0)));
    std::sort(items.begin(), items.end());
    ASSERT_EQ(items, (std::vector<int>{0, 1, 2}));
  }
  for (const int count : orders) EXPECT_GT(count, 50);
  std::vector<int> none;
  rng.shuffle(none);
}

}  // namespace
}  // namespace base
