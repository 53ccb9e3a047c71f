// The promises of design.md §4 in random worlds. TERN_SEEDS=N runs more of them, TERN_SEED=S one.
#include "world.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace balance::testing {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void run_worlds(std::size_t nodes) {
  const std::uint64_t one = from_environment("TERN_SEED", 0);
  const std::uint64_t first = one != 0 ? one : 1;
  const std::uint64_t last = one != 0 ? one : from_environment("TERN_SEEDS", 300);
  World::Counts sum;
  int failed = 0;
  for (std::uint64_t seed = first; seed <= last && failed < 5; ++seed) {
    World world(seed, options_of(seed, nodes));
    world.run();
    for (const std::string& violation : world.violations()) {
      ADD_FAILURE() << "TERN_SEED=" << seed << " nodes " << nodes << " at " << violation;
    }
    if (!world.violations().empty()) ++failed;
    const World::Counts& c = world.counts();
    sum.events += c.events;
    sum.crashes += c.crashes;
    sum.begun += c.begun;
    sum.commits += c.commits;
    sum.aborts += c.aborts;
    sum.voids += c.voids;
    sum.gone += c.gone;
    sum.lost += c.lost;
    sum.lingered += c.lingered;
    sum.away += c.away;
    sum.waiting += c.waiting;
  }
  std::printf(
      "%zu nodes: %llu events, %llu crashes, %llu commits (%llu void), %llu aborts (%llu "
      "ran on the sink), %llu jobs lost by accident, %llu times lingered, %llu machines away, "
      "%llu copies wait for one\n",
      nodes, static_cast<unsigned long long>(sum.events),
      static_cast<unsigned long long>(sum.crashes), static_cast<unsigned long long>(sum.commits),
      static_cast<unsigned long long>(sum.voids), static_cast<unsigned long long>(sum.aborts),
      static_cast<unsigned long long>(sum.gone), static_cast<unsigned long long>(sum.lost),
      static_cast<unsigned long long>(sum.lingered), static_cast<unsigned long long>(sum.away),
      static_cast<unsigned long long>(sum.waiting));
  if (one != 0) return;
  // A world in which nothing happens proves nothing.
  EXPECT_GT(sum.commits, last);
  EXPECT_GT(sum.aborts, last / 4);
  EXPECT_GT(sum.lingered, last / 10);
  EXPECT_GT(sum.waiting, 0U);
}

TEST(BalanceWorld, ThreeNodesKeepEveryPromise) { run_worlds(3); }
TEST(BalanceWorld, TwoNodesKeepEveryPromise) { run_worlds(2); }
TEST(BalanceWorld, FiveNodesKeepEveryPromise) { run_worlds(5); }

}  // namespace
}  // namespace balance::testing
