// The world repeats itself to the bit, faults really happen, and broken promises are seen.
#include "sim/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/crypto.h"
#include "sim/generate.h"
#include "sim/run.h"
#include "sim/scenario_text.h"

namespace sim {
namespace {

class Worlds : public ::testing::Test {
 protected:
  Worlds() { EXPECT_TRUE(base::crypto::init().ok()); }
};

Scenario small(std::uint64_t seed) {
  return generate({seed, 0, std::chrono::seconds(60), FaultMode::kSwarm});
}

TEST_F(Worlds, ARunRepeatedWithEitherQueueHasTheSameTrace) {
  std::string last;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    const Outcome first = run_scenario(small(seed), {});
    const Outcome again = run_scenario(small(seed), {});
    const Outcome other = run_scenario(small(seed), {QueueKind::kCalendar, nullptr, false});
    EXPECT_EQ(first.trace_hash, again.trace_hash);
    EXPECT_EQ(first.trace_hash, other.trace_hash);
    EXPECT_EQ(first.counts.events, other.counts.events);
    EXPECT_NE(first.trace_hash, last);
    last = first.trace_hash;
  }
}

TEST_F(Worlds, WhoStopsARunHasItsFiguresSoFar) {
  const Outcome whole = run_scenario(small(3), {});
  EXPECT_FALSE(whole.cut_off);
  RunOptions options;
  options.stopped = [looks = 0]() mutable { return ++looks > 200; };
  const Outcome cut = run_scenario(small(3), options);
  EXPECT_TRUE(cut.cut_off);
  EXPECT_FALSE(cut.failed());
  EXPECT_EQ(cut.simulated, std::chrono::seconds(20));
  EXPECT_GT(cut.counts.events, 0U);
  EXPECT_LT(cut.counts.events, whole.counts.events);
  options.stopped = [] { return false; };
  EXPECT_EQ(run_scenario(small(3), options).trace_hash, whole.trace_hash);
}

TEST_F(Worlds, BothCryptographiesCarryTheProtocol) {
  const auto world = parse_scenario(
      "seed 5\nnodes 4\nseconds 40\nrate loss 0.1\nrate duplicate 0.1\n"
      "job at 3s on 0 threads 6 work 30s output 100\nfault at 20s crash node 1 for 3s\n");
  ASSERT_TRUE(world) << world.error().detail;
  Scenario real = *world;
  real.real_crypto = true;
  const Outcome fast_run = run_scenario(*world, {});
  const Outcome real_run = run_scenario(real, {});
  EXPECT_FALSE(fast_run.failed());
  EXPECT_FALSE(real_run.failed());
  EXPECT_GT(fast_run.counts.events, 100U);
  EXPECT_GT(real_run.counts.events, 100U);
  EXPECT_NE(fast_run.trace_hash, real_run.trace_hash);
}

TEST_F(Worlds, EveryKindOfFaultHappens) {
  FaultCounts sum{};
  for (std::uint64_t seed = 1; seed <= 250; ++seed) {
    const Outcome outcome = run_scenario(small(seed), {QueueKind::kHeap, nullptr, false});
    for (std::size_t kind = 0; kind < kFaultKinds; ++kind) sum[kind] += outcome.faults[kind];
  }
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    const auto fault = static_cast<Fault>(kind);
    // These need a vote to be refused, or a dump of many seconds, which is rare in a minute.
    const bool rare = fault == Fault::kLieVotes || fault == Fault::kLieOutcomes ||
                      fault == Fault::kDumpSlow || fault == Fault::kTornCrash ||
                      fault == Fault::kCopyDies || fault == Fault::kThawSlow;
    if (!rare) {
      EXPECT_GT(sum[kind], 0U) << fault_name(fault);
    }
  }
}

// Above gossip::kViewMax a view is a sample, and a triad's members are strangers to each other.
TEST_F(Worlds, JobsMoveInAMeshOfWhichNobodyKnowsTheWhole) {
  const auto world = parse_scenario(
      "seed 3\nnodes 270\nseconds 60\nall cpus 4 memory 8G\n"
      "job at 5s on 0 threads 2 work 400s output 1000\n"
      "job at 6s on 0 threads 2 work 400s output 1000\n"
      "job at 7s on 0 threads 2 work 400s output 1000\n"
      "job at 8s on 0 threads 2 work 400s output 1000\nexpect commits >= 1\n");
  ASSERT_TRUE(world) << world.error().detail;
  const Outcome outcome = run_scenario(*world, {});
  EXPECT_FALSE(outcome.failed());
  EXPECT_GE(outcome.counts.commits, 1U);
}

TEST_F(Worlds, AJobMovesFromTheLoadedNodeAndItsOutputIsWhole) {
  const auto world = parse_scenario(
      "seed 3\nnodes 3\nseconds 200\nsettle 240\nall cpus 2 memory 8G\n"
      "job at 5s on 0 threads 1 work 400s output 1000\n"
      "job at 5s on 0 threads 1 work 400s output 1000\n"
      "job at 6s on 0 threads 1 work 400s output 1000\nexpect commits >= 1\nexpect lost == 0\n");
  ASSERT_TRUE(world) << world.error().detail;
  const Outcome outcome = run_scenario(*world, {});
  for (const Violation& broken : outcome.violations) {
    ADD_FAILURE() << broken.promise << " at n" << broken.node << ": " << broken.detail;
  }
  for (const std::string& unmet : outcome.unmet) ADD_FAILURE() << unmet;
}

TEST_F(Worlds, AJobThatIsSentBackAtOnceIsAPingPong) {
  const auto world = parse_scenario(
      "seed 3\nnodes 3\nseconds 120\njob at 5s on 0 output 100\n"
      "person at 20s migrate 0 to 1\nperson at 50s migrate 0 to 0\n"
      "expect commits == 2\nexpect ping-pongs == 1\n");
  ASSERT_TRUE(world) << world.error().detail;
  for (const std::string& unmet : run_scenario(*world, {}).unmet) ADD_FAILURE() << unmet;
}

// In pieces, as progress is told, nothing is different.
TEST_F(Worlds, ARunInPiecesHasTheSameTrace) {
  const Scenario scenario = small(3);
  const Trace whole = [&] {
    World world(scenario, QueueKind::kHeap);
    world.run_until(scenario.faulty);
    return world.trace();
  }();
  World pieces(scenario, QueueKind::kHeap);
  while (pieces.elapsed() < scenario.faulty) {
    pieces.run_until(std::min(pieces.elapsed() + std::chrono::milliseconds(100), scenario.faulty));
  }
  EXPECT_TRUE(pieces.trace() == whole);
}

TEST_F(Worlds, FewTicksComeBeforeTheDeadline) {
  const auto parsed = parse_scenario("seed 3\nnodes 5\nseconds 100\n");
  ASSERT_TRUE(parsed) << parsed.error().detail;
  World world(*parsed, QueueKind::kHeap);
  world.run_until(parsed->faulty);
  EXPECT_GT(world.counts().early_ticks, 0U);
  EXPECT_LT(world.counts().early_ticks * 8, world.counts().ticks);
}

TEST_F(Worlds, InALargeWorldTheViewsOfAllAreReadInTurn) {
  const auto parsed = parse_scenario("seed 3\nnodes 70\nseconds 200\n");
  ASSERT_TRUE(parsed) << parsed.error().detail;
  std::set<std::uint32_t> read;
  World world(*parsed, QueueKind::kHeap);
  while (world.elapsed() < parsed->faulty) {
    world.run_until(world.elapsed() + std::chrono::seconds(4));
    for (const std::uint32_t host : world.promises().watched()) read.insert(host);
  }
  EXPECT_EQ(read.size(), 70U);
  EXPECT_LT(world.promises().watched().size(), 70U);
  EXPECT_TRUE(world.promises().violations().empty());
}

TEST_F(Worlds, OutputIsReadInPiecesAsItIsWritten) {
  base::Bytes bytes(150'000);
  fill_output(64'000, bytes);
  for (std::size_t i = 0; i < bytes.size(); i += 97) ASSERT_EQ(bytes[i], output_byte(64'000 + i));
  EXPECT_TRUE(is_output(64'000, bytes));
  bytes[149'999] ^= 1;
  EXPECT_FALSE(is_output(64'000, bytes));
}

// A canary: a world whose promise is broken on purpose must be seen to fail.
TEST_F(Worlds, ABrokenPromiseIsSeen) {
  const auto parsed = parse_scenario("seed 3\nnodes 2\nseconds 20\nexpect commits >= 1000\n");
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(run_scenario(*parsed, {}).failed());
  World world(*parsed, QueueKind::kHeap);
  world.run_until(std::chrono::seconds(1));
  world.promises().broke("one-runs", 0, "a canary");
  EXPECT_EQ(world.promises().violations().size(), 1U);
  const auto at = world.elapsed();
  world.run_until(std::chrono::seconds(10));
  EXPECT_GE(world.elapsed(), at);
}

}  // namespace
}  // namespace sim
