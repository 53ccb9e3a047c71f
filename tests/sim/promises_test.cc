// The promises about agreements can be broken: each is shown a history that breaks it.
#include "sim/promises.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/crypto.h"
#include "gossip/limits.h"
#include "sim/at_rest.h"
#include "sim/scenario_text.h"
#include "sim/world.h"

namespace sim {
namespace {

using balance::group::Append;
using balance::group::AppendReply;
using balance::group::Entry;
using balance::group::LogEnd;
using balance::group::PreVote;
using balance::group::PreVoteReply;
using balance::group::Vote;
using balance::group::VoteReply;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr base::LogIndex kTwo{2};
constexpr base::LogIndex kThree{3};

Scenario scenario_of(const char* text) {
  auto scenario = parse_scenario(text);
  CHECK(scenario.ok());
  return *scenario;
}

// A world, and watchers beside its own.
class PromisesTest : public testing::Test {
 protected:
  static Scenario one_move() {
    CHECK(base::crypto::init().ok());
    return scenario_of(
        "seed 4\nnodes 4\nseconds 60\njob at 5s on 0 threads 1\nperson at 10s migrate 0 to 1\n");
  }

  [[nodiscard]] balance::group::Message message(balance::group::Body body, std::uint64_t term) {
    return {triad, {}, base::Incarnation{1}, base::Term{term}, std::move(body)};
  }
  void says(std::uint32_t host, std::uint32_t to, balance::group::Body body, std::uint64_t term) {
    consensus.says(host, world.id(to), message(std::move(body), term));
  }
  void run_until(const std::function<bool()>& there) {
    for (base::Duration at = world.elapsed(); !there(); at += milliseconds(2)) {
      ASSERT_LT(at, seconds(60));
      world.run_until(at);
    }
  }
  void stores(std::uint32_t host, std::string key, std::optional<base::Bytes> value) {
    node::Persist batch;
    batch.changes.push_back({std::move(key), std::move(value)});
    agreements.stores(host, batch);
  }
  // The watchers beside know of the first triad.
  base::TriadId learn_form() {
    std::string key;
    run_until([&] {
      for (const auto& [name, value] : world.disk(1)) {
        if (name.ends_with("/form")) key = name;
      }
      return !key.empty();
    });
    node::Persist batch;
    batch.changes.push_back({key, world.disk(1).at(key)});
    promises.persists(1, batch);
    return *balance::parse_triad_key(key);
  }
  [[nodiscard]] bool broke(const std::string& promise) const {
    const auto& all = promises.violations();
    return std::any_of(all.begin(), all.end(),
                       [&](const Violation& one) { return one.promise == promise; });
  }

  World world{one_move(), QueueKind::kHeap};
  Promises promises{world};
  Consensus consensus{world, promises};
  Agreements agreements{world, promises};
  base::TriadId triad{{7}};
};

TEST_F(PromisesTest, AnIndexAndATermNameOneEntry) {
  const LogEnd form{base::Term{}, base::LogIndex{1}};
  says(0, 1, Append{form, {}, {Entry{base::Term{1}, {1}}}}, 1);
  says(0, 2, Append{form, {}, {Entry{base::Term{1}, {1}}}}, 1);
  EXPECT_FALSE(broke("one-entry"));
  says(0, 1, Append{form, {}, {Entry{base::Term{1}, {2}}}}, 1);
  EXPECT_TRUE(broke("one-entry"));
}

TEST_F(PromisesTest, WhoConfirmsHoldsWhatTheLeaderTold) {
  says(0, 1, Append{{base::Term{}, base::LogIndex{1}}, {}, {}}, 1);
  says(1, 0, AppendReply{true, {}, base::LogIndex{1}, base::LogIndex{1}}, 1);
  EXPECT_FALSE(broke("log-matching"));
  says(0, 1, Append{{base::Term{}, base::LogIndex{1}}, {}, {Entry{base::Term{1}, {}}}}, 1);
  says(1, 0, AppendReply{true, {}, kTwo, base::LogIndex{1}}, 1);  // and has it not on disk
  EXPECT_TRUE(broke("log-matching"));
}

TEST_F(PromisesTest, NobodyConfirmsInATermWithoutALeader) {
  says(1, 0, AppendReply{true, {}, base::LogIndex{1}, base::LogIndex{1}}, 2);
  EXPECT_TRUE(broke("log-matching"));
}

TEST_F(PromisesTest, WhatIsCommittedWasToldByALeader) {
  says(1, 0, AppendReply{false, {}, base::LogIndex{1}, base::LogIndex{1}}, 1);
  EXPECT_FALSE(broke("commit-proven"));
  says(1, 0, AppendReply{false, {}, base::LogIndex{1}, kThree}, 1);
  EXPECT_TRUE(broke("commit-proven"));
}

// Seed 10895: the disk took until the next leader's term.
TEST_F(PromisesTest, WhatAnEarlierLeaderProvedIsConfirmedInALaterTerm) {
  const LogEnd form{base::Term{}, base::LogIndex{1}};
  run_until([&] { return world.promises().seated(0) != nullptr; });
  triad = world.promises().seated(0)->triad;
  run_until([&] { return world.disk(1).contains(balance::log_key(triad, kTwo)); });
  const auto first = balance::group::decode_entry(world.disk(1).at(balance::log_key(triad, kTwo)));
  ASSERT_TRUE(first.ok());
  const Append told{form, kTwo, {*first}};
  says(0, 1, told, 8);
  says(2, 1, Append{form, base::LogIndex{1}, {*first}}, 9);
  consensus.hears(1, message(told, 8));
  says(1, 2, AppendReply{true, {}, kTwo, kTwo}, 9);
  EXPECT_FALSE(broke("commit-proven"));
  // Who did not hear it cannot know.
  says(3, 2, AppendReply{true, {}, kTwo, kTwo}, 9);
  EXPECT_TRUE(broke("commit-proven"));
}

TEST_F(PromisesTest, NobodyElectsWhoDidNotStandOrEndsEarlier) {
  says(0, 1, PreVote{{base::Term{}, base::LogIndex{1}}}, 3);
  says(1, 0, PreVoteReply{true, base::Term{3}}, 3);
  EXPECT_FALSE(broke("up-to-date"));
  says(0, 1, Vote{{base::Term{}, base::LogIndex{0}}}, 4);
  says(1, 0, VoteReply{true}, 4);
  EXPECT_TRUE(broke("up-to-date"));
}

TEST_F(PromisesTest, WhoHearsALeaderLetsNobodyStand) {
  triad = learn_form();
  const balance::FormRecord& form = *promises.form(triad);
  const balance::Member& candidate = form.members[0];
  const auto wishes = [&] {
    auto wish = message(PreVote{{base::Term{}, base::LogIndex{1}}}, 1);
    wish.store = candidate.store;
    consensus.says(world.host_of(candidate.node), {}, wish);
    consensus.hears(3, wish);
    consensus.says(3, candidate.node, message(PreVoteReply{true, base::Term{1}}, 1));
  };
  consensus.hears(3, message(Append{}, 1));
  world.run_until(world.elapsed() + seconds(1));
  wishes();
  EXPECT_FALSE(broke("pre-vote"));
  Promises others(world);
  Consensus led(world, others);
  node::Persist batch;
  batch.changes.push_back(
      {balance::form_key(triad), balance::encode(balance::StoredForm{{}, {}, form})});
  others.persists(1, batch);
  auto wish = message(PreVote{{base::Term{}, base::LogIndex{1}}}, 1);
  wish.store = candidate.store;
  led.says(world.host_of(candidate.node), {}, wish);
  led.hears(3, message(Append{}, 1));
  led.hears(3, wish);
  led.says(3, candidate.node, message(PreVoteReply{true, base::Term{1}}, 1));
  EXPECT_TRUE(std::any_of(others.violations().begin(), others.violations().end(),
                          [](const Violation& one) { return one.promise == "pre-vote"; }));
}

TEST_F(PromisesTest, DamageThatANodeSeesIsSeen) {
  promises.logs(0, base::LogLevel::kWarn, "record_unreadable");
  EXPECT_TRUE(promises.violations().empty());
  promises.logs(0, base::LogLevel::kError, "record_unreadable");
  EXPECT_TRUE(broke("own-records"));
  promises.logs(0, base::LogLevel::kError, "member_forgot");
  EXPECT_TRUE(broke("forgot"));
}

TEST_F(PromisesTest, NothingBeginsUnchecked) {
  const balance::HandoverId id{triad, world.jobs()[0].id, base::Epoch{2}};
  agreements.says(1, balance::wire::Message{{}, balance::wire::PreflightDone{id, true, {}}});
  agreements.says(0, balance::wire::Message{{}, balance::wire::Prepared{id, {}, true, {}}});
  EXPECT_FALSE(broke("checked"));
  balance::HandoverId other = id;
  other.epoch = base::Epoch{3};
  agreements.says(0, balance::wire::Message{{}, balance::wire::Prepared{other, {}, true, {}}});
  EXPECT_TRUE(broke("checked"));
}

TEST_F(PromisesTest, AnOfficeIsOpenedOnAMajoritysDisks) {
  consensus.takes_office(0, triad, base::Term{1}, {0, 1, 2}, 2);  // two have left, with all of it
  EXPECT_FALSE(broke("in-office"));
  consensus.takes_office(0, triad, base::Term{1}, {0, 1, 2}, 1);
  EXPECT_TRUE(broke("in-office"));
}

TEST_F(PromisesTest, NobodyStaysInOfficeUnanswered) {
  says(0, 1, Append{{base::Term{}, base::LogIndex{1}}, {}, {}}, 1);
  for (int second = 1; second < 60; ++second) {
    world.run_until(seconds(second));
    consensus.stays_in_office(0, triad, base::Term{1});
    const bool patient = second <= 5;
    EXPECT_TRUE(!patient || !broke("quorum")) << second;
  }
  EXPECT_TRUE(broke("quorum"));
}

TEST_F(PromisesTest, AnAnswerThatIsHeardKeepsOneInOffice) {
  says(0, 1, Append{{base::Term{}, base::LogIndex{1}}, {}, {}}, 1);
  for (int second = 1; second < 20; ++second) {
    world.run_until(seconds(second));
    says(1, 0, AppendReply{false, {}, base::LogIndex{1}, base::LogIndex{1}}, 1);
    consensus.hears(0, message(AppendReply{}, 1));
    consensus.stays_in_office(0, triad, base::Term{1});
  }
  EXPECT_FALSE(broke("quorum"));
}

TEST_F(PromisesTest, WhatIsHeardCancelledIsNotAccepted) {
  run_until([&] { return world.disk(1).contains(balance::kAcceptanceKey); });
  const base::Bytes stored = world.disk(1).at(balance::kAcceptanceKey);
  auto acceptance = balance::decode_acceptance(stored);
  ASSERT_TRUE(acceptance.ok());
  node::Persist batch;
  batch.changes.push_back({balance::kAcceptanceKey, stored});
  agreements.decides(1, batch);
  balance::wire::Answer yes;
  yes.proposal = acceptance->proposal;
  yes.ok = true;
  agreements.says(1, balance::wire::Message{{}, yes});
  EXPECT_FALSE(broke("cancel-heard"));
  agreements.hears(1, balance::wire::Message{{}, balance::wire::Cancel{acceptance->proposal}});
  agreements.says(1, balance::wire::Message{{}, yes});
  EXPECT_TRUE(broke("cancel-heard"));
}

TEST_F(PromisesTest, HomeIsToldUntilItConfirms) {
  const auto has_come = [&] {
    if (world.node(1) == nullptr || world.jobs().empty()) return false;
    const node::jobs::Job* job = world.node(1)->jobs().find(world.jobs()[0].id);
    return job != nullptr && job->here;
  };
  run_until(has_come);
  agreements.rescan();
  agreements.hears(1, node::HereAck{world.jobs()[0].id, base::Epoch{1}});
  world.run_until(world.elapsed() + seconds(12));
  agreements.rescan();
  EXPECT_FALSE(broke("home-told"));
  Agreements deaf(world, promises);
  deaf.rescan();
  world.run_until(world.elapsed() + seconds(12));
  deaf.rescan();  // and heard neither a word nor a confirmation
  EXPECT_TRUE(broke("home-told"));
}

TEST_F(PromisesTest, NothingStaysBehindAReplacedEntry) {
  std::string key;
  run_until([&] {
    for (const auto& [name, value] : world.disk(0)) {
      if (name.ends_with("/log/00000003")) key = name;
    }
    return !key.empty();
  });
  key.back() = '2';
  ASSERT_TRUE(world.disk(0).contains(key));
  stores(0, key, world.disk(0).at(key));
  EXPECT_FALSE(broke("log-whole"));
  stores(0, key, balance::group::encode_entry({base::Term{9}, {}}));
  EXPECT_TRUE(broke("log-whole"));
}

TEST_F(PromisesTest, AnAcceptanceStaysUntilSomethingEndsIt) {
  run_until([&] {
    const auto found = world.disk(1).find(balance::kAcceptanceKey);
    return found != world.disk(1).end();
  });
  const std::string key = balance::kAcceptanceKey;
  stores(1, key, world.disk(1).at(key));
  EXPECT_FALSE(broke("one-acceptance"));
  stores(1, key, std::nullopt);
  EXPECT_TRUE(broke("acceptance-kept"));
  // Of a node that has nothing on disk: what was over is accepted again.
  stores(2, key, world.disk(1).at(key));
  if (world.disk(2).contains(key)) return;
  stores(2, key, world.disk(1).at(key));
  EXPECT_TRUE(broke("one-acceptance"));
}

TEST_F(PromisesTest, ASeatIsOfWhatWasAccepted) {
  std::string key;
  run_until([&] {
    for (const auto& [name, value] : world.disk(1)) {
      if (name.ends_with("/form")) key = name;
    }
    return !key.empty();
  });
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    const bool accepted = world.disk(host).contains(balance::kAcceptanceKey);
    if (!accepted && !world.disk(host).contains(key)) stores(host, key, world.disk(1).at(key));
  }
  EXPECT_TRUE(broke("form-accepted"));
}

TEST_F(PromisesTest, WhoSaysThatItThawedHasThawed) {
  const Copy* copy = nullptr;
  run_until([&] {
    const auto& copies = world.machine(0).copies();
    copy = copies.empty() || !copies.front().frozen ? nullptr : &copies.front();
    return copy != nullptr;
  });
  balance::EndRecord record;
  record.state = balance::EndState::kSourceWithdrawn;
  stores(0, balance::end_key(copy->frozen_for), balance::encode(record));
  EXPECT_FALSE(broke("acted"));
  record.acted = true;
  stores(0, balance::end_key(copy->frozen_for), balance::encode(record));
  EXPECT_TRUE(broke("acted"));
}

TEST_F(PromisesTest, AHeldCopyIsKeptUntilTheOriginalRuns) {
  std::optional<balance::HandoverId> held;
  run_until([&] {
    for (const auto& [id, arrival] : world.incoming(1)) {
      const auto end = world.disk(1).find(balance::end_key(id));
      if (arrival.state != Incoming::kHeld || end == world.disk(1).end()) continue;
      auto record = balance::decode_end(end->second);
      if (record && record->state == balance::EndState::kSinkReady) held = id;
    }
    return held.has_value();
  });
  balance::EndRecord record;
  record.state = balance::EndState::kSinkDiscarded;
  stores(1, balance::end_key(*held), balance::encode(record));
  EXPECT_TRUE(broke("held-kept"));
}

TEST_F(PromisesTest, ATriadMovesOneJobAtATime) {
  const base::TriadId formed = learn_form();
  const auto commits = [&](const balance::LogEntry& entry) {
    agreements.commits(1, formed,
                       balance::group::encode_entry({base::Term{1}, balance::encode(entry)}));
  };
  const base::JobId first{{1}};
  commits(balance::BeginEntry{first, base::Epoch{2}, {}});
  commits(balance::OutcomeEntry{first, base::Epoch{2}, balance::Decision::kAbort, {}, {}, {}, 0});
  commits(balance::BeginEntry{first, base::Epoch{3}, {}});
  EXPECT_FALSE(broke("one-handover"));
  commits(balance::BeginEntry{base::JobId{{2}}, base::Epoch{2}, {}});
  EXPECT_TRUE(broke("one-handover"));
}

TEST_F(PromisesTest, HomeDoesNotGoBackToAnOlderEpoch) {
  const base::JobId& job = world.jobs()[0].id;
  world.run_until(seconds(2));
  agreements.knows(0, job, base::Epoch{1});
  agreements.knows(0, job, base::Epoch{3});
  EXPECT_FALSE(broke("home-forward"));
  agreements.knows(0, job, base::Epoch{2});
  EXPECT_TRUE(broke("home-forward"));
}

TEST_F(PromisesTest, ADigestIsRenewedInTime) {
  world.run_until(seconds(400));
  promises.makes_none_since(0, world.now() - gossip::kRenewInterval);
  EXPECT_FALSE(broke("renews"));
  promises.makes_none_since(0, world.now() - gossip::kRenewInterval - seconds(11));
  EXPECT_TRUE(broke("renews"));
}

TEST_F(PromisesTest, TheDeadAreLookedFor) {
  World cut(scenario_of("seed 4\nnodes 3\nseconds 120\nfault at 10s isolate node 2 for 100s\n"),
            QueueKind::kHeap);
  Promises deaf(cut);  // it is not told of the datagrams
  for (int second = 4; second < 100; second += 4) {
    cut.run_until(seconds(second));
    deaf.rescan();
  }
  EXPECT_TRUE(cut.promises().violations().empty());
  const auto& all = deaf.violations();
  EXPECT_TRUE(std::any_of(all.begin(), all.end(),
                          [](const Violation& one) { return one.promise == "tries-dead"; }));
}

// ---- what people are told

TEST_F(PromisesTest, WhoAsksIsAnsweredOnce) {
  Answers answers(world, promises);
  node::Reply reply;
  reply.request = 7;
  world.run_until(seconds(2));
  answers.asks(0, 7, {Answers::Asked::What::kMigrate, 0, kNobody});
  reply.over = false;
  answers.answers(0, reply);
  world.run_until(seconds(140));
  answers.check_at_rest();
  EXPECT_FALSE(broke("answered"));
  world.run_until(seconds(160));
  answers.check_at_rest();
  EXPECT_TRUE(broke("answered"));

  reply.over = true;
  Promises others(world);
  Answers twice(world, others);
  twice.asks(0, 7, {Answers::Asked::What::kMigrate, 0, kNobody});
  twice.answers(0, reply);
  EXPECT_TRUE(others.violations().empty());
  twice.answers(0, reply);
  EXPECT_EQ(others.violations().size(), 1U);
}

TEST_F(PromisesTest, WhatIsAnsweredAsDoneWasDone) {
  Answers answers(world, promises);
  node::Reply reply;
  reply.request = 7;
  answers.asks(0, 7, {Answers::Asked::What::kMigrate, 0, 2});
  answers.runs(1, 0);
  answers.answers(0, reply);
  EXPECT_TRUE(broke("as-answered"));
}

TEST_F(PromisesTest, AJobIsSignalledAsOftenAsPeopleAsked) {
  Answers answers(world, promises);
  answers.asks(0, 7, {Answers::Asked::What::kKill, 0, kNobody});
  answers.signals(1, world.jobs()[0].id);
  EXPECT_FALSE(broke("carried-once"));
  answers.signals(1, world.jobs()[0].id);
  EXPECT_TRUE(broke("carried-once"));
}

struct AtRestRow {
  const char* promise;
  const char* world;
  base::Duration looked_at;
};

// Looked at while what keeps home from knowing still holds.
TEST(AtRest, WhatHomeDoesNotKnowIsSeen) {
  ASSERT_TRUE(base::crypto::init().ok());
  const AtRestRow rows[] = {
      {"starts",
       "seed 4\nnodes 3\nseconds 200\nfault at 2s disk-full node 0 for 190s\n"
       "job at 5s on 0 threads 1\n",
       seconds(100)},
      {"exit-told",
       "seed 4\nnodes 4\nseconds 300\njob at 5s on 0 threads 1 work 40s\n"
       "person at 10s migrate 0 to 1\nfault at 35s isolate node 0 for 260s\n",
       seconds(200)},
      {"home-knows",
       "seed 4\nnodes 4\nseconds 300\njob at 5s on 0 threads 1\nperson at 10s migrate 0 to 1\n"
       "person at 40s migrate 0 to 2\nfault at 41s isolate node 0 for 260s\n",
       seconds(200)},
      {"forgets",
       "seed 4\nnodes 4\nseconds 300\njob at 5s on 0 threads 1 work 40s\n"
       "person at 10s migrate 0 to 1\nfault at 35s isolate node 0 for 260s\n",
       seconds(250)},
  };
  for (const AtRestRow& row : rows) {
    SCOPED_TRACE(row.promise);
    World world(scenario_of(row.world), QueueKind::kHeap);
    world.run_until(row.looked_at);
    EXPECT_TRUE(world.promises().violations().empty());
    check_at_rest(world);
    const auto& all = world.promises().violations();
    EXPECT_TRUE(std::any_of(all.begin(), all.end(),
                            [&](const Violation& one) { return one.promise == row.promise; }));
  }
}

}  // namespace
}  // namespace sim
