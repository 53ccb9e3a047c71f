// S is the sum of the trits of all live nodes, this one included as it is (design.md §2).
#include <gtest/gtest.h>

#include <algorithm>

#include "balance/balance.h"
#include "balance/limits.h"

namespace balance {
namespace {

using std::chrono::seconds;

const NodeId kSelf{{1}};
const NodeId kIdle{{2}};
const NodeId kBusy{{3}};
const JobId kJob{{9}};

NodeLoad load(const NodeId& id, probe::Trit trit) {
  NodeLoad node;
  node.id = id;
  node.live = true;
  node.accepts_jobs = true;
  node.trit = trit;
  node.cpus_millis = 4000;
  node.memory_total_bytes = node.memory_free_bytes = 1 << 30;
  return node;
}

// Whether it proposes to wake elsewhere a job that rests here, with a third node that is busy.
bool wakes(probe::Trit own_trit) {
  Config config;
  config.self = kSelf;
  Balance balance(config, base::Rng(1), {}, base::null_log());
  base::Time now{std::chrono::hours(1)};
  Actions said = balance.step(now, JobStarted{kJob});
  for (const Action& action : Actions(said)) {
    const auto* write = std::get_if<Persist>(&action);
    if (write != nullptr) (void)balance.step(now, Persisted{write->id});
  }
  // Its own digest of MINUS is the last one that was due.
  (void)balance.step(
      now, ViewChanged{{load(kSelf, probe::Trit::kMinus), load(kIdle, probe::Trit::kMinus),
                        load(kBusy, probe::Trit::kPlus)},
                       {}});
  now += 2 * kViewSettles;
  LocalState local;
  local.trit = own_trit;
  local.effective_ratio_micros = 700'000;
  local.cpus_millis = 1000;
  local.policy.moves_jobs = true;
  JobFacts job;
  job.id = kJob;
  job.state = JobState::kQueued;
  job.load_micros = 500'000;
  local.jobs = {job};
  said = balance.step(now, local);
  return std::any_of(said.begin(), said.end(), [](const Action& action) {
    return std::holds_alternative<Persist>(action);  // the acceptance of its own proposal
  });
}

TEST(Sum, CountsThisNodeAsItIs) {
  EXPECT_TRUE(wakes(probe::Trit::kMinus)) << "S = -1; here there is no room for it";
  EXPECT_FALSE(wakes(probe::Trit::kErgodic)) << "S = 0";
}

}  // namespace
}  // namespace balance
