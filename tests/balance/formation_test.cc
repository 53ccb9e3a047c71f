// How a node takes a proposal and its withdrawal (design.md §3: an acceptance is durable and may
// lapse only before form).
#include <gtest/gtest.h>

#include "balance/balance.h"
#include "balance/wire.h"

namespace balance {
namespace {

NodeId node(std::uint8_t n) { return NodeId{{n}}; }

template <typename T>
std::vector<T> all_of(const Actions& actions) {
  std::vector<T> found;
  for (const Action& action : actions) {
    if (const auto* one = std::get_if<T>(&action)) found.push_back(*one);
  }
  return found;
}

// The third of a triad that `node(1)` proposes.
struct Third {
  Balance core{Config{node(3), StoreId{{103}}, base::Incarnation{1}}, base::Rng(1), {}};
  base::Time now{std::chrono::hours(1)};
  base::ProposalId proposal{{7}};
  Roles roles{Cause::kPerson, node(1), node(2), node(3), JobId{{42}}};

  Actions hear(const wire::Body& body) {
    return core.step(now, Received{node(1), wire::encode({StoreId{{101}}, body})});
  }
  static bool accepts(const Actions& actions) {
    for (const Send& send : all_of<Send>(actions)) {
      const auto message = wire::decode(send.bytes);
      const auto* answer = message ? std::get_if<wire::Answer>(&message->body) : nullptr;
      if (answer != nullptr && answer->ok) return true;
    }
    return false;
  }
};

TEST(Formation, AnAcceptanceIsAnsweredOnceItIsDurable) {
  Third third;
  const auto stored = all_of<Persist>(third.hear(wire::Propose{third.proposal, third.roles}));
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_TRUE(Third::accepts(third.core.step(third.now, Persisted{stored[0].id})));
}

TEST(Formation, AWithdrawalThatComesBeforeTheAcceptanceIsDurableCounts) {
  Third third;
  const auto stored = all_of<Persist>(third.hear(wire::Propose{third.proposal, third.roles}));
  ASSERT_EQ(stored.size(), 1U);
  EXPECT_TRUE(third.hear(wire::Cancel{third.proposal}).empty()) << "the write is under way";
  const Actions after = third.core.step(third.now, Persisted{stored[0].id});
  EXPECT_FALSE(Third::accepts(after));
  const auto erased = all_of<Persist>(after);
  ASSERT_EQ(erased.size(), 1U) << "else it is held until it lapses, and this node sits idle";
  ASSERT_EQ(erased[0].changes.size(), 1U);
  EXPECT_FALSE(erased[0].changes[0].value.has_value());
  (void)third.core.step(third.now, Persisted{erased[0].id});
  // Free for the next one at once; the withdrawn proposal never comes back.
  EXPECT_TRUE(all_of<Persist>(third.hear(wire::Propose{third.proposal, third.roles})).empty());
  EXPECT_EQ(all_of<Persist>(third.hear(wire::Propose{base::ProposalId{{8}}, third.roles})).size(),
            1U);
}

TEST(Formation, OnlyTheProposerWithdrawsOnlyHisProposal) {
  Third third;
  const auto stored = all_of<Persist>(third.hear(wire::Propose{third.proposal, third.roles}));
  ASSERT_EQ(stored.size(), 1U);
  (void)third.hear(wire::Cancel{base::ProposalId{{8}}});
  (void)third.core.step(
      third.now, Received{node(2), wire::encode({StoreId{{102}}, wire::Cancel{third.proposal}})});
  EXPECT_TRUE(Third::accepts(third.core.step(third.now, Persisted{stored[0].id})));
}

}  // namespace
}  // namespace balance
