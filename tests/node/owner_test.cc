// What guests do when the owner needs her machine (node/owner.h).
#include "node/owner.h"

#include <gtest/gtest.h>

namespace node {
namespace {

using probe::Power;
using namespace std::chrono_literals;

OwnerSample sample(Power power, std::optional<base::Duration> idle = {}) {
  OwnerSample out;
  out.power = {power, 9};
  out.idle = idle;
  return out;
}

TEST(Owner, WhoIsSentHomeIsPausedMeanwhile) {
  const OwnerPolicy policy{Yield::kPause, Yield::kThrottle, Yield::kSendHome};
  const Stance typed = stance_of(policy, sample(Power::kBattery, 1min));
  EXPECT_EQ(typed.yield, Yield::kPause);
  EXPECT_EQ(typed.hold, Yield::kPause) << "the stronger of the two";
  EXPECT_EQ(typed.hold_why, "its owner is active");
  const Stance low = stance_of(policy, sample(Power::kBatteryLow, 1min));
  EXPECT_EQ(low.yield, Yield::kSendHome);
  EXPECT_EQ(low.why, "its battery is low (9 %)");
  EXPECT_EQ(low.hold, Yield::kPause);
  EXPECT_EQ(low.hold_why, "its owner is active");
  EXPECT_EQ(stance_of(policy, sample(Power::kBattery)).hold, Yield::kThrottle);
  EXPECT_EQ(stance_of(policy, sample(Power::kMains)), Stance{});
}

TEST(Owner, TheStrongestCauseThatAppliesCounts) {
  const OwnerPolicy policy{Yield::kSendHome, Yield::kRefuse, Yield::kDrain};
  EXPECT_EQ(stance_of(policy, sample(Power::kMains)), Stance{});
  EXPECT_EQ(stance_of(policy, sample(Power::kUnknown, 10min)), Stance{});
  EXPECT_EQ(stance_of(policy, sample(Power::kBattery)).yield, Yield::kRefuse);
  EXPECT_EQ(stance_of(policy, sample(Power::kBattery, 1min)).yield, Yield::kSendHome);
  EXPECT_EQ(stance_of(policy, sample(Power::kBattery, 1min)).why, "its owner is active");
  EXPECT_EQ(stance_of(policy, sample(Power::kBatteryLow, 1min)).yield, Yield::kDrain);
  EXPECT_EQ(stance_of(policy, sample(Power::kBatteryLow)).why, "its battery is low (9 %)");
}

TEST(Owner, ALowBatteryIsABatteryToo) {
  OwnerPolicy policy;
  policy.battery = Yield::kSendHome;
  policy.battery_low = Yield::kNothing;
  EXPECT_EQ(stance_of(policy, sample(Power::kBatteryLow)).yield, Yield::kSendHome);
}

TEST(Owner, AMeteredNetworkIsACauseOfItsOwn) {
  OwnerSample metered = sample(Power::kMains);
  metered.metered = true;
  EXPECT_EQ(stance_of({}, metered).yield, Yield::kRefuse);
  EXPECT_EQ(stance_of({}, metered).why, "its network is metered");
  OwnerPolicy policy;
  policy.metered = Yield::kPause;
  EXPECT_EQ(stance_of(policy, metered).hold, Yield::kPause);
  EXPECT_EQ(stance_of(policy, metered).hold_why, "its network is metered");
  EXPECT_EQ(stance_of(policy, sample(Power::kMains)), Stance{});
}

TEST(Owner, BeforeSleepGuestsLeaveAndNothingBeginsThatSleepWouldCutShort) {
  const OwnerSample calm = sample(Power::kMains);
  EXPECT_EQ(stance_of({}, calm, Sleep::kLeaving).yield, Yield::kSendHome);
  EXPECT_EQ(stance_of({}, calm, Sleep::kLeaving).why, "it is about to sleep");
  EXPECT_EQ(stance_of({}, calm, Sleep::kLeaving, true).why, "it is about to shut down");
  EXPECT_EQ(stance_of({}, calm, Sleep::kAsleep).yield, Yield::kRefuse);
  EXPECT_EQ(stance_of({}, calm, Sleep::kAwake), Stance{});
  OwnerPolicy policy;
  policy.sleep = Yield::kPause;
  EXPECT_EQ(stance_of(policy, calm, Sleep::kAsleep).hold, Yield::kPause);
  policy.sleep = Yield::kNothing;
  EXPECT_EQ(stance_of(policy, calm, Sleep::kAsleep), Stance{});
}

TEST(Owner, ActiveEndsAfterFiveQuietMinutes) {
  OwnerPolicy policy;
  policy.active = Yield::kRefuse;
  EXPECT_EQ(stance_of(policy, sample(Power::kMains, kActiveFor - 1s)).yield, Yield::kRefuse);
  EXPECT_EQ(stance_of(policy, sample(Power::kMains, kActiveFor)).yield, Yield::kNothing);
}

TEST(Owner, EveryWordReadsBack) {
  for (const Yield yield : {Yield::kNothing, Yield::kRefuse, Yield::kThrottle, Yield::kPause,
                            Yield::kSendHome, Yield::kDrain}) {
    const auto back = parse_yield(yield_name(yield));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, yield);
  }
  EXPECT_EQ(parse_yield("maybe").error().detail,
            "nothing, refuse, throttle, pause, send-home or drain is meant");
  EXPECT_FALSE(parse_yield("").ok());
  EXPECT_FALSE(parse_yield("Drain").ok());
}

}  // namespace
}  // namespace node
