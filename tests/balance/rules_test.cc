// design.md §2, rule by rule, on its boundaries. Exact thresholds of trits and hogs are probe's.
#include "balance/rules.h"

#include <gtest/gtest.h>

#include "balance/planner.h"

namespace balance {
namespace {

using probe::Trit;

const base::Time kNow{std::chrono::hours(10)};

NodeId node(std::uint8_t n) { return NodeId{{n}}; }
JobId job_id(std::uint8_t n) { return JobId{{n}}; }

NodeLoad load(std::uint8_t id, Trit trit, std::int64_t ratio) {
  NodeLoad n;
  n.id = node(id);
  n.live = true;
  n.trit = trit;
  n.effective_ratio_micros = ratio;
  n.memory_free_bytes = 1000;
  n.accepts_jobs = true;
  return n;
}
JobFacts job(std::uint8_t id, std::int64_t load_micros, std::int64_t scum) {
  JobFacts j;
  j.id = job_id(id);
  j.load_micros = load_micros;
  j.scum_micros = scum;
  j.memory_bytes = 100;
  j.arrived = kNow - std::chrono::seconds(100);
  return j;
}
LocalState plus(std::vector<JobFacts> jobs) {
  LocalState local;
  local.trit = Trit::kPlus;
  local.effective_ratio_micros = 1'500'000;
  local.jobs = std::move(jobs);
  return local;
}

TEST(MeshRuleOfS, SumsLiveNodesOnly) {
  std::vector<NodeLoad> view{load(1, Trit::kPlus, 0), load(2, Trit::kMinus, 0),
                             load(3, Trit::kMinus, 0)};
  EXPECT_EQ(trit_sum(view), -1);
  EXPECT_EQ(mesh_rule(trit_sum(view)), MeshRule::kWaking);
  view[1].live = false;
  EXPECT_EQ(mesh_rule(trit_sum(view)), MeshRule::kBalanced);
  view[2].live = false;
  EXPECT_EQ(mesh_rule(trit_sum(view)), MeshRule::kShedding);
}

TEST(ProcessRule, FollowsItsTable) {
  struct Row {
    const char* name;
    std::int64_t scum;
    Trit trit;
    bool room;
    bool throttled;
    Intent intent;
  };
  const Row rows[] = {
      {"hog, PLUS, room", 350'001, Trit::kPlus, true, false, Intent::kMigrate},
      {"hog, PLUS, no room", 350'001, Trit::kPlus, false, false, Intent::kThrottle},
      {"hog, PLUS, no room, throttled", 350'001, Trit::kPlus, false, true, Intent::kNone},
      {"throttled hog, PLUS, room", 350'001, Trit::kPlus, true, true, Intent::kMigrate},
      {"hog, ERGODIC", 350'001, Trit::kErgodic, true, false, Intent::kThrottle},
      {"hog, MINUS", 350'001, Trit::kMinus, true, false, Intent::kAllow},
      {"throttled hog, MINUS", 350'001, Trit::kMinus, true, true, Intent::kUnthrottle},
      {"exactly 0.35, PLUS", 350'000, Trit::kPlus, true, false, Intent::kNone},
      {"exactly 0.35, ERGODIC", 350'000, Trit::kErgodic, true, false, Intent::kNone},
      {"throttled, no hog any more", 100'000, Trit::kErgodic, true, true, Intent::kUnthrottle},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    JobFacts j = job(1, 0, row.scum);
    j.throttled = row.throttled;
    EXPECT_EQ(process_rule(j, row.trit, row.room, kNow), row.intent);
  }
}

TEST(ProcessRule, AThrottleIsLiftedAtMostOnceAMinute) {
  JobFacts j = job(1, 0, 0);
  j.throttled = true;
  j.throttle_changed = kNow - std::chrono::seconds(60) + base::Duration(1);
  EXPECT_EQ(process_rule(j, Trit::kErgodic, true, kNow), Intent::kNone);
  j.throttle_changed = kNow - std::chrono::seconds(60);
  EXPECT_EQ(process_rule(j, Trit::kErgodic, true, kNow), Intent::kUnthrottle);
}

TEST(Room, EndsAtExactlyFourFifthsAndAtTheMemory) {
  const Level sink{300'000, 2000};
  EXPECT_TRUE(has_room(sink, 100, 1'000'000, 100));   // 0.3 + 1/2 = 0.8
  EXPECT_FALSE(has_room(sink, 100, 1'000'001, 100));  // rounded up
  EXPECT_FALSE(has_room(sink, 99, 1'000'000, 100));
}

TEST(NeverWorse, ComparesTheDistanceBeforeAndAfter) {
  const Level source{1'000'000, 1000};
  const Level sink{0, 1000};
  EXPECT_TRUE(never_worse(source, sink, 999'999));     // swaps, one millionth closer
  EXPECT_FALSE(never_worse(source, sink, 1'000'000));  // as far apart as before
  EXPECT_FALSE(never_worse(source, sink, 0));
}

TEST(Residence, BindsForSixtySecondsAndNotAPerson) {
  JobFacts j = job(1, 0, 0);
  j.arrived = kNow - std::chrono::seconds(60) + base::Duration(1);
  EXPECT_FALSE(why_stays(j, kNow, false).empty());
  EXPECT_TRUE(why_stays(j, kNow, true).empty());
  j.arrived = kNow - std::chrono::seconds(60);
  EXPECT_TRUE(why_stays(j, kNow, false).empty());
}

TEST(Residence, WhatCannotBeMovedStaysForAPersonToo) {
  JobFacts j = job(1, 0, 0);
  j.movable = false;
  j.why_not = "it has a device open";
  EXPECT_EQ(why_stays(j, kNow, true), "it has a device open");
  j = job(1, 0, 0);
  for (const JobState state : {JobState::kQueued, JobState::kHandover, JobState::kParked,
                               JobState::kExited, JobState::kLost}) {
    j.state = state;
    EXPECT_FALSE(why_stays(j, kNow, true).empty());
  }
}

TEST(Sinks, AreLiveMinusNodesWithRoomLeastLoadedFirst) {
  const LocalState local = plus({});
  const JobFacts j = job(1, 500'000, 0);
  std::vector<NodeLoad> view;
  for (std::uint8_t i = 1; i <= 9; ++i) view.push_back(load(i, Trit::kMinus, 200'000));
  view[1].live = false;
  view[2].trit = Trit::kErgodic;
  view[3].accepts_jobs = false;
  view[4].has_seat = true;
  view[5].memory_free_bytes = 99;
  view[6].effective_ratio_micros = 300'001;  // no room for half a CPU
  view[7].effective_ratio_micros = 100'000;
  const std::vector<NodeLoad> sinks = sinks_for(j, local, view, node(1));
  ASSERT_EQ(sinks.size(), 2U);
  EXPECT_EQ(sinks[0].id, node(8));
  EXPECT_EQ(sinks[1].id, node(9));
}

TEST(Wishes, OnlyAPlusNodeShedsHighestScumFirst) {
  const std::vector<NodeLoad> view{load(1, Trit::kPlus, 1'500'000), load(2, Trit::kMinus, 0)};
  LocalState local = plus({job(1, 500'000, 100'000), job(2, 500'000, 400'000)});
  auto wished = wish(kNow, local, view, node(1));
  ASSERT_TRUE(wished);
  EXPECT_EQ(wished->job, job_id(2));
  EXPECT_EQ(wished->cause, Cause::kProcess);
  local.jobs[1].arrived = kNow;  // residence: then the other, no hog
  wished = wish(kNow, local, view, node(1));
  ASSERT_TRUE(wished);
  EXPECT_EQ(wished->job, job_id(1));
  EXPECT_EQ(wished->cause, Cause::kShed);
  local.trit = Trit::kErgodic;
  EXPECT_FALSE(wish(kNow, local, view, node(1)));
  local.trit = Trit::kPlus;
  local.effective_ratio_micros = 800'000;
  EXPECT_FALSE(wish(kNow, local, view, node(1)));
  local.effective_ratio_micros = 1'500'000;
  local.policy.moves_jobs = false;
  EXPECT_FALSE(wish(kNow, local, view, node(1)));
}

TEST(Thirds, PreferErgodicAndSeeAPairOnlyWithoutAnyThird) {
  std::vector<NodeLoad> view{load(1, Trit::kPlus, 0), load(2, Trit::kMinus, 0),
                             load(3, Trit::kPlus, 0), load(4, Trit::kErgodic, 0)};
  Thirds thirds = thirds_for(view, node(1), node(2));
  EXPECT_EQ(thirds.ergodic, std::vector<NodeId>{node(4)});
  EXPECT_EQ(thirds.others, std::vector<NodeId>{node(3)});
  EXPECT_FALSE(thirds.pair);
  view[2].has_seat = view[3].has_seat = true;
  thirds = thirds_for(view, node(1), node(2));
  EXPECT_TRUE(thirds.ergodic.empty() && thirds.others.empty());
  EXPECT_FALSE(thirds.pair);  // they are there, they are only busy
  view[2].live = view[3].live = false;
  EXPECT_TRUE(thirds_for(view, node(1), node(2)).pair);
}

TEST(Waking, OldestFirstOnAMinusNodeWhileSIsNegative) {
  LocalState local;
  local.trit = Trit::kMinus;
  local.effective_ratio_micros = 0;
  local.memory_free_bytes = 1000;
  local.jobs = {job(1, 400'000, 0), job(2, 400'000, 0), job(3, 400'000, 0)};
  for (JobFacts& j : local.jobs) j.state = JobState::kParked;
  local.jobs[2].arrived -= std::chrono::seconds(1);
  EXPECT_EQ(wake_rule(local, -1), (std::vector<JobId>{job_id(3), job_id(1)}));  // 0.8, no more
  EXPECT_TRUE(wake_rule(local, 0).empty());
  EXPECT_TRUE(wake_rule(local, 1).empty());
  local.trit = Trit::kErgodic;
  EXPECT_TRUE(wake_rule(local, -1).empty());
}

TEST(Planner, StopsWhenSourceIsNoLongerAboveFourFifths) {
  wire::Offer offer{{}, {}, 2'000'000, 1000, {}};
  wire::Room room{{}, {}, 0, 4000, 1000, true};
  for (std::uint8_t i = 1; i <= 5; ++i) {
    offer.jobs.push_back({job_id(i), 400'000, 100, 100'000 * i});
  }
  EXPECT_EQ(plan_moves(offer, room), (std::vector<JobId>{job_id(5), job_id(4), job_id(3)}));
}

TEST(Planner, SkipsWhatDoesNotFitAndTakesTheNext) {
  wire::Offer offer{{}, {}, 2'000'000, 1000, {}};
  wire::Room room{{}, {}, 200'000, 1000, 150, true};
  offer.jobs = {{job_id(1), 700'000, 10, 500'000},   // 0.9: no room
                {job_id(2), 100'000, 200, 400'000},  // no memory
                {job_id(3), 300'000, 100, 300'000},
                {job_id(4), 100'000, 100, 200'000}};  // memory is used up
  EXPECT_EQ(plan_moves(offer, room), std::vector<JobId>{job_id(3)});
  room.accepts = false;
  EXPECT_TRUE(plan_moves(offer, room).empty());
}

TEST(Planner, MovesAtMostSoManyPerTriad) {
  wire::Offer offer{{}, {}, 50'000'000, 1000, {}};
  wire::Room room{{}, {}, 0, 100'000, 10'000, true};
  for (std::uint8_t i = 1; i <= 20; ++i) offer.jobs.push_back({job_id(i), 10'000, 1, 1});
  EXPECT_EQ(plan_moves(offer, room).size(), kMovesPerTriadMax);
}

}  // namespace
}  // namespace balance
