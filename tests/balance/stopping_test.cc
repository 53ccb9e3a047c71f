// A daemon that is told to end in the middle of a handover (balance/event.h, Stopping; design.md
// §4.2: until it has stored the seal SOURCE may withdraw and thaw by itself, durably).
#include <gtest/gtest.h>

#include "balance/limits.h"
#include "rig.h"

namespace balance::testing {
namespace {

constexpr std::size_t kSource = 0;
constexpr std::size_t kSink = 1;
constexpr std::size_t kThird = 2;

// Brings a handover to the moment when `node` does `what`, which then hangs.
void hang_at(Rig& rig, std::size_t node, const std::string& what) {
  const std::string operation = std::to_string(node) + " " + what;
  rig.silent.insert(operation);
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did(operation); }));
}

TEST(Stopping, NothingNewBegins) {
  Rig rig(3);
  rig.give(kSource, Stopping{false});
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(5));
  ASSERT_FALSE(rig.replies.empty());
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kError);
  EXPECT_EQ(rig.replies.back().sentence, kIsStopping);
  rig.tell_all(kSource);  // nor by rule
  rig.run(std::chrono::seconds(20));
  EXPECT_FALSE(rig.did("0 collect"));
}

TEST(Stopping, WhoWaitsIsToldNoAndNoTriadFormsAfterThat) {
  Rig rig(3);
  rig.cut = {{kThird, kSource}};
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(1));
  rig.give(kSource, Stopping{false});
  EXPECT_TRUE(rig.replies.back().over);
  rig.cut = {};
  EXPECT_FALSE(rig.run_until([&] { return !rig.no_seats(); }));
}

TEST(Stopping, NobodyIsOfferedWork) {
  Rig rig(2);
  rig.give(kSink, Stopping{false});
  rig.migrate(kSink);
  rig.run(std::chrono::seconds(30));
  EXPECT_FALSE(rig.did("0 freeze"));
  EXPECT_TRUE(rig.replies.back().over);
  EXPECT_EQ(rig.replies.back().sentence, kIsStopping);
}

TEST(Stopping, WhatIsBeingPreparedIsRefusedAndNeverFrozen) {
  Rig rig(3);
  hang_at(rig, kSource, "collect");
  rig.give(kSource, Stopping{false});
  ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
  EXPECT_FALSE(rig.did("0 freeze"));
  EXPECT_TRUE(rig.replies.back().over);
}

TEST(Stopping, AHandoverThatHasBegunMayGoOn) {
  for (const std::size_t stopping : {kSource, kSink}) {
    SCOPED_TRACE(stopping);
    Rig rig(3);
    rig.on_operation = [&](std::size_t, const std::string& name) {
      if (name == "restore") rig.give(stopping, Stopping{false});
    };
    rig.migrate(kSink);
    ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
    EXPECT_FALSE(rig.did("0 thaw"));
    EXPECT_TRUE(rig.core(stopping).unsettled().empty());
  }
}

TEST(Stopping, SourceWithdrawsBeforeTheSealAndThatIsDurable) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    SCOPED_TRACE(nodes);
    Rig rig(nodes);
    hang_at(rig, kSource, "freeze");
    ASSERT_EQ(rig.core(kSource).unsettled().size(), 1U);
    EXPECT_TRUE(rig.core(kSource).unsettled()[0].source);
    EXPECT_FALSE(rig.core(kSource).unsettled()[0].waits_for_others);
    rig.give(kSource, Stopping{false});
    rig.run(std::chrono::seconds(1));
    EXPECT_FALSE(rig.did("0 thaw"));
    rig.give(kSource, Stopping{true});
    ASSERT_TRUE(rig.run_until([&] { return rig.core(kSource).unsettled().empty(); }));
    EXPECT_EQ(rig.count("0 thaw"), 1);
    EXPECT_FALSE(rig.did("0 seal"));
    // It ends now, and what the others decide meanwhile freezes and kills nothing.
    rig.kill(kSource);
    rig.run(std::chrono::seconds(5));
    rig.start(kSource);
    ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
    EXPECT_FALSE(rig.did("0 kill"));
    EXPECT_FALSE(rig.did("1 release"));
    EXPECT_EQ(rig.core(kSource).owner(Rig::job())->at, Rig::node(kSource));
  }
}

TEST(Stopping, AfterTheSealTheOriginalStaysFrozen) {
  Rig rig(3);
  rig.silent.insert("the seal arrives");
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name != "seal") return;
    rig.cut = {{kSink, kSource}, {kThird, kSource}, {kSource, kSink}, {kSource, kThird}};
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 seal"); }));
  rig.give(kSource, Stopping{true});
  rig.run(std::chrono::seconds(10));
  EXPECT_FALSE(rig.did("0 thaw"));
  ASSERT_EQ(rig.core(kSource).unsettled().size(), 1U);
  EXPECT_TRUE(rig.core(kSource).unsettled()[0].waits_for_others);
  EXPECT_EQ(rig.core(kSource).unsettled()[0].other, Rig::node(kSink));
}

TEST(Stopping, SinkDiscardsBeforeItIsReadyAndTheOriginalRunsOn) {
  Rig rig(3);
  hang_at(rig, kSink, "restore");
  rig.give(kSink, Stopping{true});
  ASSERT_TRUE(rig.run_until([&] { return rig.core(kSink).unsettled().empty(); }));
  EXPECT_TRUE(rig.did("1 discard"));
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
  EXPECT_FALSE(rig.did("0 kill"));
}

// design.md §4.6: its restore may be done, and the original's machine may be off.
TEST(Stopping, OnceTheStreamIsWholeSinkWaitsForSourcesWord) {
  Rig rig(3);
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "restore") rig.kill(kSource);
  };
  hang_at(rig, kSink, "restore");
  rig.give(kSink, Stopping{true});
  rig.run(std::chrono::minutes(2));
  EXPECT_FALSE(rig.did("1 discard"));
  // Its machine had lost power.
  rig.on_operation = nullptr;
  rig.answers["0 check-original"] = [](HandoverId id) { return OriginalState{id, false}; };
  rig.silent.clear();
  rig.start(kSource);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("1 release") && rig.all_free(); }));
  EXPECT_FALSE(rig.did("1 discard"));
}

TEST(Stopping, WhoSaidReadyWaitsForTheOutcome) {
  Rig rig(3);
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name != "restore") return;
    for (const std::size_t other : {kSource, kThird}) {
      rig.cut.insert({kSink, other});
      rig.cut.insert({other, kSink});
    }
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] {
    const auto open = rig.core(kSink).unsettled();
    return open.size() == 1 && open[0].waits_for_others;
  }));
  rig.give(kSink, Stopping{true});
  rig.run(std::chrono::seconds(5));
  EXPECT_FALSE(rig.did("1 discard"));
  EXPECT_EQ(rig.core(kSink).unsettled().size(), 1U);
}

}  // namespace
}  // namespace balance::testing
