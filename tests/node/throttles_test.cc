// design.md §2: a throttled job counts as before, and is throttled to half of what it used.
#include "node/throttles.h"

#include <gtest/gtest.h>

#include "base/wire.h"
#include "node/event.h"

namespace node {
namespace {

using std::chrono::seconds;

constexpr base::Duration kWindow = seconds(60);
const base::JobId kJob{{7}};
const base::Epoch kStay{1};

// A job that would use one CPU all of the time, sampled every 5 s.
struct Spinner {
  explicit Spinner(Throttles::Records records = {}) : throttles(records, kWindow) {}
  void run(base::Duration time, std::int64_t cpu_of_a_million) {
    for (base::Duration passed{}; passed < time; passed += seconds(5)) {
      now += seconds(5);
      age += seconds(5);
      sample.cpu_time_micros += static_cast<std::uint64_t>(5 * cpu_of_a_million);
      sample.cpu_micros =
          static_cast<std::int64_t>(sample.cpu_time_micros) * 1000 / (age.count() / 1000);
      sample.scum_micros = std::min<std::int64_t>(sample.cpu_micros, 1'000'000) * 6 / 10;
      (void)throttles.sampled(now, {sample}, {{kJob, kStay}});
    }
  }
  Throttles throttles;
  base::Time now{std::chrono::hours(1)};
  base::Duration age{};
  JobSample sample = [] {
    JobSample one;
    one.job = kJob;
    one.load_micros = 1'000'000;
    return one;
  }();
};

TEST(Throttles, ARuleTakesHalfOfWhatTheJobUsed) {
  Spinner job;
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "nothing is known of it";
  job.run(seconds(60), 800'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 400'000, 1000);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "it is";
}

TEST(Throttles, WhatHardlyRunsIsNotStarved) {
  Spinner job;
  job.run(seconds(60), 1000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, kThrottleLeast);
}

TEST(Throttles, TheScoreStaysWhatItWas) {
  Spinner job;
  job.run(seconds(100), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.run(seconds(1000), 500'000);
  EXPECT_LT(job.sample.scum_micros, 330'000) << "as ps counts it, it is no hog any more";
  EXPECT_NEAR(static_cast<double>(job.throttles.counted(job.now, job.sample).scum_micros), 600'000,
              12'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, false));
  EXPECT_NEAR(static_cast<double>(job.throttles.counted(job.now, job.sample).scum_micros), 600'000,
              12'000)
      << "a lift changes no score";
}

TEST(Throttles, WhoWantsNoCpuAnyMoreLosesHisScore) {
  Spinner job;
  job.run(seconds(100), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.sample.load_micros = 0;
  job.run(seconds(1000), 0);
  EXPECT_LT(job.throttles.counted(job.now, job.sample).scum_micros, 100'000);
}

TEST(Throttles, ARestartKeepsTheScore) {
  Spinner job;
  job.run(seconds(100), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  const base::Bytes stored = encode(*job.throttles.find(kJob));
  job.run(seconds(1000), 500'000);
  job.throttles = Throttles({{throttle_key(kJob), stored}}, kWindow);
  job.run(seconds(10), 500'000);
  EXPECT_NEAR(static_cast<double>(job.throttles.counted(job.now, job.sample).scum_micros), 600'000,
              12'000);
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 500'000, 1000);
}

TEST(Throttles, AJobThatSleptHalfOfTheTimeCountsNoMoreThanBefore) {
  Spinner job;
  job.sample.load_micros = 600'000;
  job.run(seconds(300), 600'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.sample.load_micros = 1'000'000;  // it waits for its CPU
  EXPECT_EQ(job.throttles.counted(job.now, job.sample).load_micros, 600'000);
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), -400'000);
  job.sample.hidden_load_micros = 700'000;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 300'000) << "0.3 shows of it";
  job.sample.load_micros = 100'000;  // it does less by itself
  job.sample.hidden_load_micros = 0;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 0);
}

TEST(Throttles, WhatAYoungJobWillAddIsNoneOfWhatItsNodeCarries) {
  Spinner job;
  job.run(seconds(15), 1'000'000);
  job.sample.load_micros = 1'000'000;
  job.sample.young_load_micros = 800'000;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 0);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.sample.hidden_load_micros = 100'000;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 100'000);
}

TEST(Throttles, WhatAQuotaHidesCountsForAYoungJobToo) {
  Spinner job;
  job.run(seconds(15), 1'000'000);
  job.sample.load_micros = 200'000;
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.sample.load_micros = 3'000'000;
  job.sample.hidden_load_micros = 1'500'000;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 1'500'000);
}

TEST(Throttles, WhileItStoodStillForAMoveItUsedNothingAndWasNoLess) {
  Spinner job;
  job.run(seconds(400), 1'000'000);
  job.sample.load_micros = 400'000;  // it was frozen for a minute, and its average fell
  job.run(seconds(60), 0);
  job.throttles.thawed(job.now, kJob);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "nothing is known of it";
  job.run(seconds(10), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 500'000, 1000);
  job.sample.load_micros = 900'000;
  EXPECT_EQ(job.throttles.load_correction(job.now, job.sample), 0)
      << "its average was young, and showed less than the job is";
}

TEST(Throttles, APersonsWordHoldsUntilItIsTakenBack) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  job.throttles.by_person(job.now, kJob, kStay, 250'000);
  EXPECT_TRUE(job.throttles.find(kJob)->is_persons);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, false));
  job.throttles.by_person(job.now, kJob, kStay, 0);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "off is a word too";
  job.throttles.by_person(job.now, kJob, kStay, std::nullopt);
  EXPECT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
}

TEST(Throttles, BackToTheRulesAPersonsLimitBecomesTheRules) {
  for (const bool rule_first : {false, true}) {
    SCOPED_TRACE(rule_first);
    Spinner job;
    job.run(seconds(60), 1'000'000);
    if (rule_first) {
      ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
    }
    job.throttles.by_person(job.now, kJob, kStay, 100'000);
    job.run(seconds(300), 100'000);
    job.throttles.by_person(job.now, kJob, kStay, 200'000);
    job.run(seconds(300), 200'000);
    Spinner restarted({{throttle_key(kJob), encode(*job.throttles.find(kJob))}});
    for (Throttles* throttles : {&job.throttles, &restarted.throttles}) {
      throttles->by_person(job.now, kJob, kStay, std::nullopt);
      EXPECT_NEAR(static_cast<double>(throttles->find(kJob)->limit_micros), 500'000, 1000)
          << "half of what it used, not of what the person let it have";
      EXPECT_FALSE(throttles->find(kJob)->is_persons);
      EXPECT_EQ(throttles->find(kJob)->changed, job.now);
      EXPECT_FALSE(throttles->by_rule(job.now, kJob, kStay, true)) << "it is";
      EXPECT_TRUE(throttles->by_rule(job.now, kJob, kStay, false));
    }
  }
}

TEST(Throttles, BackToTheRulesWithNothingKnownAPersonsLimitIsLifted) {
  Spinner job;
  job.throttles.by_person(job.now, kJob, kStay, 100'000);
  job.run(seconds(300), 100'000);
  job.throttles.by_person(job.now, kJob, kStay, std::nullopt);
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, 0);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "not by the person's figure";
  job.run(seconds(10), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 500'000, 1000);
}

TEST(Throttles, TheOwnersPolicyHoldsAgainstTheRulesAndIsLifted) {
  Spinner job;
  EXPECT_FALSE(job.throttles.by_owner(job.now, kJob, kStay, true)) << "nothing is known of it";
  job.run(seconds(60), 800'000);
  EXPECT_FALSE(job.throttles.by_owner(job.now, kJob, kStay, false));
  ASSERT_TRUE(job.throttles.by_owner(job.now, kJob, kStay, true));
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 400'000, 1000);
  EXPECT_FALSE(job.throttles.by_owner(job.now, kJob, kStay, true)) << "it is";
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, false));
  Spinner restarted({{throttle_key(kJob), encode(*job.throttles.find(kJob))}});
  EXPECT_EQ(*restarted.throttles.find(kJob), *job.throttles.find(kJob));
  ASSERT_TRUE(restarted.throttles.by_owner(job.now, kJob, kStay, false));
  EXPECT_EQ(restarted.throttles.find(kJob)->limit_micros, 0);
  EXPECT_TRUE(job.throttles.by_owner(job.now, kJob, kStay, false));
  EXPECT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true)) << "the rules decide again";
}

TEST(Throttles, TheOwnersPolicyTakesOverWhatARuleSetAndLeavesAPersonsWordAlone) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  const std::int64_t limit = job.throttles.find(kJob)->limit_micros;
  ASSERT_TRUE(job.throttles.by_owner(job.now, kJob, kStay, true));
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, limit) << "not half of that half";
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, false));
  job.throttles.by_person(job.now, kJob, kStay, 0);
  EXPECT_FALSE(job.throttles.by_owner(job.now, kJob, kStay, true));
  EXPECT_FALSE(job.throttles.by_owner(job.now, kJob, kStay, false));
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, 0);
}

TEST(Throttles, AJobThatWasPausedIsThrottledToHalfOfWhatItUsedBefore) {
  Spinner job;
  job.run(seconds(60), 800'000);
  for (int i = 0; i < 100; ++i) {
    job.now += seconds(5);
    job.throttles.stood(job.now, kJob);
    (void)job.throttles.sampled(job.now, {job.sample}, {{kJob, kStay}});
  }
  job.run(seconds(10), 800'000);
  ASSERT_TRUE(job.throttles.by_owner(job.now, kJob, kStay, true));
  EXPECT_NEAR(static_cast<double>(job.throttles.find(kJob)->limit_micros), 400'000, 1000);
}

TEST(Throttles, ThePaceCountsFromWhenTheHostHasDoneIt) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.throttles.in_force(job.now + seconds(20), kJob);
  EXPECT_EQ(job.throttles.find(kJob)->changed, job.now + seconds(20));
}

TEST(Throttles, AnotherStayOfTheJobKnowsNothingOfThis) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  const auto dropped = job.throttles.sampled(job.now, {job.sample}, {{kJob, base::Epoch{3}}});
  EXPECT_EQ(dropped, std::vector<std::string>{throttle_key(kJob)});
  EXPECT_EQ(job.throttles.find(kJob), nullptr);
}

TEST(Throttles, AnotherEpochOfTheSameStayChangesNothing) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  const std::int64_t limit = job.throttles.find(kJob)->limit_micros;
  ASSERT_TRUE(job.throttles.stays_on(kJob, base::Epoch{9}));
  EXPECT_FALSE(job.throttles.stays_on(kJob, base::Epoch{9})) << "it is stored already";
  EXPECT_TRUE(job.throttles.sampled(job.now, {job.sample}, {{kJob, base::Epoch{9}}}).empty());
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, limit);
  EXPECT_TRUE(job.throttles.used(kJob));
}

TEST(Throttles, AfterAFailureTheRulesLeaveItForAWhile) {
  Spinner job;
  job.run(seconds(60), 1'000'000);
  ASSERT_TRUE(job.throttles.by_rule(job.now, kJob, kStay, true));
  job.throttles.failed(job.now, kJob);
  EXPECT_EQ(job.throttles.find(kJob)->limit_micros, 0);
  EXPECT_FALSE(job.throttles.by_rule(job.now, kJob, kStay, true));
  EXPECT_TRUE(job.throttles.by_rule(job.now + kThrottleRetry, kJob, kStay, true));
}

TEST(ThrottleRecord, RoundTripsAndRefusesDamage) {
  Throttle throttle;
  throttle.epoch = base::Epoch{4};
  throttle.is_persons = true;
  throttle.limit_micros = 500'000;
  throttle.changed = base::Time(seconds(77));
  throttle.used_micros = 1'000'000;
  throttle.load_micros = 900'000;
  throttle.taken_micros = 12;
  const base::Bytes bytes = encode(throttle);
  ASSERT_TRUE(decode_throttle(bytes).ok());
  EXPECT_EQ(*decode_throttle(bytes), throttle);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_throttle(base::ByteView(bytes).first(size)).ok());
  }
  for (const std::int64_t wrong : {std::int64_t{-1}, INT64_MAX, INT64_MIN}) {
    for (std::int64_t Throttle::*field : {&Throttle::limit_micros, &Throttle::used_micros,
                                          &Throttle::load_micros, &Throttle::taken_micros}) {
      Throttle damaged = throttle;
      damaged.*field = wrong;
      EXPECT_FALSE(decode_throttle(encode(damaged)).ok());
    }
  }
}

}  // namespace
}  // namespace node
