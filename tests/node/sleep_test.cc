// How long a machine's sleep is put off (node/sleep.h).
#include "node/sleep.h"

#include <gtest/gtest.h>

namespace node {
namespace {

using namespace std::chrono_literals;

constexpr base::Time kNow{1h};

TEST(SleepDelay, IsHeldWhileSomebodyWouldLeave) {
  SleepDelay sleep;
  EXPECT_FALSE(sleep.tend(kNow, 0));
  EXPECT_FALSE(sleep.holds());
  EXPECT_TRUE(sleep.tend(kNow, 2));
  EXPECT_TRUE(sleep.holds());
  EXPECT_FALSE(sleep.tend(kNow, 1)) << "no news";
  EXPECT_TRUE(sleep.tend(kNow, 0));
  EXPECT_FALSE(sleep.holds());
  EXPECT_EQ(sleep.next_deadline(), base::kNever);
}

TEST(SleepDelay, EndsWhenNobodyIsLeftAndIsHeldAgainAfterwards) {
  SleepDelay sleep;
  EXPECT_TRUE(sleep.tend(kNow, 1));
  EXPECT_EQ(sleep.comes(kNow, 10s), 9s) << "the end is in order, before the machine ends it";
  EXPECT_EQ(sleep.phase(), Sleep::kLeaving);
  EXPECT_FALSE(sleep.tend(kNow + 1s, 1));
  EXPECT_TRUE(sleep.tend(kNow + 2s, 0));
  EXPECT_EQ(sleep.phase(), Sleep::kAsleep);
  EXPECT_FALSE(sleep.tend(kNow + 3s, 1)) << "whoever comes now";
  EXPECT_FALSE(sleep.holds());
  sleep.wakes();
  EXPECT_TRUE(sleep.tend(kNow + 8h, 1));
  EXPECT_TRUE(sleep.holds());
}

TEST(SleepDelay, OfAShutdownIsTheSameAndOneMayFollowOnSleep) {
  SleepDelay sleep;
  EXPECT_TRUE(sleep.tend(kNow, 1));
  EXPECT_EQ(sleep.comes(kNow, 10s), 9s);
  EXPECT_STREQ(sleep.verb(), "sleep");
  EXPECT_EQ(sleep.comes(kNow + 1s, 10s, /*shutdown=*/true), 8s) << "no more time than before";
  EXPECT_STREQ(sleep.verb(), "shut down");
  EXPECT_TRUE(sleep.tend(kNow + 2s, 0));
  EXPECT_EQ(sleep.phase(), Sleep::kAsleep);
}

TEST(SleepDelay, EndsWithItsTimeWhichIsBounded) {
  struct Row {
    base::Duration patience;
    base::Duration time;
  };
  for (const Row& row : {Row{5s, 4500ms}, {1h, kSleepPatienceMax}, {0s, 0s}, {-1s, 0s}}) {
    SCOPED_TRACE(row.patience.count());
    SleepDelay sleep;
    EXPECT_TRUE(sleep.tend(kNow, 1));
    EXPECT_EQ(sleep.comes(kNow, row.patience), row.time);
    EXPECT_EQ(sleep.next_deadline(), kNow + row.time);
    EXPECT_EQ(sleep.comes(kNow, 1h), row.time) << "said twice";
    EXPECT_EQ(sleep.tend(kNow + row.time - 1us, 1), row.time < 0s);
    EXPECT_TRUE(sleep.tend(kNow + row.time, 1));
    EXPECT_FALSE(sleep.holds());
    EXPECT_EQ(sleep.phase(), Sleep::kAsleep);
    EXPECT_EQ(sleep.next_deadline(), base::kNever);
  }
}

}  // namespace
}  // namespace node
