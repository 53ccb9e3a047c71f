// A mesh that is larger than a full view: samples, who follows whom, and what that costs.
#include <gtest/gtest.h>

#include <cstdio>

#include "gossip_world.h"

namespace gossip {
namespace {

constexpr std::size_t kNodes = 270;

// Those whose view has `whom`.
std::vector<std::size_t> holders(World& world, std::size_t whom) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < world.size(); ++i) {
    if (i != whom && world.box(i).up && world.seen(i, whom) != nullptr) out.push_back(i);
  }
  return out;
}

void expect_a_change_to_reach_its_holders(World& world) {
  const auto hold = holders(world, 7);
  EXPECT_GE(hold.size(), kSampleSize / 2);
  world.set_fields(7, [](DigestFields& fields) { fields.jobs = 77; });
  world.run(1s);
  std::size_t know = 0;
  for (const std::size_t i : hold) {
    const NodeView* seen = world.seen(i, 7);
    if (seen == nullptr || seen->fields.jobs == 77) ++know;
  }
  EXPECT_GE(know, hold.size() * 9 / 10) << "at once; the rest when it is their turn";
}

void expect_a_newcomer_to_begin_with_a_sample(World& world) {
  const std::size_t at = world.add();
  world.start(at);
  world.seed(at, 3);
  std::size_t largest = 0;
  for (int i = 0; i < 50; ++i) {
    world.run(100ms);
    largest = std::max(largest, world.box(at).core->view().size());
  }
  EXPECT_TRUE(world.box(at).core->sampled());
  EXPECT_LE(largest, kSampleSize + 1);
  EXPECT_GE(world.count(at, State::kAlive), kSampleLow);
  world.run(60s);
  EXPECT_GE(holders(world, at).size(), kSampleSize / 4) << "others take it into theirs";
}

void expect_a_silent_one_to_be_found_out(World& world) {
  const auto hold = holders(world, 11);
  world.stop(11);
  const base::Duration turn = kSampleSize * kTendInterval;
  world.run(turn * 5 / 4 + kSilenceMax + 5s);
  for (const std::size_t i : hold) {
    const NodeView* seen = world.seen(i, 11);
    if (seen != nullptr) {
      EXPECT_EQ(seen->state, State::kDead) << i;
    }
  }
}

void expect_certificates_of_no_use_to_go(World& world) {
  for (std::size_t i = 0; i < 200; ++i) {
    world.step(5, MemberIntroduced{world.mesh.chain(1000 + i), base::Endpoint{}});
  }
  const Gossip& core = *world.box(5).core;
  EXPECT_EQ(core.roster().size(), kSampleRosterMax);
  EXPECT_NE(core.roster().find(Mesh::id(1199)), nullptr) << "a new one has its place";
  EXPECT_GT(world.box(5).forgotten, 0U);
  for (const NodeView& one : core.view()) {
    if (one.id != core.self()) {
      EXPECT_NE(core.roster().find(one.id), nullptr);
    }
  }
}

TEST(Sample, WhatIsNewReachesThoseWhoHoldItAndAnIdleMeshIsAlmostSilent) {
  World world(30);
  world.pool = std::make_shared<Pool>();
  world.grow(kNodes, 5ms);
  world.run(90s);
  std::size_t sampled = 0;
  for (std::size_t i = 0; i < kNodes; ++i) sampled += world.box(i).core->sampled() ? 1U : 0U;
  EXPECT_EQ(sampled, kNodes) << "whoever meets a sample has one";
  for (std::size_t i = 0; i < kNodes; ++i) world.box(i).deaths = 0;

  world.bytes = 0;
  constexpr int kSeconds = 30;
  world.run(std::chrono::seconds(kSeconds));
  const std::uint64_t per_node = world.bytes / kNodes / kSeconds;
  std::printf("%zu nodes with samples idle: %llu B/s a node\n", kNodes,
              static_cast<unsigned long long>(per_node));
  EXPECT_LE(per_node, 700U);
  expect_a_change_to_reach_its_holders(world);
  expect_a_newcomer_to_begin_with_a_sample(world);
  for (std::size_t i = 0; i < kNodes; ++i) EXPECT_EQ(world.box(i).deaths, 0U) << i;
  expect_certificates_of_no_use_to_go(world);
  expect_a_silent_one_to_be_found_out(world);
}

}  // namespace
}  // namespace gossip
