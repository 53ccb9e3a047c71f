// The second phase sees what did not come to rest.
#include "sim/settled.h"

#include <gtest/gtest.h>

#include "base/crypto.h"
#include "sim/scenario_text.h"
#include "sim/shrink.h"
#include "sim/world.h"

namespace sim {
namespace {

std::vector<std::string> promises_broken(World& world) {
  std::vector<std::string> names;
  for (const Violation& broken : world.promises().violations()) names.push_back(broken.promise);
  return names;
}

TEST(Settled, AQuietMeshIsAtRest) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto scenario = parse_scenario("seed 4\nnodes 5\nseconds 30\n");
  ASSERT_TRUE(scenario);
  World world(*scenario, QueueKind::kHeap);
  world.run_until(std::chrono::seconds(30));
  world.end_faults();
  world.run_until(std::chrono::seconds(30) + kSettleMin);
  check_settled(world);
  EXPECT_TRUE(promises_broken(world).empty());
}

// An outsider is off and no promise asks for it; those who still see it as alive would be wrong.
TEST(Settled, AnOutsiderIsLeftOut) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto scenario = parse_scenario("seed 4\nnodes 5\nseconds 30\n");
  ASSERT_TRUE(scenario);
  World world(*scenario, QueueKind::kHeap);
  world.run_until(std::chrono::seconds(30));
  world.end_faults({2});
  world.run_until(std::chrono::seconds(30) + kSettleMin);
  EXPECT_EQ(world.node(2), nullptr);
  check_settled(world);
  EXPECT_TRUE(promises_broken(world).empty());
}

TEST(Settled, ViewsThatHaveNotMetYetAreSeen) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto scenario =
      parse_scenario("seed 4\nnodes 5\nseconds 60\nfault at 0s isolate node 1 for 60s\n");
  ASSERT_TRUE(scenario);
  World world(*scenario, QueueKind::kHeap);
  world.run_until(std::chrono::seconds(50));  // the fault still holds
  check_settled(world);
  const auto broken = promises_broken(world);
  EXPECT_NE(std::find(broken.begin(), broken.end(), "views-agree"), broken.end());
}

TEST(Shrink, LeavesWhatMattersAndNothingElse) {
  const auto scenario = parse_scenario(
      "nodes 6\nseconds 100\nrate loss 0.1\nrate spike 0.1\njob at 1s on 0\njob at 2s on 1\n"
      "job at 3s on 1 threads 2\nperson at 4s kill 2\nperson at 5s kill 0\n"
      "fault at 10s crash node 1 for 1s\nfault at 20s lid node 2 for 1s\nfault at 30s pause node "
      "3\n");
  ASSERT_TRUE(scenario) << scenario.error().detail;
  // "Fails" while the lid closes on a world with the two-threaded job and some loss.
  const auto fails = [](const Scenario& world) {
    bool lid = false;
    bool job = false;
    for (const FaultPlan& fault : world.faults) lid = lid || fault.fault == Fault::kLid;
    for (const JobPlan& one : world.jobs) job = job || one.threads == 2;
    return lid && job && world.rate_ppm[static_cast<std::size_t>(Fault::kLoss)] > 0;
  };
  const Scenario least = shrink(*scenario, fails);
  EXPECT_TRUE(fails(least));
  EXPECT_EQ(least.faults.size(), 1U);
  EXPECT_EQ(least.jobs.size(), 1U);
  EXPECT_TRUE(least.people.empty());
  EXPECT_EQ(least.nodes, 3U);  // the lid is node 2's
  EXPECT_EQ(least.rate_ppm[static_cast<std::size_t>(Fault::kSpike)], 0U);
  EXPECT_LT(least.faulty, std::chrono::seconds(30));
}

}  // namespace
}  // namespace sim
