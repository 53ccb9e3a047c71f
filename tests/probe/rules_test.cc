// The tables of design.md §1 and §2: trits, hysteresis, SCUM, advice, each on its boundaries.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "probe/scum.h"
#include "probe/trit.h"

namespace probe {
namespace {

using base::Duration;
using namespace std::chrono_literals;

TEST(Trit, ThresholdsThemselvesAreErgodic) {
  struct Row {
    const char* name;
    std::int64_t ratio;
    Trit expected;
  };
  const Row rows[] = {
      {"idle", 0, Trit::kMinus},
      {"just below 0.3", 299'999, Trit::kMinus},
      {"exactly 0.3", 300'000, Trit::kErgodic},
      {"between", 500'000, Trit::kErgodic},
      {"exactly 0.8", 800'000, Trit::kErgodic},
      {"just above 0.8", 800'001, Trit::kPlus},
      {"far above", INT64_MAX, Trit::kPlus},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(classify(row.ratio), row.expected);
    TritFilter filter;
    EXPECT_EQ(filter.update(row.ratio), row.expected) << "a first sample is classified as it is";
  }
}

TEST(TritFilter, ChangesAtOnceByTheMarginElseAtTheThirdSample) {
  struct Row {
    const char* name;
    std::vector<std::int64_t> ratios;  // in thousandths
    std::vector<int> trits;
  };
  const Row rows[] = {
      {"up by the margin", {500, 820}, {0, 1}},
      {"up, just within the margin", {500, 819, 819, 819}, {0, 0, 0, 1}},
      {"up, interrupted", {500, 810, 810, 800, 810, 810, 810}, {0, 0, 0, 0, 0, 0, 1}},
      {"exactly 0.8 never makes PLUS", {500, 800, 800, 800, 800}, {0, 0, 0, 0, 0}},
      {"leaving PLUS by the margin", {900, 780}, {1, 0}},
      {"leaving PLUS at exactly 0.8", {900, 800, 800, 800}, {1, 1, 1, 0}},
      {"leaving PLUS, interrupted", {900, 790, 790, 801, 790, 790, 790}, {1, 1, 1, 1, 1, 1, 0}},
      {"down by the margin", {500, 280}, {0, -1}},
      {"down, within the margin", {500, 281, 299, 299}, {0, 0, 0, -1}},
      {"exactly 0.3 never makes MINUS", {500, 300, 300, 300, 300}, {0, 0, 0, 0, 0}},
      {"leaving MINUS by the margin", {100, 320}, {-1, 0}},
      {"leaving MINUS at exactly 0.3", {100, 300, 300, 300}, {-1, -1, -1, 0}},
      {"PLUS to MINUS in one step", {900, 280}, {1, -1}},
      {"PLUS to just below 0.3 rests at ERGODIC", {900, 290, 290, 290}, {1, 0, 0, -1}},
      {"MINUS to PLUS in one step", {100, 820}, {-1, 1}},
      {"MINUS to just above 0.8 rests at ERGODIC", {100, 810, 810, 810}, {-1, 0, 0, 1}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    TritFilter filter;
    std::vector<int> seen;
    for (const std::int64_t ratio : row.ratios) {
      seen.push_back(trit_value(filter.update(ratio * 1000)));
    }
    EXPECT_EQ(seen, row.trits);
  }
}

// Whatever is asked between two samples, they are three.
TEST(TritFilter, WhatIsNoSampleCountsOnlyByTheMargin) {
  TritFilter filter;
  (void)filter.update(100'000);
  EXPECT_EQ(filter.update(310'000), Trit::kMinus);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(filter.correct(310'000), Trit::kMinus);
  EXPECT_EQ(filter.update(310'000), Trit::kMinus);
  EXPECT_EQ(filter.update(310'000), Trit::kErgodic);
  EXPECT_EQ(filter.correct(820'000), Trit::kPlus) << "work came";
  EXPECT_EQ(filter.correct(790'000), Trit::kPlus);
  EXPECT_EQ(filter.correct(780'000), Trit::kErgodic);
}

// The rule as a person would write it down, from the whole history at every step.
int naive_trit(const std::vector<std::int64_t>& ratios) {
  bool above = ratios[0] > 800'000;
  bool below = ratios[0] < 300'000;
  const auto last_three = [&](std::size_t end, std::size_t since, auto&& holds) {
    if (end - since < 3) return false;
    return holds(ratios[end - 1]) && holds(ratios[end - 2]) && holds(ratios[end - 3]);
  };
  std::size_t above_since = 1;  // samples before this one belong to an earlier state
  std::size_t below_since = 1;
  for (std::size_t i = 1; i < ratios.size(); ++i) {
    const std::int64_t r = ratios[i];
    const bool flip_above =
        above ? r <= 780'000 || last_three(i + 1, above_since, [](auto x) { return x <= 800'000; })
              : r >= 820'000 || last_three(i + 1, above_since, [](auto x) { return x > 800'000; });
    const bool flip_below =
        below ? r >= 320'000 || last_three(i + 1, below_since, [](auto x) { return x >= 300'000; })
              : r <= 280'000 || last_three(i + 1, below_since, [](auto x) { return x < 300'000; });
    if (flip_above) above = !above, above_since = i + 1;
    if (flip_below) below = !below, below_since = i + 1;
  }
  return above ? 1 : below ? -1 : 0;
}

TEST(TritFilter, AgreesWithItsNaiveTwin) {
  base::Rng rng(5);
  for (int world = 0; world < 200; ++world) {
    TritFilter filter;
    std::vector<std::int64_t> ratios;
    for (int i = 0; i < 60; ++i) {
      const std::int64_t centre = rng.below(2) == 0 ? 800'000 : 300'000;
      const auto offset = static_cast<std::int64_t>(rng.below(13)) * 5'000 - 30'000;
      ratios.push_back(centre + offset);
      ASSERT_EQ(trit_value(filter.update(ratios.back())), naive_trit(ratios));
    }
  }
}

Usage usage(double cpu, double memory, Duration runtime) {
  return Usage{static_cast<std::int64_t>(cpu * 1e6 + 0.5),
               static_cast<std::int64_t>(memory * 1e6 + 0.5), runtime};
}

TEST(Scum, TermsAndTheirCaps) {
  struct Row {
    const char* name;
    Usage usage;
    std::int64_t total;
  };
  const Row rows[] = {
      {"nothing", usage(0, 0, 0s), 0},
      {"one CPU", usage(1, 0, 0s), 600'000},
      {"four CPUs count as one", usage(4, 0, 0s), 600'000},
      {"half of memory", usage(0, 0.5, 0s), 150'000},
      {"more than all memory", usage(0, 1.5, 0s), 300'000},
      {"twelve hours", usage(0, 0, 12h), 50'000},
      {"a week counts as a day", usage(0, 0, 168h), 100'000},
      {"all of it", usage(9, 9, 999h), 1'000'000},
      {"negative input counts as none", usage(0, 0, -1h), 0},
      {"absurd input", Usage{INT64_MAX, INT64_MAX, Duration::max()}, 1'000'000},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(scum_of(row.usage).total_micros(), row.total);
  }
  EXPECT_EQ(scum_of(Usage{-5, -5, -5us}).total_micros(), 0);
}

TEST(Scum, ExactlyThirtyFiveHundredthsIsNoHog) {
  // 0.6 * 0.5 + 0.3 * 0 + 0.1 * 12/24 = 0.35
  EXPECT_EQ(scum_of(usage(0.5, 0, 12h)).total_micros(), 350'000);
  EXPECT_FALSE(scum_of(usage(0.5, 0, 12h)).is_hog());
  EXPECT_TRUE(scum_of(usage(0.5, 0, 12h + 864ms)).is_hog()) << "one millionth more";
  EXPECT_FALSE(scum_of(usage(0.5, 0, 12h + 863ms)).is_hog()) << "less than a millionth more";
  EXPECT_TRUE(scum_of(usage(0.500002, 0, 12h)).is_hog());
}

TEST(Scum, UsageIsAsPsCounts) {
  ProcessSample process;
  process.started = 100s;
  process.cpu_time = 30s;
  process.children_cpu_time = 1000s;  // ps without -S leaves ended children out
  process.rss_bytes = 256 << 20;
  const Usage one = usage_of(process, 160s, 1 << 30);
  EXPECT_EQ(one.cpu_micros, 500'000);
  EXPECT_EQ(one.memory_micros, 250'000);
  EXPECT_EQ(one.runtime, 60s);
}

TEST(Scum, AProcessThatJustStartedCountsAsOneSecondOld) {
  ProcessSample process;
  process.started = 100s;
  process.cpu_time = 10ms;
  EXPECT_EQ(usage_of(process, 100s, 1).cpu_micros, 10'000);
  EXPECT_EQ(usage_of(process, 99s, 1).cpu_micros, 10'000) << "started after the clock was read";
}

TEST(Scum, AJobIsTheSumOfItsProcessesAndTheirEndedChildren) {
  std::vector<ProcessSample> processes(2);
  processes[0].cpu_time = 10s;
  processes[0].children_cpu_time = 20s;
  processes[0].rss_bytes = 100;
  processes[1].cpu_time = 30s;
  processes[1].rss_bytes = 150;
  processes[1].started = 190s;  // a young child does not make the job young
  const Usage job = usage_of_job(processes, JobPast{0s, 0s, 100s}, 200s, 1000);
  EXPECT_EQ(job.cpu_micros, 600'000);
  EXPECT_EQ(job.memory_micros, 250'000);
  EXPECT_EQ(job.runtime, 100s);
}

TEST(Scum, AMovedHogDoesNotLookNew) {
  // 20 h at 60 % elsewhere; here for 10 s and idle since.
  const JobPast past{12h, 20h, 500s};
  std::vector<ProcessSample> processes(1);
  processes[0].started = 500s;
  const Usage job = usage_of_job(processes, past, 510s, 1);
  EXPECT_EQ(job.runtime, 20h + 10s);
  EXPECT_NEAR(static_cast<double>(job.cpu_micros), 0.6e6 * 72000 / 72010, 1.0);
  EXPECT_TRUE(scum_of(job).is_hog());
  EXPECT_EQ(cpu_time_of_job(processes, past), 12h);
  const Usage new_job = usage_of_job(processes, JobPast{0s, 0s, 500s}, 510s, 1);
  EXPECT_FALSE(scum_of(new_job).is_hog());
}

TEST(Scum, AbsurdSamplesDoNotOverflow) {
  std::vector<ProcessSample> processes(3);
  for (ProcessSample& process : processes) {
    process.cpu_time = Duration::max();
    process.children_cpu_time = Duration::max();
    process.rss_bytes = INT64_MAX;
    process.started = Duration::min();
  }
  const JobPast past{Duration::max(), Duration::max(), Duration::min()};
  EXPECT_EQ(scum_of(usage_of_job(processes, past, Duration::max(), INT64_MAX)).memory_micros,
            300'000);
  EXPECT_EQ(scum_of(usage_of(processes[0], Duration::min(), 1)).total_micros(), 900'001)
      << "one second old";
}

TEST(Advice, TheProcessRulesTable) {
  const ScumScore hog{350'001, 0, 0};
  const ScumScore edge{350'000, 0, 0};
  EXPECT_EQ(advise(hog, Trit::kPlus), Advice::kMigrate);
  EXPECT_EQ(advise(hog, Trit::kErgodic), Advice::kThrottle);
  EXPECT_EQ(advise(hog, Trit::kMinus), Advice::kAllow);
  for (const Trit trit : {Trit::kPlus, Trit::kErgodic, Trit::kMinus}) {
    EXPECT_EQ(advise(edge, trit), Advice::kNone) << trit_name(trit);
  }
  EXPECT_STREQ(advice_name(Advice::kMigrate), "migrate");
  EXPECT_STREQ(advice_name(Advice::kThrottle), "throttle");
  EXPECT_STREQ(advice_name(Advice::kAllow), "allow");
  EXPECT_STREQ(advice_name(Advice::kNone), "none");
}

}  // namespace
}  // namespace probe
