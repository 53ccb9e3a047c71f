// Scenarios as text, and every scenario that ever failed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/crypto.h"
#include "sim/generate.h"
#include "sim/run.h"
#include "sim/scenario_text.h"

namespace sim {
namespace {

TEST(ScenarioText, EverySeedsScenarioReadsBackAsItself) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    const Scenario scenario = generate({seed, 0, {}, FaultMode::kSwarm});
    const auto back = parse_scenario(write_scenario(scenario));
    ASSERT_TRUE(back) << back.error().detail;
    EXPECT_TRUE(*back == scenario);
  }
}

TEST(ScenarioText, WhatAPersonWritesIsRead) {
  const auto world = parse_scenario(
      "# two nodes\nseed 9\nnodes 2\nseconds 90\nall cpus 2 memory 4G\nnode 1 load 1.5\n"
      "rate loss 0.05  # five percent\njob at 5s on 0 threads 2 work 5min memory 100M output 10\n"
      "fault at 1500ms crash node 1 for 10s\nperson at 20s migrate 0 to 1\nexpect commits >= 1\n");
  ASSERT_TRUE(world) << world.error().detail;
  EXPECT_EQ(world->nodes, 2U);
  EXPECT_EQ(world->shape_of(0).cpus_millis, 2000);
  EXPECT_EQ(world->shape_of(1).other_load_micros, 1'500'000);
  EXPECT_EQ(world->shape_of(1).memory_bytes, 4LL << 30);
  EXPECT_EQ(world->rate_ppm[static_cast<std::size_t>(Fault::kLoss)], 50'000U);
  ASSERT_EQ(world->jobs.size(), 1U);
  EXPECT_EQ(world->jobs[0].work, std::chrono::minutes(5));
  ASSERT_EQ(world->faults.size(), 1U);
  EXPECT_EQ(world->faults[0].at, std::chrono::milliseconds(1500));
  EXPECT_EQ(world->people[0].to, 1U);
}

TEST(ScenarioText, PeopleLookStopAndResolve) {
  const auto world = parse_scenario(
      "nodes 2\njob at 5s on 0\nperson at 1s ps on 1\nperson at 2s logs 0 on 1\n"
      "person at 3s down on 1 for 9s\nperson at 4s resolve 0\n");
  ASSERT_TRUE(world) << world.error().detail;
  ASSERT_EQ(world->people.size(), 4U);
  EXPECT_EQ(world->people[0].verb, PersonPlan::Verb::kPs);
  EXPECT_EQ(world->people[0].to, 1U);
  EXPECT_EQ(world->people[1].verb, PersonPlan::Verb::kLogs);
  EXPECT_EQ(world->people[2].verb, PersonPlan::Verb::kDown);
  EXPECT_EQ(world->people[2].length, std::chrono::seconds(9));
  EXPECT_EQ(world->people[3].verb, PersonPlan::Verb::kResolve);
}

TEST(ScenarioText, PeopleThrottleAndDrain) {
  const auto world = parse_scenario(
      "nodes 2\njob at 5s on 0\nperson at 1s throttle 0 percent 50\nperson at 2s throttle 0\n"
      "person at 3s drain on 1 for 9s\n");
  ASSERT_TRUE(world) << world.error().detail;
  ASSERT_EQ(world->people.size(), 3U);
  EXPECT_EQ(world->people[0].verb, PersonPlan::Verb::kThrottle);
  EXPECT_EQ(world->people[0].percent, 50U);
  EXPECT_FALSE(world->people[1].percent) << "as the rules say";
  EXPECT_EQ(world->people[2].verb, PersonPlan::Verb::kDrain);
  EXPECT_EQ(world->people[2].to, 1U);
  EXPECT_EQ(world->people[2].length, std::chrono::seconds(9));
}

TEST(ScenarioText, WhatIsWrongIsSaidWithItsLine) {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"nodes 0\n", "line 1: there is at least one node"},
      {"nodes 3\nrate gravity 0.1\n", "line 2: \"gravity\" is no fault that has a rate"},
      {"rate crash 0.1\n", "line 1: \"crash\" is no fault that has a rate"},
      {"rate loss 2\n", "line 1: rate \"2\" is out of range"},
      {"fault at 3s loss\n", "line 1: \"loss\" is no fault that can be scheduled"},
      {"job at 3 parsecs on 0\n", "line 1: \"on\" is expected"},
      {"job at 3pc on 0\n", "line 1: time \"3pc\" is no number with a known unit"},
      {"nodes 2\njob at 3s on 2\n", "line 2: node \"2\" is no number up to 1"},
      {"job at 3s on 2\nnodes 2\n", "something is on a node that there is not"},
      {"person at 1s kill 0\n", "a person names no job"},
      {"seed 1 2\n", "line 1: there is more in this line than fits"},
      {"fly\n", "line 1: \"fly\" is no word of a scenario"},
      {"expect commits > 1\n", "line 1: >=, <= or == is expected"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text);
    const auto world = parse_scenario(row.text);
    ASSERT_FALSE(world);
    EXPECT_EQ(world.error().detail, row.says);
  }
  EXPECT_FALSE(parse_scenario(std::string(kScenarioSizeMax + 1, '#')));
}

// Damage anywhere is either refused or read as some scenario that reads back as itself.
TEST(ScenarioText, DamageIsRefusedOrHarmless) {
  const std::string text = write_scenario(generate({5, 4, {}, FaultMode::kSwarm}));
  for (std::size_t i = 0; i < text.size(); i += 3) {
    for (const char with : {'\0', ' ', '9', '-', '\xff', '\n'}) {
      std::string damaged = text;
      damaged[i] = with;
      const auto world = parse_scenario(damaged);
      if (!world) continue;
      const auto back = parse_scenario(write_scenario(*world));
      ASSERT_TRUE(back && *back == *world) << i;
    }
  }
}

TEST(Scenarios, HoldNow) {
  ASSERT_TRUE(base::crypto::init().ok());
  std::vector<std::filesystem::path> files;
  const std::filesystem::path folder = std::filesystem::path(TERN_SOURCE_DIR) / "tests/scenarios";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  ASSERT_FALSE(files.empty());
  for (const auto& file : files) {
    SCOPED_TRACE(file.filename());
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    EXPECT_EQ(text.str().rfind("# Why: ", 0), 0U) << "say why it exists";
    const auto world = parse_scenario(text.str());
    ASSERT_TRUE(world) << world.error().detail;
    const Outcome outcome = run_scenario(*world, {});
    for (const Violation& broken : outcome.violations) {
      ADD_FAILURE() << broken.promise << " at n" << broken.node << ": " << broken.detail;
    }
    for (const std::string& unmet : outcome.unmet) ADD_FAILURE() << unmet;
  }
}

}  // namespace
}  // namespace sim
