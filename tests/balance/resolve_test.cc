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

void isolate(Rig& rig, std::size_t node, std::size_t nodes) {
  for (std::size_t i = 0; i < nodes; ++i) {
    rig.cut.insert({i, node});
    rig.cut.insert({node, i});
  }
}

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

}  // namespace
}  // namespace balance::testing
