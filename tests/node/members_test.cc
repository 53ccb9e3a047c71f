// Where the others are that a node has to do with, also those that its view does not show: in a
// large mesh a view is a sample, and lets members go.
#include <gtest/gtest.h>

#include "fixture.h"
#include "node/limits.h"
#include "node/records.h"

namespace node::testing {
namespace {

Whereabouts stranger(std::uint8_t number) {
  return {base::NodeId{{number, 1}}, base::Endpoint::v4({10, 1, 0, number}, 7333)};
}

Actions hear(World& world, const Whereabouts& from, const Message& message, std::size_t node = 0) {
  return world.node(node)->step(world.now(), MessageIn{from.node, encode(message), from.at});
}

void hear_many_others(World& world, std::size_t node = 0) {
  for (std::size_t i = 1; i <= kCallersMax; ++i) {
    (void)hear(world, stranger(static_cast<std::uint8_t>(100 + i)), OutputAck{JobId{{9}}, {}},
               node);
  }
}

TEST(Members, WhoeverCallsIsAnsweredWhereHeCalledFrom) {
  World world(31, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  const Actions actions = hear(world, stranger(1), Here{JobId{{9}}, base::Epoch{3}, 1});
  const auto answer = std::find_if(actions.begin(), actions.end(), [](const Action& action) {
    return std::holds_alternative<SendMessage>(action);
  });
  ASSERT_NE(answer, actions.end());
  EXPECT_EQ(std::get<SendMessage>(*answer).to, stranger(1).node);
  EXPECT_EQ(std::get<SendMessage>(*answer).addresses, std::vector{stranger(1).at});
  hear_many_others(world);
  EXPECT_TRUE(world.node(0)->addresses_of(stranger(1).node).empty()) << "the oldest goes";
}

TEST(Members, HomeKeepsWhereTheHostOfItsJobIs) {
  Fixture f(32, nodes(2));
  const auto moved = migrate(f.world, 0, 0, f.job, 1);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
  f.world.run(5s);
  const Whereabouts host = stranger(1);
  const auto says = [&] { return hear(f.world, host, Here{f.job, base::Epoch{50}, 2}); };
  (void)hear(f.world, {f.world.id(1), {}}, Moved{f.job, base::Epoch{50}, host.node});
  f.world.run(1s);
  StoredRecords stored;
  for (const Action& action : says()) {
    const auto* persist = std::get_if<Persist>(&action);
    if (persist == nullptr) continue;
    for (const auto& change : persist->changes) stored[change.key] = *change.value;
  }
  EXPECT_EQ(met_of(stored), std::deque{host}) << "over a restart";
  hear_many_others(f.world);
  EXPECT_EQ(f.world.node(0)->addresses_of(host.node), std::vector{host.at});
  // It tells where it is now.
  const base::Endpoint elsewhere = stranger(2).at;
  (void)hear(f.world, {host.node, elsewhere}, Here{f.job, base::Epoch{50}, 2});
  hear_many_others(f.world);
  EXPECT_EQ(f.world.node(0)->addresses_of(host.node), std::vector{elsewhere});
}

// Its own view told the source where they are, and then did not show them any more.
TEST(Members, ATriadOutlivesThatViewsLetItsMembersGo) {
  Fixture f(33, nodes(3));
  const auto moved = migrate(f.world, 0, 0, f.job, 1);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
  for (std::size_t i = 0; i < 3; ++i) {
    Node& node = *f.world.node(i);
    (void)node.step(f.world.now(), WallClock{base::WallTime{3'000'000'000}});  // certificates end
    (void)node.step(f.world.now() + 2min, Tick{});
    ASSERT_EQ(node.status().nodes.size(), 1U) << i;
    hear_many_others(f.world, i);
    for (std::size_t other = 0; other < 3; ++other) {
      if (other != i) {
        EXPECT_FALSE(node.addresses_of(f.world.id(other)).empty()) << i << " of " << other;
      }
    }
  }
}

}  // namespace
}  // namespace node::testing
