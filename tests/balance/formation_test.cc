// How a node takes a proposal and its withdrawal (design.md §3: an acceptance is durable and may
// lapse only before form).
#include <gtest/gtest.h>

#include "balance/balance.h"
#include "balance/limits.h"
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
  explicit Third(const Recovered& records = {})
      : core(Config{node(3), StoreId{{103}}, base::Incarnation{1}}, base::Rng(1), records) {}
  Balance core;
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

ViewChanged view_of(std::initializer_list<std::uint8_t> nodes) {
  ViewChanged view;
  for (const std::uint8_t n : nodes) {
    NodeLoad load;
    load.id = node(n);
    load.live = true;
    view.nodes.push_back(load);
  }
  return view;
}

TEST(Formation, AProposalThatNamesANodeThatNobodySeesIsRefused) {
  for (const bool seen : {true, false}) {
    SCOPED_TRACE(seen);
    Third third;
    (void)third.core.step(third.now, seen ? view_of({1, 2, 3}) : view_of({1, 3, 4}));
    const Actions said = third.hear(wire::Propose{third.proposal, third.roles});
    EXPECT_EQ(all_of<Persist>(said).size(), seen ? 1U : 0U);
  }
}

// A member that never confirms must not fill the others' tables.
TEST(Formation, WhoOwesTooManyGetsNoSeatHere) {
  for (const std::size_t owed : {kLingeringByOneMax - 1, kLingeringByOneMax}) {
    SCOPED_TRACE(owed);
    Recovered records;
    for (std::size_t i = 0; i < owed; ++i) {
      LingerRecord record;
      record.stored.form.members = {{node(1), StoreId{{101}}, Seat::kSource},
                                    {node(3), StoreId{{103}}, Seat::kCoordinator},
                                    {node(static_cast<std::uint8_t>(100 + i)), {}, Seat::kSink}};
      record.outcome.job = JobId{{99}};
      record.outcome.epoch = Epoch{2};
      records[linger_key(triad_id_of(record.stored.form))] = encode(record);
    }
    Third third(records);
    (void)third.core.step(third.now, Tick{});
    EXPECT_EQ(third.core.lingering(), owed);
    const Actions said = third.hear(wire::Propose{third.proposal, third.roles});
    EXPECT_EQ(all_of<Persist>(said).empty(), owed == kLingeringByOneMax);
  }
}

// One of the three invents another's acceptance, has its form stored here, and falls silent.
struct Trapped : Third {
  FormRecord form;
  Trapped() {
    Actions said = hear(wire::Propose{proposal, roles});
    said = core.step(now, Persisted{all_of<Persist>(said)[0].id});
    form.cause = roles.cause;
    form.job = roles.job;
    form.members = {{node(1), StoreId{{101}}, Seat::kSource},
                    {node(3), StoreId{{103}}, Seat::kCoordinator},
                    {node(2), StoreId{{99}}, Seat::kSink}};
    said = hear(wire::Form{proposal, form});
    for (const Persist& write : all_of<Persist>(said)) (void)core.step(now, Persisted{write.id});
    EXPECT_TRUE(core.seat());
  }
  void go_on(base::Duration time) {
    const base::Time end = now + time;
    while (core.next_deadline() <= end) {
      now = std::max(now, core.next_deadline());
      Actions said = core.step(now, Tick{});
      for (std::size_t i = 0; i < said.size(); ++i) {
        const auto* write = std::get_if<Persist>(&said[i]);
        if (write == nullptr) continue;
        const Persisted persisted{write->id};
        for (Action& more : core.step(now, persisted)) said.push_back(std::move(more));
      }
      now += base::Duration(1);
    }
    now = end;
  }
};

TEST(Formation, ASeatWhereNothingIsEverDecidedIsLeft) {
  Trapped trapped;
  trapped.go_on(kSeatQuiet - std::chrono::seconds(1));
  EXPECT_TRUE(trapped.core.seat());
  trapped.go_on(std::chrono::seconds(2));
  EXPECT_FALSE(trapped.core.seat());
  EXPECT_EQ(trapped.core.lingering(), 0U);
}

TEST(Formation, AMemberWithAnotherStoreThanTheFormNamesFreesTheSeat) {
  Trapped trapped;
  const wire::Gone gone{triad_id_of(trapped.form), false};
  const Received said{node(2), wire::encode({StoreId{{102}}, gone})};
  for (const Persist& write : all_of<Persist>(trapped.core.step(trapped.now, said))) {
    (void)trapped.core.step(trapped.now, Persisted{write.id});
  }
  EXPECT_FALSE(trapped.core.seat());
}

}  // namespace
}  // namespace balance
