// A copy that dies between *released* and its first instruction (design.md §4.5): its owner record
// has the new epoch by then. Who runs on must have it too, or home, that was the sink or followed
// it, believes nothing of the job any more.
#include <gtest/gtest.h>

#include "rig.h"

namespace balance::testing {
namespace {

constexpr std::size_t kSource = 0;
constexpr std::size_t kSink = 1;

void begin_a_move_whose_copy_dies(Rig& rig) {
  rig.answers["1 release"] = [](HandoverId id) { return Released{id, false}; };
  rig.migrate(kSink);
}

void expect_the_new_epoch(Rig& rig, std::size_t node) {
  const OwnRecord* const own = rig.core(node).owner(Rig::job());
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->at, Rig::node(kSource)) << node;
  EXPECT_EQ(own->epoch, Epoch{2}) << node;
  const OwnRecord stored = *decode_own(rig.disk(node).at(own_key(Rig::job())));
  EXPECT_EQ(stored.epoch, Epoch{2}) << node;
  EXPECT_EQ(stored.next, Epoch{2}) << node;
  EXPECT_FALSE(stored.resolved);
}

// The original is the job, and the next move is under a higher epoch still.
void expect_it_runs_on(Rig& rig) {
  expect_the_new_epoch(rig, kSource);
  expect_the_new_epoch(rig, kSink);
  EXPECT_TRUE(rig.did("0 thaw"));
  EXPECT_FALSE(rig.did("0 kill"));
  rig.answers.clear();
  rig.on_operation = nullptr;
  rig.run(std::chrono::minutes(2));  // what was said of the first move counts no more
  rig.tell_all();
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  EXPECT_EQ(rig.core(kSink).owner(Rig::job())->epoch, Epoch{3});
  EXPECT_EQ(rig.core(kSink).owner(Rig::job())->at, Rig::node(kSink));
}

TEST(Void, BothEndsHaveTheNewEpoch) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    SCOPED_TRACE(nodes);
    Rig rig(nodes);
    begin_a_move_whose_copy_dies(rig);
    ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
    expect_it_runs_on(rig);
  }
}

TEST(Void, TheNewEpochIsStoredBeforeTheOriginalIsThawed) {
  Rig rig(3);
  Epoch thawed_under;
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "thaw") thawed_under = decode_own(rig.disk(kSource).at(own_key(Rig::job())))->epoch;
  };
  begin_a_move_whose_copy_dies(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
  EXPECT_EQ(thawed_under, Epoch{2});
}

// From the order to let it go until both ends are done, 10 ms.
constexpr int kMoments = 48;
base::Duration moment(int i) { return i * base::Duration(250); }

TEST(Void, WhoeverDiesAndStartsAgainAtAnyMoment) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    for (std::size_t dies = 0; dies < nodes; ++dies) {
      for (int i = 0; i < kMoments; ++i) {
        SCOPED_TRACE(std::to_string(nodes) + " nodes, " + std::to_string(dies) + " dies at " +
                     std::to_string(i));
        Rig rig(nodes);
        begin_a_move_whose_copy_dies(rig);
        while (!rig.did("1 release")) rig.run(base::Duration(250));
        rig.run(moment(i));
        rig.kill(dies);
        rig.run(std::chrono::seconds(i % 3 == 0 ? 1 : 30));
        rig.start(dies);
        ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
        expect_it_runs_on(rig);
      }
    }
  }
}

TEST(Void, WhateverIsLostFromAnyMomentOn) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    for (int i = 0; i < kMoments; ++i) {
      SCOPED_TRACE(std::to_string(nodes) + " nodes, lost from " + std::to_string(i));
      Rig rig(nodes);
      begin_a_move_whose_copy_dies(rig);
      while (!rig.did("1 release")) rig.run(base::Duration(250));
      rig.run(moment(i));
      isolate(rig, i % 2 == 0 ? kSource : kSink, nodes);
      rig.run(std::chrono::minutes(1));
      rig.cut.clear();
      ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
      expect_it_runs_on(rig);
    }
  }
}

// All that was said until then, once more and the last first.
TEST(Void, WhateverIsHeardTwiceAndLate) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    for (int i = 0; i <= kMoments; ++i) {
      SCOPED_TRACE(std::to_string(nodes) + " nodes, again at " + std::to_string(i));
      Rig rig(nodes);
      begin_a_move_whose_copy_dies(rig);
      while (!rig.did("1 release")) rig.run(base::Duration(250));
      rig.run(i == kMoments ? base::Duration(std::chrono::minutes(1)) : moment(i));
      const std::vector<Rig::Sent> said(rig.sent.rbegin(), rig.sent.rend());
      for (const Rig::Sent& s : said) rig.give(s.to, Received{Rig::node(s.from), s.bytes});
      ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
      expect_it_runs_on(rig);
    }
  }
}

}  // namespace
}  // namespace balance::testing
