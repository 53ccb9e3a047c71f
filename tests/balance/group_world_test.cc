// Random worlds: safety at every action while faults last, liveness once they stop.
#include "group_world.h"

#include "group_rig.h"

namespace balance {
namespace {

Faults draw(base::Rng& rng) {
  Faults faults;
  faults.loss_percent = rng.below(3) == 0 ? rng.below(50) : rng.below(10);
  faults.double_percent = rng.below(40);
  faults.delay_max = std::chrono::milliseconds(1 + rng.below(rng.below(3) == 0 ? 3000 : 100));
  faults.disk_max = std::chrono::milliseconds(1 + rng.below(rng.below(3) == 0 ? 800 : 10));
  faults.crash_permille = rng.below(2) == 0 ? rng.below(25) : 0;
  faults.cut_percent = rng.below(2) == 0 ? rng.below(50) : 0;
  return faults;
}

struct Totals {
  std::size_t decided = 0, leaders = 0, crashes = 0;
};

Totals run_seeds(std::uint64_t first, std::uint64_t count, bool pair) {
  Totals totals;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    base::Rng rng(seed);
    GroupWorld world(rng.next(), pair);
    world.set_faults(draw(rng));
    world.run(std::chrono::seconds(15));
    world.set_faults(draw(rng));
    world.run(std::chrono::seconds(15));
    world.set_faults({});
    EXPECT_TRUE(world.decides_within(std::chrono::seconds(20)));
    totals.decided += world.decided();
    totals.leaders += world.leaders();
    totals.crashes += world.crashes();
    for (const std::string& violation : world.violations()) ADD_FAILURE() << violation;
    if (testing::Test::HasFailure()) break;
  }
  return totals;
}

// Raft Figure 3: election safety, log matching, leader completeness, state machine safety; and
// "durable before sent". The totals show that the worlds are not idle.
class GroupWorlds : public testing::TestWithParam<std::uint64_t> {};
TEST_P(GroupWorlds, ThreeMembersKeepEveryPromise) {
  const Totals totals = run_seeds(GetParam() * 400, 400, false);
  EXPECT_GT(totals.decided, 400u * 10);
  EXPECT_GT(totals.leaders, 400u * 2);
  EXPECT_GT(totals.crashes, 400u);
}
INSTANTIATE_TEST_SUITE_P(Seeds, GroupWorlds, testing::Range<std::uint64_t>(0, 5));

TEST(GroupWorld, PairsKeepEveryPromise) {
  const Totals totals = run_seeds(100000, 300, true);
  EXPECT_GT(totals.decided, 300u * 10);
}

TEST(GroupWorld, SameSeedSameTrace) {
  std::uint64_t traces[2] = {};
  for (std::uint64_t& trace : traces) {
    GroupWorld world(42, false);
    world.set_faults(
        {10, 10, std::chrono::milliseconds(200), std::chrono::milliseconds(20), 5, 10});
    world.run(std::chrono::seconds(20));
    trace = world.trace();
  }
  EXPECT_EQ(traces[0], traces[1]);
}

// design.md §3: the preferred member "normally wins at once".
TEST(GroupWorld, PreferredMemberWinsAtOnceWithoutFaults) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    GroupWorld world(seed, false);
    EXPECT_TRUE(world.decides_within(std::chrono::milliseconds(500)));
    world.run(std::chrono::seconds(20));
    EXPECT_EQ(world.leaders(), 1u);
  }
}

}  // namespace
}  // namespace balance
