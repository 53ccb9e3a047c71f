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
      {"throttled hog, PLUS, room", 350'001, Trit::kPlus, true, true, Intent::kUnthrottle},
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

TEST(ProcessRule, ThrottlesAtMostOnceAMinuteToo) {
  JobFacts j = job(1, 0, 400'000);
  j.throttle_changed = kNow - std::chrono::seconds(60) + base::Duration(1);  // lifted
  EXPECT_EQ(process_rule(j, Trit::kErgodic, true, kNow), Intent::kNone);
  j.throttle_changed = kNow - std::chrono::seconds(60);
  EXPECT_EQ(process_rule(j, Trit::kErgodic, true, kNow), Intent::kThrottle);
}

TEST(ProcessRule, WaitsToLiftAThrottleThatIsToMove) {
  JobFacts j = job(1, 0, 400'000);
  j.throttled = true;
  j.throttle_changed = kNow - std::chrono::seconds(59);
  EXPECT_EQ(process_rule(j, Trit::kPlus, true, kNow), Intent::kMigrate);
}

TEST(ProcessRule, NobodyHasRoomForAJobThatCannotBeMoved) {
  JobFacts j = job(1, 0, 400'000);
  j.movable = false;
  EXPECT_EQ(process_rule(j, Trit::kPlus, true, kNow), Intent::kThrottle);
}

TEST(ProcessRule, LeavesAPersonsThrottleAlone) {
  for (const bool throttled : {false, true}) {
    JobFacts j = job(1, 0, 400'000);
    j.throttle_is_persons = true;
    j.throttled = throttled;
    for (const Trit trit : {Trit::kPlus, Trit::kErgodic, Trit::kMinus}) {
      EXPECT_EQ(process_rule(j, trit, false, kNow), Intent::kNone);
    }
  }
}

TEST(ProcessRule, ASinkThatIsBusyWithASeatHasRoomAllTheSame) {
  const LocalState local = plus({});
  NodeLoad sink = load(2, Trit::kMinus, 0);
  sink.has_seat = true;
  EXPECT_TRUE(has_sink(job(1, 100'000, 400'000), local, {sink}, node(9)));
  EXPECT_TRUE(sinks_for(job(1, 100'000, 400'000), local, {sink}, node(9)).empty());
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

// ERGODIC, with 40 of 1000 bytes free.
LocalState short_of_memory(std::vector<JobFacts> jobs) {
  LocalState local = plus(std::move(jobs));
  local.trit = Trit::kErgodic;
  local.effective_ratio_micros = 400'000;
  local.memory_total_bytes = 1000;
  local.memory_free_bytes = 40;
  return local;
}
NodeLoad roomy(std::uint8_t id, std::int64_t free) {
  NodeLoad n = load(id, Trit::kMinus, 0);
  n.memory_total_bytes = 1000;
  n.memory_free_bytes = free;
  return n;
}

TEST(Memory, WhoIsShortOfItShedsHisLargestJobWithIdleCpus) {
  JobFacts large = job(1, 0, 10'000);
  large.memory_bytes = 300;
  const LocalState local = short_of_memory({job(2, 0, 600'000), large});
  const auto wished = wish(kNow, local, {roomy(3, 800), roomy(4, 900)}, node(9));
  ASSERT_TRUE(wished);
  EXPECT_EQ(wished->cause, Cause::kMemory);
  EXPECT_EQ(wished->job, job_id(1));
  EXPECT_EQ(wished->sinks, (std::vector<NodeId>{node(4), node(3)})) << "most memory first";
}

TEST(Memory, TheReserveIsFivePercent) {
  LocalState local = short_of_memory({job(1, 0, 0)});
  local.memory_free_bytes = 50;
  EXPECT_FALSE(wish(kNow, local, {roomy(3, 900)}, node(9)));
  local.memory_free_bytes = 49;
  EXPECT_TRUE(wish(kNow, local, {roomy(3, 900)}, node(9)));
}

TEST(Memory, NoMoveTakesASinksReserve) {
  const LocalState local = short_of_memory({job(1, 0, 0)});  // a job of 100
  EXPECT_TRUE(wish(kNow, local, {roomy(3, 151)}, node(9)));
  EXPECT_FALSE(wish(kNow, local, {roomy(3, 149)}, node(9)));
  EXPECT_EQ(sinks_for(job(1, 100'000, 0), plus({}), {roomy(3, 150)}, node(9)).size(), 1U);
  EXPECT_TRUE(sinks_for(job(1, 100'000, 0), plus({}), {roomy(3, 149)}, node(9)).empty());
}

TEST(Memory, AMoveThatTurnsTheShortageRoundIsNone) {
  JobFacts large = job(1, 0, 0);
  large.memory_bytes = 150;
  LocalState local = short_of_memory({large});  // 96 % and 75 % in use
  EXPECT_TRUE(wish(kNow, local, {roomy(3, 250)}, node(9)));
  local.memory_total_bytes = 200;  // a small node: it would be at 23 %, the sink at 90 %
  local.memory_free_bytes = 4;
  EXPECT_FALSE(wish(kNow, local, {roomy(3, 250)}, node(9)));
}

TEST(Memory, AnOfferLeavesOutWhatTheSinkCannotTake) {
  JobFacts huge = job(1, 0, 0);
  huge.memory_bytes = 800;
  JobFacts busy = job(2, 900'000, 0);
  busy.memory_bytes = 300;
  const LocalState local = short_of_memory({huge, busy, job(3, 0, 0), job(4, 0, 0)});
  const auto offered = memory_offer(kNow, local, roomy(9, 700));
  ASSERT_EQ(offered.size(), 1U) << "100 of the 60 that are lacking";
  EXPECT_EQ(offered[0].id, job_id(3));
}

TEST(Memory, AnOfferCountsWhatTheJobsBeforeTake) {
  LocalState local = short_of_memory({job(1, 0, 0), job(2, 0, 0)});
  local.memory_free_bytes = -50;  // more than one of them is lacking
  EXPECT_EQ(memory_offer(kNow, local, roomy(9, 251)).size(), 2U);
  EXPECT_EQ(memory_offer(kNow, local, roomy(9, 249)).size(), 1U);
}

TEST(Memory, ThePlanFillsNoSinkAndAsksForNoRatio) {
  wire::Offer offer;
  offer.ratio_micros = 100'000;
  offer.jobs = {{job_id(1), 0, 100, 0}, {job_id(2), 0, 300, 0}, {job_id(3), 0, 200, 0}};
  wire::Room room;
  room.accepts = true;
  room.memory_bytes = 400;
  EXPECT_EQ(plan_moves(offer, room, Cause::kMemory), (std::vector<JobId>{job_id(2), job_id(1)}))
      << "300, not 200 more, then 100";
  EXPECT_TRUE(plan_moves(offer, room, Cause::kShed).empty());
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
  for (const JobState state : {JobState::kHandover, JobState::kExited, JobState::kLost}) {
    j.state = state;
    EXPECT_FALSE(why_stays(j, kNow, true).empty());
  }
  for (const JobState state : {JobState::kQueued, JobState::kParked}) {
    j.state = state;
    EXPECT_TRUE(why_stays(j, kNow, true).empty());
    EXPECT_FALSE(why_stays(j, kNow, false).empty());
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
  for (JobFacts& j : local.jobs) j.since = static_cast<base::WallTime>(1000);
  local.jobs[2].since = static_cast<base::WallTime>(999);
  EXPECT_EQ(wake_rule(local, -1), (std::vector<JobId>{job_id(3), job_id(1)}));  // 0.8, no more
  EXPECT_TRUE(wake_rule(local, 0).empty());
  EXPECT_TRUE(wake_rule(local, 1).empty());
  // What is being woken takes its room already, and what is too large keeps no other one waiting.
  local.jobs[2].waking = true;
  EXPECT_EQ(wake_rule(local, -1), std::vector<JobId>{job_id(1)});
  local.jobs[0].memory_bytes = 5000;
  EXPECT_EQ(wake_rule(local, -1), std::vector<JobId>{job_id(2)});
  local.policy.drains = true;
  EXPECT_TRUE(wake_rule(local, -1).empty());
  local.policy.drains = false;
  local.trit = Trit::kErgodic;
  EXPECT_TRUE(wake_rule(local, -1).empty());
}

TEST(Waking, ElsewhereTheOldestThatFitsWhileSIsNegative) {
  std::vector<NodeLoad> view{load(1, Trit::kPlus, 1'500'000), load(2, Trit::kMinus, 100'000),
                             load(3, Trit::kMinus, 0)};
  LocalState local = plus({job(1, 900'000, 0), job(2, 400'000, 0), job(3, 400'000, 0)});
  for (JobFacts& j : local.jobs) j.state = JobState::kParked;
  local.jobs[2].state = JobState::kQueued;
  local.jobs[1].since = static_cast<base::WallTime>(1000);
  local.jobs[2].since = static_cast<base::WallTime>(999);
  auto wished = wake_wish(local, view, node(1));  // job 1 waits longest and fits nowhere
  ASSERT_TRUE(wished);
  EXPECT_EQ(wished->cause, Cause::kWake);
  EXPECT_EQ(wished->job, job_id(3));
  EXPECT_EQ(wished->sinks, (std::vector<NodeId>{node(3), node(2)}));
  // A MINUS node wakes its own by itself, unless it has no room.
  local.trit = Trit::kMinus;
  local.effective_ratio_micros = 0;
  local.memory_free_bytes = 1000;
  EXPECT_FALSE(wake_wish(local, view, node(1)));
  local.memory_free_bytes = 50;
  EXPECT_TRUE(wake_wish(local, view, node(1)));
  view[2].live = false;  // S = 0
  EXPECT_FALSE(wake_wish(local, view, node(1)));
  // None of them is shed, and a person may move each of them.
  local = plus(local.jobs);
  EXPECT_FALSE(wish(kNow, local, view, node(1)));
  EXPECT_TRUE(why_stays(local.jobs[0], kNow, true).empty());
}

TEST(Waking, WhatWasJustParkedRestsForAWhile) {
  JobFacts parked = job(1, 1, 1);
  parked.state = JobState::kParked;
  EXPECT_FALSE(rests_yet(parked, kNow));
  parked.arrived = kNow - std::chrono::seconds(59);
  EXPECT_TRUE(rests_yet(parked, kNow));
  parked.state = JobState::kRunning;
  EXPECT_FALSE(rests_yet(parked, kNow));
}

TEST(Planner, WakesInTheOrderOfTheOfferAsFarAsThereIsRoom) {
  wire::Offer offer{{}, {}, 100'000, 1000, {}};  // a source that is not PLUS
  wire::Room room{{}, {}, 0, 1000, 1000, true};
  offer.jobs = {
      {job_id(1), 500'000, 10, 0}, {job_id(2), 500'000, 10, 900'000}, {job_id(3), 300'000, 10, 0}};
  EXPECT_TRUE(plan_moves(offer, room).empty());
  EXPECT_EQ(plan_moves(offer, room, Cause::kWake), (std::vector<JobId>{job_id(1), job_id(3)}));
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
