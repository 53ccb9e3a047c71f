// A person's word that the other copy is gone, and what was said of the job before.
#include <algorithm>

#include "fixture.h"

namespace node::testing {
namespace {

std::uint64_t throttle(Fixture& f, std::uint32_t percent) {
  return f.world.post(0, [&](std::uint64_t request) {
    return ThrottleJob{request, 1000, f.job, f.world.id(0), percent};
  });
}

int answer_of(Fixture& f, std::uint64_t asked) {
  if (!f.world.run_until([&] { return f.world.answered(asked); }, 60s)) return -1;
  return f.world.replies(asked).back().exit_code;
}

// Sealed here, and the other node is at it: nothing but its word or a person's ends the wait.
void put_in_doubt(Fixture& f) {
  f.world.operation_delay = 20s;
  (void)migrate(f.world, 0, 0, f.job, 1);
  ASSERT_TRUE(f.world.run_until(
      [&] {
        const auto unsettled = f.world.node(0)->unsettled();
        return std::any_of(unsettled.begin(), unsettled.end(),
                           [](const auto& end) { return end.waits_for_others; });
      },
      60s));
}

int resolve(Fixture& f) {
  return answer_of(f, f.world.post(0, [&](std::uint64_t request) {
    return ResolveJob{request, f.job};
  }));
}

TEST(Resolve, WhatWasParkedRunsWhenThePersonIsTold) {
  Fixture f(41, nodes(2));
  const auto parked = f.world.post(0, [&](std::uint64_t request) {
    return ParkJob{request, 1000, f.job, f.world.id(0), false};
  });
  ASSERT_EQ(answer_of(f, parked), 0);
  ASSERT_EQ(f.world.where(f.job), -1);
  put_in_doubt(f);
  ASSERT_EQ(resolve(f), 0);
  EXPECT_EQ(f.world.where(f.job), 0);
  f.world.run(120s);
  EXPECT_EQ(f.world.where(f.job), 0);
  EXPECT_EQ(f.world.copies(f.job), 1U);
  f.settle();
}

TEST(Resolve, AThrottleStaysAsTheJobHasNotMoved) {
  Fixture f(42, nodes(2));
  ASSERT_EQ(answer_of(f, throttle(f, 25)), 0);
  put_in_doubt(f);
  ASSERT_EQ(resolve(f), 0);
  f.world.run(20s);
  const auto* held = f.world.node(0)->throttle_of(f.job);
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(held->limit_micros, 250'000);
  EXPECT_EQ(f.world.limit_of(0, f.job), 250'000);
  f.world.crash(0, 3s);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.node(0) != nullptr; }, 30s));
  f.world.run(20s);
  EXPECT_NE(f.world.node(0)->throttle_of(f.job), nullptr);
  EXPECT_EQ(f.world.limit_of(0, f.job), 250'000);
  f.settle();
}

}  // namespace
}  // namespace node::testing
