// Which guests stand still while the owner needs her machine (node/pauses.h).
#include "node/pauses.h"

#include <gtest/gtest.h>

#include "node/event.h"

namespace node {
namespace {

using namespace std::chrono_literals;

const base::JobId kJob{{7}};
const base::Epoch kStay{3};

struct Rig {
  std::vector<Pauses::Order> tend(bool pause) {
    return pauses.tend(now, pause, guests, {sample}, next);
  }
  // The host does what is said, if anything is.
  void settle(bool pause) {
    for (const Pauses::Order& order : tend(pause)) (void)pauses.answered(now, order.token, true);
  }
  Pauses pauses;
  base::Time now{std::chrono::hours(1)};
  std::map<base::JobId, base::Epoch> guests = {{kJob, kStay}};
  JobSample sample = [] {
    JobSample one;
    one.job = kJob;
    one.load_micros = 1'000'000;
    return one;
  }();
  std::uint64_t next = 1;
};

TEST(Pauses, AGuestIsToldOnceAndAgainWhenThatChanges) {
  Rig rig;
  const auto first = rig.tend(false);
  ASSERT_EQ(first.size(), 1U) << "an earlier life of the daemon may have paused it";
  EXPECT_FALSE(first[0].on);
  EXPECT_TRUE(rig.tend(true).empty()) << "one order after another";
  EXPECT_EQ(rig.pauses.answered(rig.now, first[0].token, true), std::nullopt) << "no news";
  EXPECT_TRUE(rig.tend(false).empty());
  const auto second = rig.tend(true);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_TRUE(second[0].on);
  EXPECT_FALSE(rig.pauses.is_paused(kJob)) << "the host has not done it yet";
  EXPECT_TRUE(rig.pauses.answered(rig.now, second[0].token, true));
  EXPECT_TRUE(rig.pauses.is_paused(kJob));
  EXPECT_EQ(rig.pauses.count(), 1U);
  rig.settle(false);
  EXPECT_FALSE(rig.pauses.is_paused(kJob));
}

TEST(Pauses, WhatFailedIsTriedAgainLater) {
  Rig rig;
  const auto order = rig.tend(true);
  ASSERT_EQ(order.size(), 1U);
  EXPECT_TRUE(rig.pauses.answered(rig.now, order[0].token, false));
  EXPECT_FALSE(rig.pauses.is_paused(kJob));
  EXPECT_TRUE(rig.tend(true).empty());
  rig.now += kPauseRetry;
  EXPECT_EQ(rig.tend(true).size(), 1U);
}

TEST(Pauses, AnotherStayBeginsAnew) {
  Rig rig;
  rig.settle(true);
  ASSERT_TRUE(rig.pauses.is_paused(kJob));
  rig.guests.clear();
  EXPECT_TRUE(rig.tend(true).empty());
  EXPECT_FALSE(rig.pauses.is_paused(kJob));
  rig.guests[kJob] = base::Epoch{4};
  EXPECT_EQ(rig.tend(true).size(), 1U);
}

TEST(Pauses, AnAnswerOfAnEarlierStayIsNone) {
  Rig rig;
  const auto late = rig.tend(true);
  ASSERT_EQ(late.size(), 1U);
  rig.guests[kJob] = base::Epoch{4};
  const auto order = rig.tend(false);
  ASSERT_EQ(order.size(), 1U);
  EXPECT_EQ(rig.pauses.answered(rig.now, late[0].token, true), std::nullopt);
  EXPECT_FALSE(rig.pauses.is_paused(kJob));
}

TEST(Pauses, WhomNoSampleShowsIsNotSpokenOf) {
  Rig rig;
  rig.sample.job = base::JobId{{8}};  // no guest
  EXPECT_TRUE(rig.tend(true).empty());
}

TEST(Pauses, APausedJobCountsAsWhatItWas) {
  Rig rig;
  rig.settle(false);
  rig.settle(true);
  rig.sample.load_micros = 10'000;  // its average falls while it stands still
  rig.settle(true);
  rig.pauses.count_as_before(rig.sample);
  EXPECT_EQ(rig.sample.load_micros, 1'000'000);
  rig.sample.load_micros = 10'000;
  rig.settle(false);
  rig.pauses.count_as_before(rig.sample);
  EXPECT_EQ(rig.sample.load_micros, 10'000);
}

}  // namespace
}  // namespace node
