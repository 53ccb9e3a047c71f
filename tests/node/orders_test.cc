// Orders between nodes: said again, carried out once.
#include <gtest/gtest.h>

#include <algorithm>

#include "fixture.h"
#include "node/limits.h"

namespace node::testing {
namespace {

TEST(Node, AnOrderThatIsLostIsSaidAgainAndCarriedOutOnce) {
  int answered = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed, nodes(2));
    f.world.loss_permille = 500;  // of orders and answers alike
    const auto asked = kill(f.world, 1, 0, f.job);
    EXPECT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 30s));
    ASSERT_TRUE(f.world.answered(asked));
    if (f.world.replies(asked).back().exit_code == 4) continue;  // all were lost: it was said
    EXPECT_EQ(f.world.replies(asked).back().exit_code, 0);
    EXPECT_EQ(f.world.signals(), 1U);
    f.settle();
    ++answered;
  }
  EXPECT_GE(answered, 12) << "said once, five of twenty would be answered";
}

TEST(Node, AHostThatDoesNotAnswerIsSaid) {
  Fixture f(21, nodes(3));
  f.world.crash(0, 300s);
  const auto asked = kill(f.world, 1, 0, f.job);
  f.world.run(kOrderSilence + 1s);
  ASSERT_TRUE(f.world.answered(asked));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 4);
  EXPECT_EQ(f.world.replies(asked).back().sentence, "n1 does not answer");
}

// A move takes as long as it takes: its host answers meanwhile.
TEST(Node, AnOrderUnderWayIsWaitedFor) {
  Fixture f(22, nodes(3));
  f.world.operation_delay = 20s;
  const auto asked = migrate(f.world, 1, 0, f.job, 2);
  f.world.run(kOrderSilence + 3s);
  EXPECT_FALSE(f.world.answered(asked));
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 120s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 0) << f.world.replies(asked).back().sentence;
}

// It may have been carried out before: a signal is not sent twice.
TEST(Node, ARestartedHostRefusesAnOrderThatIsOlderThanItself) {
  Fixture f(23, nodes(2));
  f.world.crash(0, 3s);
  const auto asked = kill(f.world, 1, 0, f.job);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 30s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 1);
  EXPECT_EQ(f.world.signals(), 0U);
  const auto again = kill(f.world, 1, 0, f.job);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(again); }, 30s));
  EXPECT_EQ(f.world.replies(again).back().exit_code, 0);
  EXPECT_EQ(f.world.signals(), 1U);
}

// Answers that were lost are asked for again: what others order meanwhile must not push them out.
TEST(Node, OrdersOfOthersDoNotMakeAHostForgetWhatItDid) {
  Fixture f(25, nodes(3));
  const Order order{7, Verb::kKill, f.job, 1000, 15, {}, 0};
  const auto give = [&](std::size_t from, const Order& said) {
    return f.world.node(0)->step(f.world.now(), MessageIn{f.world.id(from), encode(said)});
  };
  const auto signals = [](const Actions& actions) {
    return std::count_if(actions.begin(), actions.end(), [](const Action& action) {
      return std::holds_alternative<SignalJob>(action);
    });
  };
  const Actions first = give(1, order);
  ASSERT_EQ(signals(first), 1);
  for (const Action& action : first) {
    if (const auto* signal = std::get_if<SignalJob>(&action)) {
      (void)f.world.node(0)->step(f.world.now(), Signalled{signal->token, true, {}});
    }
  }
  for (std::uint64_t i = 0; i <= kOrdersKeptMax; ++i) {
    const Order flood{100 + i, Verb::kKill, base::JobId{{99}}, 1000, 15, {}, 0};
    (void)give(1, flood);
    (void)give(2, flood);
  }
  EXPECT_EQ(signals(give(1, order)), 0);
}

}  // namespace
}  // namespace node::testing
