// Many cores in a small world: how news spreads, what silence means, and that nothing oscillates.
// Figures aimed at: anchors.md, "Gossip".
#include <gtest/gtest.h>

#include <cstdio>

#include "gossip_world.h"

namespace gossip {
namespace {

TEST(Mesh, TwoNodesFindEachOtherByASeed) {
  World world(1);
  world.grow(2);
  EXPECT_LE(world.run_until([&] { return world.all_know(2); }, 5s), 1s);
  const NodeView* seen = world.seen(0, 1);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->name, "n1");
  EXPECT_EQ(seen->fields.cpus_milli, 4000);
  EXPECT_EQ(seen->endpoint, Mesh::endpoint(1));
  EXPECT_EQ(seen->heard, Heard::kDirect);
}

TEST(Mesh, WhoWasMetIsGreetedAgainWhenTheFirstWordsWereLost) {
  World world(2);
  world.network.loss_percent = 100;
  world.grow(2);
  world.run(8s);  // the last contact was at 7 s, the next one is at 15 s
  const std::size_t contacts = world.box(1).contacts;
  world.network.loss_percent = 0;
  EXPECT_LE(world.run_until([&] { return world.all_know(2); }, 20s), 7s);
  EXPECT_EQ(world.box(1).contacts, contacts);
}

TEST(Mesh, SixtyFourKnowSixtyFourWithinTwoSecondsOfTheLastJoin) {
  for (std::uint64_t seed = 100; seed < 103; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    world.grow(64, 20ms);
    const base::Duration took = world.run_until([&] { return world.all_know(64); }, 20s);
    std::printf("64 nodes all known after %.2f s\n", static_cast<double>(took.count()) / 1e6);
    EXPECT_LE(took, 2s);
  }
}

TEST(Mesh, AnIdleMeshIsAlmostSilent) {
  World world(3);
  world.grow(64, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(64); }, 20s), 20s);
  world.run(40s);  // newcomers' certificates have stopped travelling
  world.bytes = 0;
  world.datagrams = 0;
  constexpr int kSeconds = 600;  // two renewals of every digest
  world.run(std::chrono::seconds(kSeconds));
  const std::uint64_t per_node = world.bytes / 64 / kSeconds;
  std::printf("64 nodes idle: %llu B/s and %.2f datagrams/s a node\n",
              static_cast<unsigned long long>(per_node),
              static_cast<double>(world.datagrams) / 64 / kSeconds);
  EXPECT_LE(per_node, 450U);
  for (std::size_t i = 0; i < world.size(); ++i) {
    EXPECT_EQ(world.box(i).suspects + world.box(i).deaths, 0U);
    EXPECT_EQ(world.count(i, State::kAlive), 64U);
  }
}

TEST(Mesh, AChangeIsKnownToAllAtOnce) {
  World world(4);
  world.grow(64, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(64); }, 20s), 20s);
  world.run(40s);
  std::vector<base::Duration> times;
  std::uint64_t bytes = 0;
  std::uint64_t datagrams = 0;
  constexpr std::uint32_t kRounds = 15;
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    const std::size_t origin = round * 4;
    world.bytes = 0;
    world.datagrams = 0;
    world.set_fields(origin, [&](DigestFields& fields) { fields.jobs = round; });
    times.push_back(world.run_until(
        [&] {
          for (std::size_t i = 0; i < 64; ++i) {
            if (world.seen(i, origin)->fields.jobs != round) return false;
          }
          return true;
        },
        10s));
    bytes += world.bytes;
    datagrams += world.datagrams;
    world.run(500ms);
  }
  std::sort(times.begin(), times.end());
  std::printf("a change known to all 64: median %lld ms, worst %lld ms; %.1f datagrams a node\n",
              static_cast<long long>(times[kRounds / 2] / 1ms),
              static_cast<long long>(times.back() / 1ms),
              static_cast<double>(datagrams) / kRounds / 64);
  EXPECT_LE(times[kRounds / 2], 150ms);
  EXPECT_LE(times.back(), 5s);  // one that the rumor missed waits for anti-entropy
}

TEST(Mesh, LossDuplicationAndReorderingDelayButDoNotMislead) {
  World world(5);
  world.network = {200us, 30ms, 10, 10};
  world.grow(24, 50ms);
  EXPECT_LE(world.run_until([&] { return world.all_know(24); }, 30s), 15s);
  world.run(60s);
  for (std::size_t i = 0; i < world.size(); ++i) EXPECT_EQ(world.box(i).deaths, 0U) << i;
  world.set_fields(3, [](DigestFields& fields) { fields.trit = 1; });
  EXPECT_LE(world.run_until(
                [&] {
                  for (std::size_t i = 0; i < 24; ++i) {
                    if (world.seen(i, 3)->fields.trit != 1) return false;
                  }
                  return true;
                },
                30s),
            15s);
  EXPECT_GT(world.total(Drop::kReplayed), 0U);
  EXPECT_EQ(world.total(Drop::kForged), 0U);
  EXPECT_EQ(world.total(Drop::kMalformed), 0U);
}

TEST(Mesh, ASilentNodeIsSuspectAtOnceAndDeadForAll) {
  World world(6);
  world.grow(16, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(16); }, 20s), 20s);
  world.run(5s);
  world.stop(7);
  const auto by_all = [&](std::initializer_list<State> states) {
    for (std::size_t i = 0; i < 16; ++i) {
      if (i == 7) continue;
      const State state = world.seen(i, 7)->state;
      if (std::find(states.begin(), states.end(), state) == states.end()) return false;
    }
    return true;
  };
  const auto suspect = world.run_until(
      [&] {
        return by_all({State::kSuspect, State::kDead});
      },
      30s);
  const auto dead = world.run_until([&] { return by_all({State::kDead}); }, 30s);
  std::printf("silent host: suspect for all after %.2f s, dead for all %.2f s later\n",
              static_cast<double>(suspect.count()) / 1e6, static_cast<double>(dead.count()) / 1e6);
  EXPECT_LE(suspect, 6s);
  EXPECT_LE(dead, 14s);
  for (std::size_t i = 0; i < 16; ++i) {
    if (i != 7) {
      EXPECT_LE(world.box(i).deaths, 1U);
    }
  }
}

TEST(Mesh, ANewIncarnationRefutesAnOldDeath) {
  World world(7);
  world.grow(8, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(8); }, 20s), 20s);
  world.stop(3);
  ASSERT_LE(world.run_until([&] { return world.count(0, State::kDead) == 1; }, 30s), 30s);
  world.run(5s);
  world.start(3);  // it remembers nobody; the others try the dead
  EXPECT_LE(world.run_until([&] { return world.all_know(8); }, 60s), 30s);
  EXPECT_EQ(world.seen(0, 3)->incarnation, base::Incarnation{2});
}

// A handshake showed where it is now; its digest, which names where it was, is all that is known.
TEST(Mesh, WhoMovedAndFellSilentIsTriedWhereItWasMetToo) {
  World world(7);
  world.grow(2);
  ASSERT_LE(world.run_until([&] { return world.all_know(2); }, 20s), 20s);
  world.stop(1);
  const std::size_t moved = world.add_as(1);
  world.box(moved).starts = world.box(1).starts;
  world.start(moved);
  world.blocked = [](std::size_t, std::size_t) { return true; };
  world.step(0, MemberIntroduced{world.mesh.chain(1), Mesh::endpoint(moved), false});
  world.step(moved, MemberIntroduced{world.mesh.chain(0), base::Endpoint{}});
  ASSERT_LE(world.run_until([&] { return world.count(0, State::kDead) == 1; }, 30s), 30s);
  world.run(60s);
  world.blocked = nullptr;
  EXPECT_LE(world.run_until([&] { return world.all_know(2); }, 60s), 15s);
}

TEST(Mesh, APartitionHealsWithoutHelp) {
  World world(8);
  world.grow(16, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(16); }, 20s), 20s);
  for (std::size_t i = 8; i < 16; ++i) world.box(i).side = 1;
  ASSERT_LE(world.run_until(
                [&] {
                  for (std::size_t i = 0; i < 16; ++i) {
                    if (world.count(i, State::kAlive) != 8) return false;
                  }
                  return true;
                },
                60s),
            40s);
  world.run(60s);
  for (std::size_t i = 8; i < 16; ++i) world.box(i).side = 0;
  const auto healed = world.run_until([&] { return world.all_know(16); }, 60s);
  std::printf("16 nodes, halves healed after %.2f s\n", static_cast<double>(healed.count()) / 1e6);
  EXPECT_LE(healed, 10s);
}

TEST(Mesh, WhoCannotBeReachedByOneIsSuspectThereAndDeadNowhere) {
  World world(9);
  world.grow(4, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(4); }, 20s), 20s);
  world.run(3s);
  // 0 and 1 do not reach each other; both reach the rest.
  bool cut = true;
  world.blocked = [&cut](std::size_t from, std::size_t to) { return cut && from + to == 1; };
  ASSERT_LE(world.run_until([&] { return world.seen(0, 1)->state == State::kSuspect; }, 30s), 10s);
  world.run(120s);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(world.box(i).deaths, 0U) << i;
  EXPECT_EQ(world.seen(0, 1)->state, State::kSuspect);
  EXPECT_EQ(world.seen(2, 1)->state, State::kAlive);
  cut = false;
  EXPECT_LE(world.run_until([&] { return world.all_know(4); }, 30s), 10s);
}

TEST(Mesh, ALeavingNodeHasLeftAndIsNotDead) {
  World world(10);
  world.grow(8, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(8); }, 20s), 20s);
  world.step(5, Leave{});
  world.run(50ms);
  world.stop(5);
  EXPECT_LE(world.run_until(
                [&] {
                  for (std::size_t i = 0; i < 8; ++i) {
                    if (i != 5 && world.count(i, State::kLeft) != 1) return false;
                  }
                  return true;
                },
                20s),
            1s);
  world.run(30s);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(world.box(i).deaths, 0U);
  world.start(5);
  world.seed(5, 0);
  EXPECT_LE(world.run_until([&] { return world.all_know(8); }, 30s), 5s);
}

// A salt changes at most once a second; what comes meanwhile is refused, and must not be answered
// by what is refused in turn, least of all where the network doubles packets.
TEST(Mesh, ClonesOfAnIdentityDoNotFloodTheNetwork) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    World world(seed);
    world.network = {20us, 100us, 0, 20};
    world.grow(4, 20ms);
    const std::size_t clone = world.add_as(3);
    world.start(clone);
    world.seed(clone, 0);
    constexpr std::uint64_t kMany = 20'000;
    world.blocked = [&](std::size_t, std::size_t) { return world.datagrams > kMany; };
    world.run(30s);
    EXPECT_LT(world.datagrams, kMany) << "seed " << seed;
  }
}

TEST(Mesh, ClonesOfAnIdentityAreToldOnceAndDoNotOscillate) {
  World world(11);
  world.grow(6, 20ms);
  ASSERT_LE(world.run_until([&] { return world.all_know(6); }, 20s), 20s);
  const std::size_t clone = world.add_as(3);
  world.start(clone);
  world.seed(clone, 0);
  world.run(60s);
  for (std::uint32_t i = 0; i < 20; ++i) {
    world.set_fields(3, [i](DigestFields& fields) { fields.jobs = 100 + i; });
    world.set_fields(clone, [i](DigestFields& fields) { fields.jobs = 200 + i; });
    world.run(1s);
  }
  EXPECT_EQ(world.box(3).conflicts + world.box(clone).conflicts, 1U) << "one of them goes silent";
  const auto jobs = world.seen(0, 3)->fields.jobs;
  for (std::size_t i = 1; i < 6; ++i) {
    if (i != 3) {
      EXPECT_EQ(world.seen(i, 3)->fields.jobs, jobs);
    }
  }
  const auto told = std::count(world.log.errors.begin(), world.log.errors.end(),
                               std::string("identity_conflict"));
  EXPECT_EQ(told, 1);
}

TEST(Mesh, AboveTwoHundredFiftySixViewsAreSamples) {
  World world(12);
  world.grow(300, 5ms);
  world.run(12s);
  std::size_t sampled = 0;
  for (std::size_t i = 0; i < world.size(); ++i) {
    const auto view = world.box(i).core->view();
    EXPECT_LE(view.size(), kViewMax + 1);
    EXPECT_TRUE(world.is_told(i)) << i;
    if (!world.box(i).core->sampled()) continue;
    ++sampled;
    EXPECT_LE(view.size(), kSampleSize + 1);
    EXPECT_GE(world.count(i, State::kAlive), kSampleSize * 9 / 10);
  }
  EXPECT_GE(sampled, 250U);
  std::printf("300 nodes: %zu have samples\n", sampled);
}

TEST(Mesh, ChangesOfTheViewAreToldOneByOne) {
  World world(14);
  world.grow(8, 20ms);
  world.run(2s);
  world.set_fields(2, [](DigestFields& fields) { fields.jobs = 3; });
  world.stop(3);
  world.step(4, Leave{});
  world.run(30s);
  EXPECT_EQ(world.count(0, State::kDead), 1U);
  EXPECT_EQ(world.count(0, State::kLeft), 1U);
  for (const std::size_t i : {0U, 1U, 2U, 5U, 6U, 7U}) EXPECT_TRUE(world.is_told(i)) << i;
}

TEST(Mesh, SameSeedSameBytes) {
  const auto trace = [] {
    World world(13);
    world.network = {200us, 20ms, 10, 10};
    base::crypto::Hasher hasher;
    world.tap = [&hasher](std::size_t, const SendDatagram& datagram) {
      hasher.add(datagram.bytes);
    };
    world.grow(8, 20ms);
    world.run(10s);
    return hasher.finish();
  };
  EXPECT_EQ(trace(), trace());
}

}  // namespace
}  // namespace gossip
