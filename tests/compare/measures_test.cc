#include "compare/measures.h"

#include <gtest/gtest.h>

#include <map>
#include <queue>

#include "compare/mesh.h"

namespace compare {
namespace {

TEST(Measures, AgreeWithFiguresByHand) {
  const Level level = level_of({4, 0, 2, 2});  // mean 2
  EXPECT_EQ(level.spread, 4U);
  EXPECT_DOUBLE_EQ(level.variance, 2.0);
  EXPECT_DOUBLE_EQ(level.makespan_ratio, 2.0);
  EXPECT_NEAR(level.coefficient_of_variation, 0.70710678, 1e-8);
  EXPECT_NEAR(level.jain_index, 64.0 / (4 * 24), 1e-12);
  EXPECT_DOUBLE_EQ(level_of({3, 3, 3}).jain_index, 1.0);
  EXPECT_NEAR(level_of({9, 0, 0}).jain_index, 1.0 / 3, 1e-12);
  EXPECT_EQ(level_of({0, 0}).spread, 0U);
}

TEST(Measures, MakespanIsComparedWithTheBestWholeOne) {
  EXPECT_DOUBLE_EQ(level_of({2, 1, 1}).makespan_ratio, 1.0);  // 4 jobs on 3 nodes: 2 at best
}

// The naive twin: breadth first over single moves until the spread is small enough.
std::uint64_t fewest_by_search(const Loads& start, std::uint32_t spread) {
  std::map<Loads, std::uint64_t> seen = {{start, 0}};
  std::queue<Loads> left({start});
  while (true) {
    const Loads loads = left.front();
    left.pop();
    if (level_of(loads).spread <= spread) return seen[loads];
    for (std::size_t from = 0; from < loads.size(); ++from) {
      for (std::size_t to = 0; to < loads.size(); ++to) {
        if (from == to || loads[from] == 0) continue;
        Loads next = loads;
        --next[from];
        ++next[to];
        if (seen.emplace(next, seen[loads] + 1).second) left.push(next);
      }
    }
  }
}

TEST(Measures, LeastMovesAgreeWithASearchOfAllWays) {
  const sim::Draws draws(7);
  sim::Dice dice(draws, sim::Stream::kPolicy, 1);
  for (int trial = 0; trial < 60; ++trial) {
    Loads start(3 + dice.below(2), 0);
    const std::uint64_t jobs = 1 + dice.below(9);
    for (std::uint64_t i = 0; i < jobs; ++i) ++start[dice.below(start.size())];
    for (const std::uint32_t spread : {1U, 2U, 3U}) {
      SCOPED_TRACE(testing::PrintToString(start) + " to " + std::to_string(spread));
      EXPECT_EQ(least_moves(start, spread), fewest_by_search(start, spread));
    }
    EXPECT_EQ(least_moves(start, 0), least_moves(start, jobs % start.size() == 0 ? 0 : 1));
  }
}

TEST(Mesh, CountsEachMoveAndWhoCameStraightBack) {
  Mesh mesh({2, 0, 0});
  mesh.move(0, 1, 2);
  EXPECT_EQ(mesh.moves(), 2U);
  EXPECT_EQ(mesh.ping_pongs(), 0U);
  mesh.move(1, 2, 1);
  mesh.move(1, 0, 1);  // back to where its last move took it from
  EXPECT_EQ(mesh.ping_pongs(), 1U);
  mesh.move(2, 0, 1);  // home, but by another way
  EXPECT_EQ(mesh.ping_pongs(), 1U);
  EXPECT_EQ(mesh.jobs_moved(), 2U);
  EXPECT_EQ(mesh.loads(), (Loads{2, 0, 0}));
}

TEST(Mesh, TheLongestThereGoesFirst) {
  Mesh mesh({1, 1});
  mesh.move(0, 1, 1);  // job 0 joins job 1
  mesh.move(1, 0, 1);
  EXPECT_EQ(mesh.where(1), 0U);
  EXPECT_EQ(mesh.where(0), 1U);
}

TEST(Mesh, GuestsGoFirstWhereAsked) {
  Mesh mesh({1, 1}, Mesh::Pick::kGuestsFirst);
  mesh.move(0, 1, 1);
  mesh.move(1, 0, 1);
  EXPECT_EQ(mesh.where(0), 0U);
  EXPECT_EQ(mesh.where(1), 1U);
}

TEST(Mesh, StartsHaveTheSameJobs) {
  const sim::Draws draws(3);
  for (const std::uint32_t nodes : {3U, 10U, 31U}) {
    for (const Start start : {Start::kRandom, Start::kHalf, Start::kOne}) {
      EXPECT_EQ(Mesh(start_loads(nodes, start, draws)).jobs(), nodes * kJobsPerNode);
    }
  }
  EXPECT_EQ(start_loads(4, Start::kHalf, draws), (Loads{20, 20, 0, 0}));
  EXPECT_EQ(start_loads(3, Start::kOne, draws), (Loads{30, 0, 0}));
}

}  // namespace
}  // namespace compare
