// Averages and fading adjustments against the kernel's own arithmetic and against doubles.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "probe/decay.h"
#include "probe/held_back.h"
#include "probe/load_average.h"
#include "probe/moved_load.h"
#include "probe/sample.h"

namespace probe {
namespace {

using base::Duration;
using base::Time;
using namespace std::chrono_literals;

constexpr std::int64_t kTask = 1'000'000;
constexpr Time kStart{1h};

double seconds(Duration d) { return static_cast<double>(d.count()) / 1e6; }

TEST(MeasuredLoad, IsAConstantLoadFromAQuarterOfAWindowOn) {
  base::Rng rng(2);
  for (int i = 0; i < 200; ++i) {
    const Duration window = rng.between(kLoadWindowMin, kLoadWindowMax);
    const auto tasks = static_cast<std::uint32_t>(rng.between(0us, 5000us).count());
    LoadAverage average(kStart, window);
    EXPECT_EQ(average.measured_micros(), 0) << "nothing is measured";
    for (Time at = kStart; at < kStart + window * 3;) {
      at += rng.between(kSampleSpacingMin, window / 3);
      average.sample(at, tasks);
      if (at - kStart < window / 4) {
        ASSERT_LE(average.measured_micros(), tasks * kTask + 2 + tasks);
        ASSERT_GE(average.measured_micros(), average.micros());
        continue;
      }
      ASSERT_NEAR(static_cast<double>(average.measured_micros()), tasks * 1e6, 2.0 + tasks)
          << "after " << (at - kStart).count() << "us of " << window.count();
    }
  }
}

TEST(MeasuredLoad, IsTheMeanByTheWeightsOfTheAverage) {
  LoadAverage average(kStart, 60s);
  average.sample(kStart + 20s, 4);
  average.sample(kStart + 30s, 0);
  const double first = (1 - std::exp(-20.0 / 60)) * std::exp(-10.0 / 60);
  const double both = 1 - std::exp(-30.0 / 60);
  EXPECT_NEAR(static_cast<double>(average.measured_micros()), 4e6 * first / both, 2.0);
  EXPECT_NEAR(static_cast<double>(average.micros()), 4e6 * first, 2.0);
  for (int i = 0; i < 200; ++i) average.sample(kStart + 35s + i * 5s, 3);
  EXPECT_EQ(average.measured_micros(), average.micros()) << "as soon as it is old";
}

TEST(MeasuredLoad, OfOneSampleIsAThirdOfWhatItSaw) {
  LoadAverage average(kStart, 60s);
  average.sample(kStart + 5s, 1);
  EXPECT_NEAR(static_cast<double>(average.measured_micros()), 361'433, 100);
  average.sample(kStart + 10s, 0);
  average.sample(kStart + 15s, 0);
  EXPECT_LT(average.measured_micros(), 310'000);
}

TEST(MeasuredLoad, TakesAStartValueForMeasured) {
  LoadAverage average(kStart, 60s, 2 * kTask);
  EXPECT_EQ(average.measured_micros(), 2 * kTask);
  average.sample(kStart + 20s, 0);
  EXPECT_EQ(average.measured_micros(), average.micros());
}

TEST(MeasuredLoad, HasTheLimitsOfALoad) {
  LoadAverage average(kStart, kLoadWindowMax);
  for (int i = 1; i < 100; ++i) {
    average.sample(kStart + i * 1min, UINT32_MAX);
    ASSERT_LE(average.measured_micros(), kLoadMicrosMax);
  }
  EXPECT_NEAR(static_cast<double>(average.measured_micros()), kLoadMicrosMax, kTask);
}

// A job that runs for `age` and leaves: the machine's average is as if it had never been there.
TEST(NotShown, IsWhatAJobsMachineHasNotCountedYet) {
  LoadAverage machine(kStart, 60s);
  LoadAverage job(kStart, 60s);
  for (int i = 1; i <= 30; ++i) {  // from 15 s on
    const Duration age = 10s + i * 5s;
    machine.sample(kStart + age, 2);
    job.sample(kStart + age, 2);
    const std::int64_t shown =
        job.measured_micros() - not_shown_micros(job.measured_micros(), age, 60s);
    ASSERT_NEAR(static_cast<double>(shown), static_cast<double>(machine.micros()), 20.0);
  }
  EXPECT_EQ(not_shown_micros(kTask, 0us, 60s), kTask);
  EXPECT_EQ(not_shown_micros(kTask, -5s, 60s), kTask);
  EXPECT_EQ(not_shown_micros(-5, 0us, 60s), 0);
  EXPECT_EQ(not_shown_micros(kTask, 24h, 60s), 0);
}

TEST(HeldBack, IsTheShareOfItsTimeThatAJobDidNotGet) {
  EXPECT_EQ(held_back_millis({1, 500'000, 500'000, 4000}), 500U);
  EXPECT_EQ(held_back_millis({4, 1'000'000, 1'000'000, 4000}), 3000U);
  EXPECT_EQ(held_back_millis({4, 1'000'000, 1'000'000, 2000}), 2000U)
      << "each had half of its time";
  EXPECT_EQ(held_back_millis({1, 300'000, 500'000, 4000}), 0U) << "it waited for something else";
  EXPECT_EQ(held_back_millis({1, 1'000'000, 0, 4000}), 0U) << "no quota";
  EXPECT_EQ(held_back_millis({0, 500'000, 500'000, 4000}), 0U);
  EXPECT_EQ(held_back_millis({1, 2'000'000, 500'000, 4000}), 0U) << "it had more than it could";
}

TEST(Decay, AgreesWithTheExponentialFunction) {
  base::Rng rng(1);
  for (int i = 0; i < 20'000; ++i) {
    const Duration window = rng.between(kLoadWindowMin, kLoadWindowMax);
    const Duration elapsed = rng.between(0us, window * 25);
    const double expected = std::exp(-seconds(elapsed) / seconds(window)) * 4294967296.0;
    ASSERT_NEAR(static_cast<double>(decay_of(elapsed, window)), expected, 32.0)
        << elapsed.count() << "us of " << window.count();
  }
}

TEST(Decay, BoundariesAreExact) {
  EXPECT_EQ(decay_of(0us, 60s), kDecayOne);
  EXPECT_EQ(decay_of(-5s, 60s), kDecayOne);
  EXPECT_EQ(decay_of(60s * 23, 60s), 0U);
  EXPECT_EQ(decay_of(Duration::max(), kLoadWindowMin), 0U);
  EXPECT_LT(decay_of(1us, 1s), kDecayOne);
}

TEST(Decay, ScalingNeverOverflowsAndRoundsAsNamed) {
  EXPECT_EQ(scale_down(UINT64_MAX, kDecayOne), UINT64_MAX);
  EXPECT_EQ(scale_up(INT64_MAX, kDecayOne), static_cast<std::uint64_t>(INT64_MAX));
  EXPECT_EQ(scale_down(3, kDecayOne / 2), 1U);
  EXPECT_EQ(scale_up(3, kDecayOne / 2), 2U);
  EXPECT_EQ(scale_up(4, kDecayOne / 2), 2U);
  EXPECT_EQ(scale_up(0, kDecayOne), 0U);
}

// kernel/sched/loadavg.c, calc_load with FSHIFT = 11 and EXP_1 = 1884, a sample every 5 s.
std::uint64_t kernel_step(std::uint64_t load, std::uint64_t active) {
  constexpr std::uint64_t kFixedOne = 1 << 11;
  constexpr std::uint64_t kExpOne = 1884;
  const std::uint64_t scaled = active * kFixedOne;
  std::uint64_t next = load * kExpOne + scaled * (kFixedOne - kExpOne);
  if (scaled >= load) next += kFixedOne - 1;
  return next / kFixedOne;
}

TEST(LoadAverage, FollowsTheKernelsOwnArithmetic) {
  base::Rng rng(2);
  LoadAverage ours(kStart);
  std::uint64_t kernel = 0;
  Time now = kStart;
  std::uint32_t runnable = 0;
  for (int i = 0; i < 5'000; ++i) {
    if (rng.below(8) == 0) runnable = static_cast<std::uint32_t>(rng.below(9));
    now += 5s;
    ours.sample(now, runnable);
    kernel = kernel_step(kernel, runnable);
    // 1884/2048 is 1.3e-4 below e^(-1/12) and the kernel rounds to 1/2048 at every step.
    ASSERT_NEAR(static_cast<double>(ours.micros()) / 1e6, static_cast<double>(kernel) / 2048, 0.03);
  }
}

TEST(LoadAverage, AgreesWithItsNaiveTwinAtAnyIntervalAndWindow) {
  base::Rng rng(3);
  for (int world = 0; world < 50; ++world) {
    const Duration window = rng.between(kLoadWindowMin, 10min);
    const auto first = static_cast<std::int64_t>(rng.below(20 * kTask));
    LoadAverage ours(kStart, window, first);
    double twin = static_cast<double>(first) / 1e6;
    Time now = kStart;
    for (int i = 0; i < 500; ++i) {
      const Duration gap = rng.below(10) == 0 ? rng.between(1s, 10min) : rng.between(10ms, 5s);
      const auto runnable = static_cast<std::uint32_t>(rng.below(30));
      now += gap;
      ours.sample(now, runnable);
      const double e = std::exp(-seconds(gap) / seconds(window));
      twin = twin * e + runnable * (1 - e);
      ASSERT_NEAR(static_cast<double>(ours.micros()) / 1e6, twin, 2e-5);
    }
  }
}

TEST(LoadAverage, ReachesAConstantLoadFromBelowAndAbove) {
  for (const std::int64_t first : {std::int64_t{0}, 9 * kTask}) {
    SCOPED_TRACE(first);
    LoadAverage average(kStart, 60s, first);
    Time now = kStart;
    for (int i = 0; i < 1000; ++i) average.sample(now += 5s, 3);
    EXPECT_EQ(average.micros(), 3 * kTask);
  }
}

TEST(LoadAverage, OneWindowShowsOneMinusOneOverE) {
  LoadAverage average(kStart);
  average.sample(kStart + 60s, 1);
  EXPECT_NEAR(static_cast<double>(average.micros()), 632'120.6, 1.0);
}

TEST(LoadAverage, SamplesTooCloseOrOutOfOrderAreLeftOutAndTheirTimeIsKept) {
  LoadAverage split(kStart);
  LoadAverage whole(kStart);
  split.sample(kStart + 500us, 40);
  split.sample(kStart, 40);
  split.sample(kStart - 10s, 40);
  EXPECT_EQ(split.micros(), 0);
  split.sample(kStart + 5s, 2);
  whole.sample(kStart + 5s, 2);
  EXPECT_EQ(split.micros(), whole.micros());
  EXPECT_GT(split.micros(), 0);
}

TEST(LoadAverage, ExtremesAreClamped) {
  LoadAverage average(kStart, 1s, INT64_MAX);
  EXPECT_EQ(average.micros(), kLoadMicrosMax);
  average.sample(kStart + 1h, UINT32_MAX);
  EXPECT_EQ(average.micros(), kLoadMicrosMax);
  average.sample(kStart + 2h, 0);
  EXPECT_EQ(average.micros(), 0);
  EXPECT_EQ(LoadAverage(kStart, 60s, -5).micros(), 0);
}

TEST(MovedLoad, WhatWasSentAwayIsSubtractedAndFadesWithTheWindow) {
  MovedLoad moved;
  moved.sent_away(kStart, kTask);
  EXPECT_EQ(moved.adjustment_micros(kStart), -kTask);
  EXPECT_NEAR(static_cast<double>(moved.adjustment_micros(kStart + 60s)), -367'879.4, 1.0);
  EXPECT_EQ(moved.adjustment_micros(kStart + 1h), 0);
  EXPECT_EQ(moved.effective_load_micros(kStart, 3 * kTask), 2 * kTask);
}

TEST(MovedLoad, EffectiveLoadIsNeverBelowZero) {
  MovedLoad moved;
  moved.sent_away(kStart, 5 * kTask);
  EXPECT_EQ(moved.effective_load_micros(kStart, kTask), 0);
  EXPECT_EQ(moved.effective_load_micros(kStart, -kTask), 0);
}

TEST(MovedLoad, AddingUpSaturates) {
  MovedLoad moved;
  for (int i = 0; i < 10; ++i) moved.taken_in(kStart, INT64_MAX);
  EXPECT_EQ(moved.adjustment_micros(kStart), kLoadMicrosMax);
  for (int i = 0; i < 30; ++i) moved.sent_away(kStart, INT64_MAX);
  EXPECT_EQ(moved.adjustment_micros(kStart), -kLoadMicrosMax);
  moved.taken_in(kStart, -7);
  EXPECT_EQ(moved.adjustment_micros(kStart), -kLoadMicrosMax);
}

// design.md §2: with constant loads the effective load after a move is what the average will come
// to, on both ends and at every moment, so that no node sheds or takes too much meanwhile.
TEST(MovedLoad, EffectiveLoadOfBothEndsIsConstantWhileTheAveragesLag) {
  LoadAverage source(kStart, 60s, 4 * kTask);
  LoadAverage sink(kStart, 60s, 0);
  MovedLoad from_source;
  MovedLoad to_sink;
  from_source.sent_away(kStart, kTask);
  to_sink.taken_in(kStart, kTask);
  Time now = kStart;
  for (int i = 0; i < 100; ++i) {
    now += 5s;
    source.sample(now, 3);
    sink.sample(now, 1);
    ASSERT_NEAR(static_cast<double>(from_source.effective_load_micros(now, source.micros())), 3e6,
                5.0);
    ASSERT_NEAR(static_cast<double>(to_sink.effective_load_micros(now, sink.micros())), 1e6, 5.0);
  }
}

TEST(MovedLoad, AJobThatIsSentOnAfterAShortStayLeavesNothingBehind) {
  LoadAverage node(kStart, 60s, 0);
  MovedLoad moved;
  moved.taken_in(kStart, kTask);
  node.sample(kStart + 20s, 1);
  moved.sent_away(kStart + 20s, kTask);
  EXPECT_NEAR(static_cast<double>(moved.effective_load_micros(kStart + 20s, node.micros())), 0, 3);
  node.sample(kStart + 50s, 0);
  EXPECT_NEAR(static_cast<double>(moved.effective_load_micros(kStart + 50s, node.micros())), 0, 3);
}

TEST(MovedLoad, AgreesWithAListOfEveryMove) {
  base::Rng rng(4);
  struct Move {
    Time at;
    double size;
  };
  MovedLoad moved(30s);
  std::vector<Move> moves;
  Time now = kStart;
  for (int i = 0; i < 500; ++i) {
    now += rng.between(0us, 5s);
    const auto load = static_cast<std::int64_t>(rng.below(4 * kTask));
    const bool away = rng.below(2) == 0;
    away ? moved.sent_away(now, load) : moved.taken_in(now, load);
    moves.push_back({now, static_cast<double>(away ? -load : load)});
    const Time later = now + rng.between(0us, 1min);
    double expected = 0;
    for (const Move& move : moves) {
      expected += move.size * std::exp(-seconds(later - move.at) / 30.0);
    }
    ASSERT_NEAR(static_cast<double>(moved.adjustment_micros(later)), expected, 5.0);
  }
}

TEST(Ratio, CpusAreTheSmallestOfAffinityAndEveryQuota) {
  struct Row {
    const char* name;
    std::uint32_t affinity;
    std::vector<CpuQuota> quotas;
    std::int64_t expected;
  };
  const Row rows[] = {
      {"no quota is nproc", 8, {}, 8000},
      {"quota below affinity", 8, {{150'000, 100'000}}, 1500},
      {"affinity below quota", 1, {{150'000, 100'000}}, 1000},
      {"the tightest ancestor counts", 8, {{400'000, 100'000}, {25'000, 50'000}}, 500},
      {"a quota below a thousandth", 8, {{1, 1'000'000}}, 1},
      {"nonsense quotas limit nothing", 2, {{-1, 100'000}, {5, 0}, {INT64_MAX, 1}}, 2000},
      {"no affinity known", 0, {}, 1},
      {"absurd affinity", UINT32_MAX, {}, kCpusMillisMax},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(usable_cpus_millis(row.affinity, row.quotas), row.expected);
  }
}

TEST(Ratio, IsLoadPerCpuRoundedDown) {
  EXPECT_EQ(ratio_micros(1'600'000, 2000), 800'000);
  EXPECT_EQ(ratio_micros(1'600'003, 2000), 800'001);
  EXPECT_EQ(ratio_micros(1'600'001, 2000), 800'000);
  EXPECT_EQ(ratio_micros(500'000, 500), 1'000'000);
  EXPECT_EQ(ratio_micros(-1, 1000), 0);
  EXPECT_EQ(ratio_micros(INT64_MAX, 1), kLoadMicrosMax * 1000);
}

}  // namespace
}  // namespace probe
