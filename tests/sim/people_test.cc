// People who look, stop a daemon or resolve a job, and the promises about what they are told.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/crypto.h"
#include "sim/at_rest.h"
#include "sim/scenario_text.h"
#include "sim/settled.h"
#include "sim/world.h"

namespace sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class People : public testing::Test {
 protected:
  People() { EXPECT_TRUE(base::crypto::init().ok()); }
  static Scenario scenario_of(const char* text) {
    auto scenario = parse_scenario(text);
    CHECK(scenario.ok());
    return *scenario;
  }
  static bool broke(const Promises& promises, const std::string& name) {
    const auto& all = promises.violations();
    return std::any_of(all.begin(), all.end(),
                       [&](const Violation& one) { return one.promise == name; });
  }
};

TEST_F(People, WhoLooksIsToldTheTruthAlsoOfAStoppedDaemonsJobs) {
  World world(scenario_of("seed 4\nnodes 3\nseconds 60\n"
                          "job at 3s on 0 threads 1 output 100\nperson at 20s ps on 1\n"
                          "person at 21s logs 0 on 2\nperson at 22s down on 0 for 8s\n"
                          "person at 25s ps on 1\nperson at 40s ps on 2\n"),
              QueueKind::kHeap);
  world.run_until(seconds(26));
  EXPECT_EQ(world.node(0), nullptr);
  EXPECT_EQ(world.runs_at(0), 0U) << "a job outlives its daemon";
  world.run_until(seconds(60));
  EXPECT_NE(world.node(0), nullptr);
  EXPECT_EQ(world.counts().looks, 4U);
  EXPECT_EQ(world.counts().downs, 1U);
  EXPECT_TRUE(world.promises().violations().empty());
}

TEST_F(People, WhatIsResolvedRuns) {
  World world(scenario_of("seed 4\nnodes 2\nseconds 60\njob at 3s on 0 threads 1\n"
                          "person at 20s migrate 0 to 1\nperson at 40s resolve 0\n"),
              QueueKind::kHeap);
  const auto is_ready = [&] {
    return std::any_of(world.disk(1).begin(), world.disk(1).end(), [](const auto& record) {
      if (!record.first.starts_with("end/")) return false;
      const auto end = balance::decode_end(record.second);
      return end && end->state == balance::EndState::kSinkReady;
    });
  };
  for (base::Duration at = seconds(20); !is_ready() && at < seconds(40);
       at += base::Duration(200)) {
    world.run_until(at);
  }
  ASSERT_TRUE(is_ready());
  world.end_faults({0});
  world.run_until(seconds(39));
  EXPECT_EQ(world.runs_at(0), kNobody);
  world.run_until(seconds(50));
  EXPECT_EQ(world.counts().resolves, 1U);
  EXPECT_EQ(world.runs_at(0), 1U);
  world.run_until(seconds(50) + kSettleMin);
  check_at_rest(world);
  EXPECT_TRUE(world.promises().violations().empty());
}

TEST_F(People, WhoWasToldToStopTakesNoSeat) {
  World world(scenario_of("seed 4\nnodes 2\nseconds 60\n"), QueueKind::kHeap);
  world.run_until(seconds(5));
  Promises promises{world};
  node::Persist batch;
  batch.changes.push_back({balance::kAcceptanceKey, balance::encode(balance::Acceptance{})});
  promises.told_to_stop(1);
  promises.decides(0, batch);
  EXPECT_FALSE(broke(promises, "stops"));
  promises.decides(1, batch);
  EXPECT_TRUE(broke(promises, "stops"));
}

TEST_F(People, WhoAsksForJobsMustNotMissOneThatRuns) {
  World world(scenario_of("seed 4\nnodes 2\nseconds 60\njob at 3s on 0 threads 1\n"),
              QueueKind::kHeap);
  world.run_until(seconds(20));
  Promises promises{world};
  node::Reply reply;
  reply.jobs.emplace();
  reply.jobs->unreachable = {world.id(0)};
  reply.request = 7;
  promises.answers().asks_jobs(1, 7);
  promises.answers().answers(1, reply);
  EXPECT_FALSE(broke(promises, "ps-true")) << "that node is named";
  reply.jobs->unreachable.clear();
  reply.request = 8;
  promises.answers().asks_jobs(1, 8);
  promises.answers().answers(1, reply);
  EXPECT_TRUE(broke(promises, "ps-true"));
}

TEST_F(People, WhatAPersonThrottlesStaysSo) {
  World world(scenario_of("seed 4\nnodes 2\nseconds 120\nnode 0 cpus 4\njob at 3s on 0 threads 2\n"
                          "person at 20s throttle 0 percent 50\nfault at 40s restart node 0\n"
                          "person at 80s throttle 0 percent 0\n"),
              QueueKind::kHeap);
  world.run_until(seconds(70));
  ASSERT_EQ(world.runs_at(0), 0U);
  EXPECT_EQ(world.machine(0).find(0)->limit_micros, 500'000) << "a restart changes nothing";
  world.run_until(seconds(100));
  EXPECT_EQ(world.machine(0).find(0)->limit_micros, 0);
  EXPECT_EQ(world.counts().throttles, 2U);
  EXPECT_TRUE(world.promises().violations().empty());
}

TEST_F(People, WhoSaidThatItIsThrottledChangesNothingByItself) {
  World world(scenario_of("seed 4\nnodes 2\nseconds 60\njob at 3s on 0 threads 1\n"),
              QueueKind::kHeap);
  world.run_until(seconds(20));
  Promises promises{world};
  const auto asks = [&](std::uint64_t request, std::uint32_t percent) {
    Answers::Asked asked{Answers::Asked::What::kThrottle, 0, 0};
    asked.percent = percent;
    promises.answers().asks(1, request, asked);
    node::Reply reply;
    reply.request = request;
    promises.answers().answers(1, reply);
  };
  asks(7, 0);
  promises.answers().limits(0, *world.machine(0).find(0), 0);
  EXPECT_FALSE(broke(promises, "throttle-stands"));
  promises.answers().limits(0, *world.machine(0).find(0), 500'000);
  EXPECT_TRUE(broke(promises, "throttle-stands"));
  EXPECT_FALSE(broke(promises, "as-answered"));
  asks(8, 50);
  EXPECT_TRUE(broke(promises, "as-answered"));
}

TEST_F(People, WhoIsToldThatItIsDrainedHasNoJobLeft) {
  const char* const text =
      "seed 4\nnodes 3\nseconds 100\njob at 3s on 0 threads 1\njob at 4s on 0 threads 1\n"
      "person at 30s drain on 0 for 40s\n";
  World world(scenario_of(text), QueueKind::kHeap);
  world.run_until(seconds(25));
  {
    Promises promises{world};
    promises.answers().asks(0, 7, {Answers::Asked::What::kDrain, 0, 0});
    node::Reply reply;
    reply.request = 7;
    promises.answers().answers(0, reply);
    EXPECT_TRUE(broke(promises, "drained"));
  }
  world.run_until(seconds(65));
  EXPECT_TRUE(world.node(0)->draining());
  EXPECT_NE(world.runs_at(0), 0U);
  EXPECT_NE(world.runs_at(1), 0U);
  world.run_until(seconds(100));
  EXPECT_FALSE(world.node(0)->draining());
  EXPECT_EQ(world.counts().drains, 1U);
  EXPECT_TRUE(world.promises().violations().empty());
}

}  // namespace
}  // namespace sim
