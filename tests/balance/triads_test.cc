// Who sits with whom, and for whose word (design.md §3), by whole nodes of a rig.
#include <gtest/gtest.h>

#include "rig.h"

namespace balance::testing {
namespace {

constexpr std::size_t kSource = 0;
constexpr std::size_t kSink = 1;
constexpr std::size_t kThird = 2;

TEST(Triads, APlusNodeShedsToAMinusNodeByItself) {
  Rig rig(3);
  rig.tell_all(kSource);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  EXPECT_EQ(rig.events.back().cause, Cause::kProcess);  // 0.4 is a hog
}

// The Rig's job is a hog (0.4); its node sees the state `times` times in a row.
std::vector<SetThrottle> throttles(Rig& rig, probe::Trit trit, bool throttled, int times,
                                   std::int64_t effective_ratio_micros = 0) {
  std::vector<SetThrottle> told;
  for (int i = 0; i < times; ++i) {
    LocalState local;
    local.trit = trit;
    local.effective_ratio_micros = effective_ratio_micros;
    local.policy = rig.policy;
    JobFacts facts;
    facts.id = Rig::job();
    facts.scum_micros = 400'000;
    facts.load_micros = 500'000;
    facts.throttled = throttled;
    local.jobs.push_back(facts);
    for (const Action& action : rig.core(kSource).step(rig.now, local)) {
      if (const auto* set = std::get_if<SetThrottle>(&action)) told.push_back(*set);
    }
  }
  return told;
}

TEST(Throttling, TheProcessRuleActsWhenItHasAskedThreeTimesInARow) {
  Rig rig(2);
  EXPECT_TRUE(throttles(rig, probe::Trit::kMinus, false, 3).empty()) << "allowed";
  EXPECT_TRUE(throttles(rig, probe::Trit::kErgodic, false, kThrottleSamples - 1).empty());
  EXPECT_TRUE(throttles(rig, probe::Trit::kMinus, false, 1).empty()) << "the row was broken";
  EXPECT_TRUE(throttles(rig, probe::Trit::kErgodic, false, kThrottleSamples - 1).empty());
  auto told = throttles(rig, probe::Trit::kErgodic, false, 1);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_TRUE(told[0].on);
  EXPECT_TRUE(throttles(rig, probe::Trit::kErgodic, true, 9).empty()) << "it is";
  told = throttles(rig, probe::Trit::kMinus, true, kThrottleSamples);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_FALSE(told[0].on);
}

TEST(Throttling, NothingIsThrottledWhereTheHostHasNoWayTo) {
  Rig rig(2);
  rig.policy.throttles = false;
  EXPECT_TRUE(throttles(rig, probe::Trit::kErgodic, false, 9).empty());
}

TEST(Throttling, NothingIsThrottledByADaemonThatStops) {
  Rig rig(2);
  rig.give(kSource, Stopping{});
  EXPECT_TRUE(throttles(rig, probe::Trit::kErgodic, false, 9).empty());
}

TEST(Triads, NothingMovesByRuleWhenPolicySaysNo) {
  Rig rig(3);
  rig.policy.moves_jobs = false;
  rig.tell_all(kSource);
  rig.run(std::chrono::minutes(1));
  EXPECT_TRUE(rig.done.empty());
}

// The first one stays the least loaded and never says yes: the next one is asked then.
TEST(Triads, ASinkThatNeverTakesAJobKeepsItFromNobodyElse) {
  Rig rig(4);
  rig.answers["1 preflight"] = [](HandoverId id) {
    return PreflightChecked{id, false, "a file is missing"};
  };
  for (int minutes = 0; minutes < 4 && !rig.did("0 kill"); ++minutes) {
    rig.tell_all(kSource);
    rig.run(kResidence + std::chrono::seconds(1));
  }
  EXPECT_TRUE(rig.did("1 preflight"));
  EXPECT_TRUE(rig.did("0 kill"));
  EXPECT_NE(rig.core(kSource).owner(Rig::job())->at, Rig::node(kSink));
}

// One that everybody refuses, though it would be the first, neither holds up the next one nor is it
// tried again and again.
TEST(Triads, AJobThatIsRefusedKeepsNoOtherFromMoving) {
  Rig rig(3);
  const JobId other{{43}};
  rig.give(kSource, JobStarted{other});
  for (const char* sink : {"1 preflight", "2 preflight"}) {
    rig.answers[sink] = [](HandoverId id) {
      return PreflightChecked{id, id.job != Rig::job(), "jobs of root are not allowed here"};
    };
  }
  rig.tell_all(kSource);
  LocalState local;
  local.trit = probe::Trit::kPlus;
  local.effective_ratio_micros = 1'500'000;
  for (const auto& [id, scum] : {std::pair{Rig::job(), 300'000}, std::pair{other, 200'000}}) {
    JobFacts facts;
    facts.id = id;
    facts.scum_micros = scum;
    facts.load_micros = 300'000;
    facts.arrived = rig.now - kResidence;
    local.jobs.push_back(facts);
  }
  rig.give(kSource, local);
  rig.run(kResidence / 2);
  EXPECT_EQ(rig.count("1 preflight") + rig.count("2 preflight"), 2);
  ASSERT_EQ(rig.kills.size(), 1U);
  EXPECT_EQ(rig.kills[0].id.job, other);
  EXPECT_EQ(rig.core(kSource).why_rests(Rig::job(), rig.now), "jobs of root are not allowed here");
}

// Once all have refused, all are asked again.
TEST(Triads, ASinkThatRefusedAJobIsAskedAgainWhenNobodyElseTakesIt) {
  Rig rig(3);
  for (const char* sink : {"1 preflight", "2 preflight"}) {
    rig.answers[sink] = [](HandoverId id) {
      return PreflightChecked{id, false, "a file is missing"};
    };
  }
  for (int minutes = 0; minutes < 4; ++minutes) {
    rig.tell_all(kSource);
    rig.run(kResidence + std::chrono::seconds(1));
  }
  EXPECT_EQ(rig.count("1 preflight"), 2);
  EXPECT_EQ(rig.count("2 preflight"), 2);
}

// None that refuses has room, whatever its load says.
TEST(Throttling, AHogThatNobodyTakesIsThrottledWhereItIs) {
  Rig rig(3);
  for (const char* sink : {"1 preflight", "2 preflight"}) {
    rig.answers[sink] = [](HandoverId id) {
      return PreflightChecked{id, false, "jobs of root are not allowed here"};
    };
  }
  const auto told = [&] {
    return throttles(rig, probe::Trit::kPlus, false, kThrottleSamples, 1'500'000);
  };
  for (const std::size_t refusals : {0U, 1U}) {
    rig.tell_all(kSource);
    EXPECT_TRUE(told().empty()) << "somebody may take it";
    rig.tell_all(kSource);
    rig.run(kResidence + std::chrono::seconds(1));
    EXPECT_EQ(rig.count("1 preflight") + rig.count("2 preflight"), refusals + 1);
  }
  ASSERT_EQ(told().size(), 1U);
  EXPECT_TRUE(told()[0].on);
  rig.now += kFailedSinkCounts;
  EXPECT_TRUE(told().empty()) << "they may have changed their minds";
}

TEST(Triads, WhoIsShortOfMemoryOffersWhatTheSinkCanTake) {
  Rig rig(3);
  const JobId huge{{43}};
  rig.give(0, JobStarted{huge});
  rig.run(std::chrono::milliseconds(10));
  ViewChanged view;
  LocalState local;
  local.memory_total_bytes = 1000;
  for (std::size_t i = 0; i < 3; ++i) {
    NodeLoad n;
    n.id = Rig::node(i);
    n.live = n.accepts_jobs = true;
    n.trit = i == 0 ? probe::Trit::kErgodic : probe::Trit::kMinus;
    n.memory_total_bytes = 1000;
    n.memory_free_bytes = i == 0 ? 40 : 700;
    view.nodes.push_back(n);
  }
  for (const auto& [id, bytes] : {std::pair{Rig::job(), 100}, std::pair{huge, 800}}) {
    JobFacts facts;
    facts.id = id;
    facts.memory_bytes = bytes;
    facts.arrived = rig.now - kResidence;
    local.jobs.push_back(facts);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    local.trit = view.nodes[i].trit;
    local.memory_free_bytes = view.nodes[i].memory_free_bytes;
    rig.give(i, view);
    rig.give(i, local);
    local.jobs.clear();
  }
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill"); }));
  EXPECT_EQ(rig.kills[0].id.job, Rig::job());
}

TEST(Triads, CrossingProposalsRefuseEachOtherAndOneWinsLater) {
  Rig rig(3);
  rig.give(1, JobStarted{JobId{{43}}});
  rig.run(std::chrono::milliseconds(10));
  LocalState local;
  JobFacts facts;
  facts.id = JobId{{43}};
  local.jobs.push_back(facts);
  rig.give(1, local);
  rig.migrate(1);
  rig.give(1, PersonMigrate{2, JobId{{43}}, Rig::node(0)});
  ASSERT_TRUE(
      rig.run_until([&] { return rig.did("0 kill") && rig.did("1 kill") && rig.all_free(); }));
}

TEST(Balance, ItsViewIsWhatWasToldPieceByPiece) {
  Rig rig(1);
  const auto sink = [&] { return rig.core(0).outlook(rig.now, Rig::job(), std::nullopt).sink; };
  const auto idle = [](std::size_t i, std::int64_t ratio) {
    NodeLoad n;
    n.id = Rig::node(i);
    n.live = true;
    n.accepts_jobs = true;
    n.trit = probe::Trit::kMinus;
    n.effective_ratio_micros = ratio;
    n.memory_free_bytes = 1000;
    return n;
  };
  rig.give(0, ViewChanged{{idle(5, 200'000)}, {}});
  rig.give(0, ViewChanged{{idle(3, 100'000), idle(7, 50'000)}, {}});
  EXPECT_EQ(sink(), Rig::node(7));
  rig.give(0, ViewChanged{{idle(7, 150'000)}, {}});
  EXPECT_EQ(sink(), Rig::node(3)) << "the newest word counts";
  rig.give(0, ViewChanged{{}, {Rig::node(3), Rig::node(9)}});
  EXPECT_EQ(sink(), Rig::node(7));
  rig.give(0, ViewChanged{{}, {Rig::node(7), Rig::node(5)}});
  EXPECT_TRUE(sink().is_zero());
}

TEST(Triads, APairFormsOnlyWhileNobodyKnowsAThird) {
  Rig rig(3);
  rig.hidden = {kThird};
  rig.tell_all();
  rig.hidden = {};
  ViewChanged view;  // SINK still sees the third
  for (std::size_t i = 0; i < 3; ++i) {
    NodeLoad n;
    n.id = Rig::node(i);
    n.live = true;
    view.nodes.push_back(n);
  }
  rig.give(kSink, view);
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(30));
  EXPECT_TRUE(rig.done.empty());
  ASSERT_FALSE(rig.replies.empty());
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_NE(rig.replies.back().code, ReplyCode::kDone);
}

TEST(Triads, APersonHearsWhyNot) {
  struct Row {
    const char* name;
    std::function<void(Rig&)> arrange;
    std::optional<std::size_t> target;
    ReplyCode code;
    const char* said = "";
  };
  const Row rows[] = {
      {"target is suspect", [](Rig& r) { r.hidden = {1}; }, 1, ReplyCode::kUnreachable},
      {"nobody is MINUS", [](Rig&) {}, std::nullopt, ReplyCode::kNothingFits},
      {"sink takes no jobs",
       [](Rig& r) {
         r.policy.accepts_jobs = false;
         r.policy.why_no_jobs = "it runs on its battery";
       },
       1, ReplyCode::kRefused, "that node takes no jobs of others: it runs on its battery"},
      {"sink does not answer",
       [](Rig& r) {
         r.cut = {{1, 0}};
       },
       1, ReplyCode::kUnreachable},
      {"already here", [](Rig&) {}, 0, ReplyCode::kDone},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Rig rig(3);
    row.arrange(rig);
    rig.tell_all();
    rig.migrate(row.target);
    ASSERT_TRUE(rig.run_until([&] { return !rig.replies.empty() && rig.replies.back().over; }));
    EXPECT_EQ(rig.replies.back().code, row.code) << rig.replies.back().sentence;
    if (*row.said != '\0') {
      EXPECT_EQ(rig.replies.back().sentence, row.said);
    }
    EXPECT_FALSE(rig.did("0 freeze"));
  }
}

TEST(Triads, WhoHasJustStartedIsNoSinkBeforeItKnowsWhetherItTakesJobs) {
  Rig rig(3);
  rig.kill(kSink);
  rig.start(kSink);
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(2));
  EXPECT_FALSE(rig.did("0 freeze"));
  rig.tell_all();
  EXPECT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
}

TEST(Triads, WhoWaitsBehindAMoveWithoutAnEndIsAnswered) {
  Rig rig(3);
  const JobId other{{43}};
  rig.give(kSource, JobStarted{other});
  rig.run(std::chrono::milliseconds(10));
  rig.on_operation = [&](std::size_t, const std::string& what) {
    if (what == "seal") isolate(rig, kSource, 3);
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 seal"); }));
  rig.show_only(kSource, other);
  rig.give(kSource, PersonMigrate{2, other, Rig::node(kThird)});
  rig.run(kPersonWait + std::chrono::seconds(1));
  EXPECT_TRUE(rig.core(kSource).in_doubt(Rig::job()));
  EXPECT_EQ(rig.replies.back().request, 2U);
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kError);
}

TEST(Triads, WhoIsToldNoHasNoTriadFormedByAnswersThatComeLate) {
  Rig rig(3);
  rig.cut = {{kThird, kSource}};
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return !rig.replies.empty() && rig.replies.back().over; }));
  EXPECT_TRUE(rig.disk(kThird).contains(kAcceptanceKey)) << "nothing is under way";
  rig.cut = {};
  rig.run(base::Duration(100'000));
  for (const std::size_t node : {kSource, kSink, kThird}) {
    EXPECT_FALSE(rig.core(node).triad()) << node;
    EXPECT_FALSE(rig.disk(node).contains(kAcceptanceKey)) << node;
  }
  rig.run(kPersonWait);
  EXPECT_FALSE(rig.did("0 freeze"));
}

TEST(Triads, WhoWantsAJobElsewhereThanOneWhoWasToldNoHasItMovedThere) {
  Rig rig(3);
  rig.cut = {{kThird, kSource}};
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return !rig.replies.empty() && rig.replies.back().over; }));
  rig.give(kSource, PersonMigrate{2, Rig::job(), Rig::node(kThird)});
  rig.cut = {};
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  EXPECT_EQ(rig.replies.back().at, Rig::node(kThird));
  EXPECT_EQ(rig.replies.back().request, 2U);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kDone) << rig.replies.back().sentence;
}

// The home of one does not answer; the other's does.
TEST(Triads, NobodyWaitsBehindOneWhoIsToTryAgainLater) {
  Rig rig(4);
  const JobId other{{43}};
  rig.give(kSource, JobStarted{other});
  rig.run(std::chrono::milliseconds(10));
  LocalState both;
  for (const JobId& id : {Rig::job(), other}) {
    JobFacts facts;
    facts.id = id;
    both.jobs.push_back(facts);
  }
  rig.give(kSource, both);
  NodeLoad silent;  // no third: others are nearer to ERGODIC
  silent.id = Rig::node(kSink);
  silent.trit = probe::Trit::kMinus;
  silent.live = silent.accepts_jobs = true;
  rig.give(kSource, ViewChanged{{silent}, {}});
  rig.cut = {{kSource, kSink}};
  rig.migrate(kSink);
  rig.give(kSource, PersonMigrate{2, other, Rig::node(3)});
  ASSERT_TRUE(rig.run_until([&] { return !rig.replies.empty() && rig.replies.back().over; }));
  EXPECT_EQ(rig.replies.back().request, 2U) << rig.replies.back().sentence;
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kDone);
}

TEST(Triads, WhoHasNoThirdYetProposesAsSoonAsOneIsFree) {
  Rig rig(3);
  const auto third = [&](bool has_seat) {
    NodeLoad seen;
    seen.id = Rig::node(kThird);
    seen.live = seen.accepts_jobs = true;
    seen.has_seat = has_seat;
    rig.give(kSource, ViewChanged{{seen}, {}});
  };
  third(true);
  rig.migrate(kSink);
  EXPECT_TRUE(rig.sent.empty());
  third(false);
  rig.run(kResendAfter / 10);
  EXPECT_FALSE(rig.sent.empty());
  EXPECT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
}

TEST(Triads, WhatIsWithdrawnBeforeATriadHasFormedIsNotMoved) {
  Rig rig(3);
  rig.cut = {{kThird, kSource}};
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(1));
  rig.give(kSource, PersonWithdraw{1});
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kError);
  rig.run(kProposalWait);
  rig.cut = {};
  rig.run(kPersonWait);
  EXPECT_FALSE(rig.did("0 freeze"));
  // One that has formed goes on.
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 freeze"); }));
  rig.give(kSource, PersonWithdraw{1});
  EXPECT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kDone);
}

// The answers to its proposal are on their way.
TEST(Triads, AProposalWhoseCauseIsWithdrawnFormsNoTriadAndFreesWhoAccepted) {
  for (const base::Duration after : {base::Duration(100), base::Duration(2'100)}) {
    SCOPED_TRACE(after.count());  // while it is stored; while those asked store their acceptances
    Rig rig(3);
    rig.migrate(kSink);
    rig.run(after);
    EXPECT_EQ(rig.sent.empty(), after < base::Duration(500));
    rig.give(kSource, PersonWithdraw{1});
    EXPECT_EQ(rig.replies.back().code, ReplyCode::kError);
    rig.run(base::Duration(100'000));
    EXPECT_FALSE(rig.core(kSource).triad());
    for (const std::size_t node : {kSource, kSink, kThird}) {
      EXPECT_FALSE(rig.disk(node).contains(kAcceptanceKey)) << node;
    }
    rig.run(kPersonWait);
    EXPECT_FALSE(rig.did("0 freeze"));
    rig.migrate(kSink);
    EXPECT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  }
}

TEST(Triads, WhoWantsAJobMovedThatEndsIsAnsweredAtOnce) {
  Rig rig(3);
  rig.cut = {{kThird, kSource}};
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(1));
  rig.give(kSource, JobEnded{Rig::job()});
  rig.run(kProposalWait + kBackoffMin);
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kError);
}

TEST(Triads, AMemberWithAnotherStoreIsNoMember) {
  Rig rig(3);
  rig.silent.insert("0 freeze");
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 freeze"); }));
  const TriadId triad = rig.core(kThird).triad()->id();
  rig.give(kThird,
           Received{Rig::node(kSink), wire::encode({StoreId{{99}}, wire::Gone{triad, true}})});
  rig.run(std::chrono::milliseconds(10));
  EXPECT_NE(rig.core(kThird).triad(), nullptr);
  // With the right store id a member that has no end leaves on that word.
  rig.give(kThird,
           Received{Rig::node(kSink), wire::encode({Rig::store(kSink), wire::Gone{triad, true}})});
  rig.run(std::chrono::milliseconds(10));
  EXPECT_EQ(rig.core(kThird).triad(), nullptr);
  // SOURCE has begun: unknown never decides a job.
  rig.give(kSource,
           Received{Rig::node(kSink), wire::encode({Rig::store(kSink), wire::Gone{triad, false}})});
  EXPECT_TRUE(rig.core(kSource).in_doubt(Rig::job()));
}

TEST(Triads, AnAcceptanceLapsesDurablyAfterTenSeconds) {
  Rig rig(3);
  Roles roles{Cause::kPerson, Rig::node(0), Rig::node(1), Rig::node(2), Rig::job()};
  const base::ProposalId proposal{{9}};
  rig.give(1,
           Received{Rig::node(0), wire::encode({Rig::store(0), wire::Propose{proposal, roles}})});
  rig.run(std::chrono::milliseconds(10));
  EXPECT_TRUE(rig.disk(1).contains(kAcceptanceKey));
  rig.run(std::chrono::milliseconds(9'900));
  EXPECT_TRUE(rig.disk(1).contains(kAcceptanceKey));
  rig.run(std::chrono::milliseconds(200));
  EXPECT_FALSE(rig.disk(1).contains(kAcceptanceKey));
  FormRecord form{Cause::kPerson, Rig::job(), {}, {}};
  form.members = {{Rig::node(0), Rig::store(0), Seat::kSource},
                  {Rig::node(2), Rig::store(2), Seat::kCoordinator},
                  {Rig::node(1), Rig::store(1), Seat::kSink}};
  rig.give(1, Received{Rig::node(0), wire::encode({Rig::store(0), wire::Form{proposal, form}})});
  rig.run(std::chrono::milliseconds(10));
  EXPECT_EQ(rig.core(1).triad(), nullptr);
}

}  // namespace
}  // namespace balance::testing
