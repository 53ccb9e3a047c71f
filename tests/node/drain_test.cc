// Emptying a node: who leaves next and for where (node/drain.h), and a mesh that does it.
#include "node/drain.h"

#include <gtest/gtest.h>

#include "fixture.h"

namespace node::testing {
namespace {

using balance::NodeLoad;
using base::NodeId;
using base::Time;

constexpr std::int64_t kGigabyte = 1 << 30;

NodeId node_id(std::uint8_t number) {
  NodeId id;
  id.bytes[0] = number;
  return id;
}
const NodeId kSelf = node_id(1);
const NodeId kHome = node_id(2);
const NodeId kOther = node_id(3);

NodeLoad load(NodeId id, std::int64_t ratio_micros, probe::Trit trit) {
  NodeLoad one;
  one.id = id;
  one.live = true;
  one.trit = trit;
  one.effective_ratio_micros = ratio_micros;
  one.memory_total_bytes = 8 * kGigabyte;
  one.memory_free_bytes = 4 * kGigabyte;
  one.accepts_jobs = true;
  return one;
}
DrainJob job(std::uint8_t number, NodeId home, std::int64_t memory_bytes = kGigabyte) {
  DrainJob one;
  one.facts.id.bytes[0] = number;
  one.facts.load_micros = 500'000;
  one.facts.memory_bytes = memory_bytes;
  one.name = "j" + std::to_string(number);
  one.home = home;
  return one;
}
Time at(int seconds) { return Time(std::chrono::seconds(1000 + seconds)); }

TEST(Drain, AGuestGoesHomeWhereThatHasRoom) {
  const std::vector<NodeLoad> view = {load(kHome, 200'000, probe::Trit::kMinus),
                                      load(kOther, 0, probe::Trit::kMinus)};
  EXPECT_EQ(drain_target(job(1, kHome), kSelf, view), kHome);
}

TEST(Drain, AGuestOfALoadedHomeGoesToAnIdleNode) {
  const std::vector<NodeLoad> view = {load(kHome, 600'000, probe::Trit::kErgodic),
                                      load(kOther, 100'000, probe::Trit::kMinus)};
  EXPECT_EQ(drain_target(job(1, kHome), kSelf, view), kOther);
}

TEST(Drain, AGuestGoesHomeBeforeItStaysInTheWay) {
  std::vector<NodeLoad> view = {load(kHome, 2'000'000, probe::Trit::kPlus),
                                load(kOther, 600'000, probe::Trit::kErgodic)};
  EXPECT_EQ(drain_target(job(1, kHome), kSelf, view), kHome);
  view[0].live = false;
  EXPECT_EQ(drain_target(job(1, kHome), kSelf, view), std::nullopt);
}

TEST(Drain, AJobAtHomeHereLeavesOnlyForAnIdleNodeWithRoom) {
  std::vector<NodeLoad> view = {load(kSelf, 0, probe::Trit::kMinus),
                                load(kOther, 400'000, probe::Trit::kErgodic)};
  EXPECT_EQ(drain_target(job(1, kSelf), kSelf, view), std::nullopt);
  view.push_back(load(kHome, 200'000, probe::Trit::kMinus));
  EXPECT_EQ(drain_target(job(1, kSelf), kSelf, view), kHome);
  view.back().memory_free_bytes = kGigabyte / 2;
  EXPECT_EQ(drain_target(job(1, kSelf), kSelf, view), std::nullopt);
  view.back().memory_free_bytes = kGigabyte + kGigabyte / 10;  // less the 5 % that it keeps
  EXPECT_EQ(drain_target(job(1, kSelf), kSelf, view), std::nullopt);
  view.back().memory_free_bytes = 4 * kGigabyte;
  view.back().accepts_jobs = false;
  EXPECT_EQ(drain_target(job(1, kSelf), kSelf, view), std::nullopt);
}

TEST(Drain, GuestsFirstThenTheSmallestOneAfterAnother) {
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus)};
  std::vector<DrainJob> jobs = {job(1, kSelf), job(2, kHome, 2 * kGigabyte), job(3, kHome)};
  Drain drain;
  EXPECT_FALSE(drain.next(at(0), kSelf, jobs, view));
  drain.reach(Reach::kAll);
  std::vector<int> order;
  while (const auto move = drain.next(at(0), kSelf, jobs, view)) {
    order.push_back(move->job.bytes[0]);
    drain.moving(*move);
    EXPECT_FALSE(drain.next(at(0), kSelf, jobs, view)) << "one at a time";
    drain.moved(at(0), move->job, {});
    std::erase_if(jobs, [&](const DrainJob& j) { return j.facts.id == move->job; });
  }
  EXPECT_EQ(order, (std::vector<int>{3, 2, 1}));
}

TEST(Drain, BeforeSleepSomeAreAskedForTogetherAndWhatTheyTakeIsCounted) {
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus),
                                      load(kOther, 200'000, probe::Trit::kMinus)};
  const NodeId away = node_id(9);
  const std::vector<DrainJob> jobs = {job(1, away), job(2, away), job(3, kOther), job(4, kHome)};
  Drain drain;
  drain.reach(Reach::kGuests);
  drain.at_once(3);
  std::vector<std::pair<int, NodeId>> moves;
  while (const auto move = drain.next(at(0), kSelf, jobs, view)) {
    ASSERT_TRUE(move->target);
    moves.emplace_back(move->job.bytes[0], *move->target);
    drain.moving(*move);
  }
  EXPECT_EQ(moves, (std::vector<std::pair<int, NodeId>>{{1, kHome}, {2, kOther}, {3, kOther}}));
  EXPECT_TRUE(drain.busy());
  EXPECT_EQ(drain.left(jobs)[2].why, "it is being moved");
  EXPECT_EQ(drain.left(jobs)[3].why, "it is next");
  drain.moved(at(1), jobs[1].facts.id, "its home does not answer");
  EXPECT_FALSE(drain.busy());
  EXPECT_EQ(drain.next(at(1), kSelf, jobs, view)->job, jobs[3].facts.id)
      << "not the one that failed";
}

// One that it has asked for, and one that a rule or a person moves.
TEST(Drain, WhatJobsWhoseHandoverIsUnderWayTakeIsCounted) {
  const NodeId away = node_id(9);
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus),
                                      load(kOther, 200'000, probe::Trit::kMinus)};
  for (const bool own : {true, false}) {
    SCOPED_TRACE(own);
    std::vector<DrainJob> jobs = {job(1, away), job(2, away)};
    Drain drain;
    drain.reach(Reach::kGuests);
    drain.at_once(2);
    if (own) {
      drain.moving(*drain.next(at(0), kSelf, jobs, view));
    } else {
      jobs[0].leaves_for = kHome;
    }
    jobs[0].busy = true;
    const auto second = drain.next(at(0), kSelf, jobs, view);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->job, jobs[1].facts.id);
    EXPECT_EQ(second->target, kOther) << "kHome takes the first one";
    EXPECT_EQ(drain.left(jobs)[0].why, "it is being moved");
  }
}

// Else the handover itself would make its failures forgotten, and it would never be parked.
TEST(Drain, WhatFailedIsRememberedWhileAHandoverIsUnderWay) {
  const std::vector<NodeLoad> view = {load(kOther, 0, probe::Trit::kMinus)};
  std::vector<DrainJob> jobs = {job(1, kSelf)};
  Drain drain;
  drain.reach(Reach::kAll);
  drain.parks(true);
  for (int i = 0; i < kDrainTries; ++i) {
    const Time now = at(0) + kDrainRetry * i;
    drain.moving(*drain.next(now, kSelf, jobs, view));
    jobs[0].busy = true;
    EXPECT_FALSE(drain.next(now, kSelf, jobs, view));
    drain.moved(now, jobs[0].facts.id, "no such file there");
    EXPECT_FALSE(drain.next(now, kSelf, jobs, view));
    EXPECT_EQ(drain.next_try(), base::kNever) << "its end is an event";
    jobs[0].busy = false;
  }
  const auto park = drain.next(at(0) + kDrainRetry * (kDrainTries - 1), kSelf, jobs, view);
  ASSERT_TRUE(park);
  EXPECT_FALSE(park->target);
}

TEST(Drain, WhatIsCalledOffHasNotFailed) {
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus)};
  const std::vector<DrainJob> jobs = {job(1, kHome)};
  Drain drain;
  drain.reach(Reach::kAll);
  drain.moving(*drain.next(at(0), kSelf, jobs, view));
  drain.reach(Reach::kNobody);
  EXPECT_EQ(drain.left(jobs)[0].why, "it is being moved");
  drain.moved(at(1), jobs[0].facts.id, "it is not to be moved any more");
  EXPECT_EQ(drain.left(jobs)[0].why, "it stays for now");
  EXPECT_EQ(drain.next_try(), base::kNever);
  EXPECT_FALSE(drain.next(at(1), kSelf, jobs, view));
  drain.reach(Reach::kAll);
  EXPECT_TRUE(drain.next(at(1), kSelf, jobs, view));
}

TEST(Drain, WhatWasRefusedIsTriedAgainLaterAndSaysWhy) {
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus)};
  const std::vector<DrainJob> jobs = {job(1, kHome), job(2, kHome)};
  Drain drain;
  drain.reach(Reach::kAll);
  drain.moving(*drain.next(at(0), kSelf, jobs, view));
  EXPECT_EQ(drain.left(jobs)[0].why, "it is being moved");
  EXPECT_EQ(drain.left(jobs)[1].why, "it is next");
  EXPECT_EQ(drain.next_try(), base::kNever);
  drain.moved(at(1), jobs[0].facts.id, "the port is taken");
  EXPECT_EQ(drain.left(jobs)[0].why, "the port is taken");
  const auto second = drain.next(at(1), kSelf, jobs, view);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->job, jobs[1].facts.id);
  drain.moving(*second);
  drain.moved(at(2), second->job, "it is traced");
  EXPECT_FALSE(drain.next(at(3), kSelf, jobs, view));
  EXPECT_EQ(drain.next_try(), at(1) + kDrainRetry);
  EXPECT_EQ(drain.next(drain.next_try(), kSelf, jobs, view)->job, jobs[0].facts.id);
}

TEST(Drain, WhatCannotMoveIsSaidAndNotTried) {
  const std::vector<NodeLoad> view = {load(kHome, 0, probe::Trit::kMinus)};
  std::vector<DrainJob> jobs = {job(1, kHome)};
  jobs[0].facts.movable = false;
  jobs[0].facts.why_not = "it is traced";
  Drain drain;
  drain.reach(Reach::kAll);
  EXPECT_FALSE(drain.next(at(0), kSelf, jobs, view));
  EXPECT_EQ(drain.left(jobs)[0].why, "it is traced");
  EXPECT_EQ(drain.next_try(), at(0) + kDrainRetry);
}

TEST(Drain, ParksOwnJobsThatFitNowhereWhenNobodyElseCanLeave) {
  const std::vector<NodeLoad> view = {load(kHome, 600'000, probe::Trit::kErgodic)};
  std::vector<DrainJob> jobs = {job(1, kSelf), job(2, kHome), job(3, kSelf)};
  jobs[2].facts.movable = false;
  Drain drain;
  drain.reach(Reach::kAll);
  drain.parks(true);
  const auto guest = drain.next(at(0), kSelf, jobs, view);
  ASSERT_TRUE(guest && guest->target);
  EXPECT_EQ(*guest->target, kHome);
  drain.moving(*guest);
  drain.moved(at(0), guest->job, "its home does not answer");
  const auto own = drain.next(at(0), kSelf, jobs, view);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->job, jobs[0].facts.id);
  EXPECT_FALSE(own->target);
  drain.moving(*own);
  EXPECT_EQ(drain.left(jobs)[0].why, "it is being parked");
  drain.moved(at(1), own->job, "it cannot be parked: no space");
  EXPECT_EQ(drain.left(jobs)[0].why, "it cannot be parked: no space");
  EXPECT_FALSE(drain.next(at(2), kSelf, jobs, view)) << "guests, and what cannot move, stay";
  drain.moving(*drain.next(at(0) + kDrainRetry, kSelf, jobs, view));  // the guest again
  drain.moved(at(11), guest->job, "its home does not answer");
  EXPECT_EQ(drain.next(at(11), kSelf, jobs, view)->job, jobs[0].facts.id);
  drain.parks(false);
  EXPECT_FALSE(drain.next(at(11), kSelf, jobs, view));
}

TEST(Drain, AnOwnJobWhoseMovesFailIsParkedAfterSome) {
  const std::vector<NodeLoad> view = {load(kOther, 0, probe::Trit::kMinus)};
  const std::vector<DrainJob> jobs = {job(1, kSelf)};
  Drain drain;
  drain.reach(Reach::kAll);
  drain.parks(true);
  Time now = at(0);
  for (int i = 0; i < kDrainTries; ++i, now += kDrainRetry) {
    const auto move = drain.next(now, kSelf, jobs, view);
    ASSERT_TRUE(move && move->target) << i;
    drain.moving(*move);
    drain.moved(now, move->job, "no such file there");
    EXPECT_EQ(drain.next(now, kSelf, jobs, view).has_value(), i + 1 == kDrainTries);
  }
  const auto park = drain.next(now - kDrainRetry, kSelf, jobs, view);
  ASSERT_TRUE(park);
  EXPECT_FALSE(park->target);
}

std::uint64_t drain(World& world, std::size_t node, bool off = false, bool park = false) {
  return world.post(node, [&](std::uint64_t request) {
    return DrainNode{request, off, true, park};
  });
}

TEST(Node, ADrainedNodeSendsItsJobAwayAndTakesNone) {
  Fixture f(31, nodes(3));
  const auto asked = drain(f.world, 0);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 120s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 0);
  EXPECT_GT(f.world.replies(asked).size(), 1U) << "it says for whom it waits";
  const int at = f.world.where(f.job);
  ASSERT_GT(at, 0);
  // Nobody brings it back, a restart does not forget, and --off ends it.
  f.world.crash(0, 2s);
  f.world.run(8s);
  EXPECT_TRUE(f.world.node(0)->draining());
  const auto back = migrate(f.world, 0, static_cast<std::size_t>(at), f.job, 0);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(back); }, 60s));
  EXPECT_EQ(f.world.replies(back).back().exit_code, 5) << f.world.replies(back).back().sentence;
  const auto off = drain(f.world, 0, true);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(off); }, 5s));
  f.world.run(2s);
  const auto again = migrate(f.world, 0, static_cast<std::size_t>(at), f.job, 0);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(again); }, 60s));
  EXPECT_EQ(f.world.where(f.job), 0);
  f.settle();
}

TEST(Node, AGuestOfADrainedNodeGoesHome) {
  Fixture f(32, nodes(3));
  const auto moved = migrate(f.world, 0, 0, f.job, 2);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
  ASSERT_EQ(f.world.where(f.job), 2);
  const auto asked = drain(f.world, 2);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 120s));
  EXPECT_EQ(f.world.where(f.job), 0);
  f.settle();
}

TEST(Node, ADrainThatParksIsOverOnceTheJobRests) {
  Fixture f(34, nodes(1));
  const auto asked = drain(f.world, 0, false, true);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 30s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 0);
  const jobs::Job* job = f.world.node(0)->jobs().find(f.job);
  ASSERT_NE(job, nullptr);
  EXPECT_EQ(job->rest, jobs::Rest::kParked);
  bool said = false;
  for (const Reply& one : f.world.replies(asked)) {
    said = said || one.sentence.find("it is being parked") != std::string::npos;
  }
  EXPECT_TRUE(said) << "it says for whom it waits";
  f.settle();
}

TEST(Node, ADrainThatParksDoesSoAfterARestartToo) {
  Fixture f(35, nodes(1));
  const auto parked = [&](const JobId& id) {
    const Node* node = f.world.node(0);
    const jobs::Job* job = node == nullptr ? nullptr : node->jobs().find(id);
    return job != nullptr && job->rest == jobs::Rest::kParked;
  };
  (void)drain(f.world, 0, false, true);
  ASSERT_TRUE(f.world.run_until([&] { return parked(f.job); }, 60s));
  f.world.crash(0, 2s);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.node(0) != nullptr; }, 30s));
  f.world.run(8s);
  const JobId other = f.world.run_job(0);
  EXPECT_TRUE(f.world.run_until([&] { return parked(other); }, 60s));
  f.settle();
}

// What no triad has formed for is withdrawn; what has begun is finished.
TEST(Node, ADrainThatIsCalledOffSaysWhatBecomesOfItsMoves) {
  for (const bool begun : {false, true}) {
    SCOPED_TRACE(begun);
    Fixture f(36, nodes(3));
    const auto asked = drain(f.world, 0);
    ASSERT_TRUE(f.world.run_until(
        [&] {
          return begun ? f.world.node(0)->seat().has_value() : !f.world.replies(asked).empty();
        },
        60s));
    const auto off = drain(f.world, 0, true);
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(off); }, 5s));
    const auto steps = f.world.replies(off).back().withdrawn;
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_EQ(steps[0].job, f.job);
    EXPECT_EQ(!steps[0].to.empty(), begun) << steps[0].why;
    EXPECT_EQ(steps[0].why.find("is withdrawn") != std::string::npos, !begun) << steps[0].why;
    f.world.run(30s);
    EXPECT_EQ(f.world.where(f.job) != 0, begun);
    f.settle();
  }
}

TEST(Node, ADrainThatIsCalledOffIsAnswered) {
  Fixture f(33, nodes(1));
  const auto asked = drain(f.world, 0);
  f.world.run(5s);
  EXPECT_FALSE(f.world.answered(asked)) << "there is nobody to take the job";
  EXPECT_NE(f.world.replies(asked).back().sentence.find("no idle node"), std::string::npos);
  const auto off = drain(f.world, 0, true);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(off); }, 5s));
  EXPECT_TRUE(f.world.answered(asked));
  EXPECT_EQ(f.world.where(f.job), 0);
  f.settle();
}

}  // namespace
}  // namespace node::testing
