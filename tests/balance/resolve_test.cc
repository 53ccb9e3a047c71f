// A person's word that the other copy is gone (design.md §4): a lower epoch that turns up is
// killed, wherever it is and whenever it comes.
#include <gtest/gtest.h>

#include "rig.h"

namespace balance::testing {
namespace {

constexpr std::size_t kSource = 0;
constexpr std::size_t kSink = 1;
constexpr std::size_t kThird = 2;
constexpr std::size_t kFourth = 3;

// Aborted while the sink was away with a held copy; the triad lingers on the source. Then the job
// goes to the third and comes back.
HandoverId abort_and_come_back(Rig& rig) {
  rig.hidden = {kFourth};
  rig.tell_all();
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "restore") isolate(rig, kSink, 4);
  };
  rig.migrate(kSink);
  EXPECT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.core(0).triad() == nullptr; }));
  EXPECT_EQ(rig.core(kSource).lingering(), 1U);
  const HandoverId old = rig.events.back().id;
  rig.on_operation = nullptr;
  rig.hidden = {kSink};
  const std::size_t way[] = {kSource, kThird, kSource};
  for (std::size_t i = 0; i + 1 < std::size(way); ++i) {
    EXPECT_TRUE(rig.run_until([&] { return rig.core(way[i + 1]).triad() == nullptr; }));
    rig.tell_all();
    rig.give(way[i], PersonMigrate{9, Rig::job(), Rig::node(way[i + 1])});
    EXPECT_TRUE(rig.run_until([&] {
      return rig.core(way[i]).triad() == nullptr &&
             rig.core(way[i]).owner(Rig::job())->at == Rig::node(way[i + 1]);
    }));
  }
  EXPECT_EQ(rig.core(kSource).owner(Rig::job())->epoch, Epoch{4});
  EXPECT_EQ(rig.core(kSource).lingering(), 1U);
  rig.kills.clear();
  return old;
}

TEST(Resolve, TheThirdOfAnOldTriadSaysNothingOfAJobThatCameBack) {
  Rig rig(4);
  const HandoverId old = abort_and_come_back(rig);
  rig.say(kThird, kSource, wire::Superseded{old, Epoch{1000}});
  rig.run(std::chrono::minutes(1));
  EXPECT_TRUE(rig.kills.empty());
  EXPECT_EQ(rig.core(kSource).owner(Rig::job())->at, Rig::node(kSource));
}

TEST(Resolve, AnOldTriadsOtherEndBeatsAJobThatCameBackAndAllOfItGoes) {
  Rig rig(4);
  const HandoverId old = abort_and_come_back(rig);
  rig.say(kSink, kSource, wire::Superseded{old, Epoch{4}});  // not above what runs
  rig.run(std::chrono::minutes(1));
  EXPECT_TRUE(rig.kills.empty());
  rig.say(kSink, kSource, wire::Superseded{old, Epoch{5}});
  ASSERT_TRUE(rig.run_until([&] { return !rig.kills.empty(); }));
  EXPECT_EQ(rig.kills[0].newest, Epoch{4});
  EXPECT_EQ(rig.core(kSource).owner(Rig::job())->at, Rig::node(kSink));
}

// The sink lets its copy go, unheard, and is away; a person has the job run on at the source.
void resolve_without_the_sink(Rig& rig, const char* lost_at) {
  rig.on_operation = [&rig, lost_at](std::size_t, const std::string& name) {
    if (name == lost_at) rig.cut = {{kSink, kSource}, {kSink, kThird}};
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return !rig.cut.empty(); }));
  rig.run(std::chrono::milliseconds(100));
  rig.kill(kSink);
  rig.on_operation = nullptr;
  rig.cut.clear();
  ASSERT_TRUE(rig.run_until(
      [&] { return rig.core(kSource).triad() == nullptr && rig.core(kThird).triad() == nullptr; }));
  rig.give(kSource, PersonResolve{7, Rig::job()});
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
}

// "A lower one that turns up is killed", however long who resolved it cannot be reached.
TEST(Resolve, ACopyThatComesBackHeedsOnlyTheOtherEnd) {
  Rig rig(3);
  resolve_without_the_sink(rig, "release");
  rig.cut = {{kSink, kSource}, {kSource, kSink}};
  rig.start(kSink);
  rig.run(std::chrono::minutes(5));  // the third has no such triad, and says so
  EXPECT_FALSE(rig.core(kSink).seat());
  EXPECT_EQ(rig.core(kSink).lingering(), 1U);
  rig.cut.clear();
  ASSERT_TRUE(rig.run_until([&] { return rig.did("1 kill") && rig.all_free(); }));
}

TEST(Resolve, ACopyThatComesBackWhenTheJobHasEndedIsKilledToo) {
  for (const char* lost_at : {"release", "check-copy"}) {
    SCOPED_TRACE(lost_at);
    Rig rig(3);
    resolve_without_the_sink(rig, lost_at);
    rig.give(kSource, JobEnded{Rig::job()});
    rig.run(std::chrono::seconds(1));
    ASSERT_NE(rig.core(kSource).owner(Rig::job()), nullptr);
    rig.start(kSink);
    const bool ran = rig.did("1 release");
    ASSERT_TRUE(rig.run_until([&] { return rig.did(ran ? "1 kill" : "1 discard"); }));
    ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
    EXPECT_EQ(rig.core(kSource).owner(Rig::job()), nullptr);
  }
}

}  // namespace
}  // namespace balance::testing
