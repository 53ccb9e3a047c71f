#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "gossip/simple_detector.h"

namespace gossip {
namespace {

base::NodeId id_of(base::Rng& rng) {
  base::NodeId id;
  rng.fill(id.bytes);
  return id;
}

bool has(const std::vector<base::NodeId>& ids, const base::NodeId& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

struct Watch {
  explicit Watch(std::uint64_t seed) : rng(seed), other(id_of(rng)), detector(id_of(rng), seed) {
    detector.add(now, other, Detector::Health::kAlive);
  }
  // Nobody answers. True once it was said of `other` that it missed a first answer.
  bool misses_within(base::Duration within, int& probes) {
    for (const base::Time end = now + within; now < end; now += 10ms) {
      const Detector::Output output = detector.poll(now);
      probes += static_cast<int>(std::count_if(output.probes.begin(), output.probes.end(),
                                               [&](const auto& one) { return one.to == other; }));
      if (has(output.missed, other)) return true;
    }
    return false;
  }
  base::Rng rng;
  base::NodeId other;
  SimpleDetector detector;
  base::Time now{1s};
};

// Others come, whose turn it is to observe it; what it had missed until then is no first miss of
// the time when somebody asks for it again.
TEST(Detector, WhatWasMissedLongAgoDoesNotCount) {
  int tried = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Watch watch(seed);
    int probes = 0;
    ASSERT_TRUE(watch.misses_within(5s, probes));
    for (int i = 0; i < 60; ++i) {
      watch.detector.add(watch.now, id_of(watch.rng), Detector::Health::kAlive);
    }
    probes = 0;
    (void)watch.misses_within(1s, probes);
    if (probes > 0) continue;  // it is still observed
    ++tried;
    watch.detector.reported(watch.now, watch.other);
    EXPECT_TRUE(watch.misses_within(5s, probes)) << seed;
    EXPECT_EQ(probes, 1) << seed;
  }
  EXPECT_GT(tried, 5);
}

}  // namespace
}  // namespace gossip
