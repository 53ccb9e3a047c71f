// Whole nodes in a small world (node_world.h): people's words, rules, crashes.
#include <gtest/gtest.h>

#include <cstdlib>

#include "fixture.h"
#include "node/limits.h"
#include "node/records.h"

namespace node::testing {
namespace {

TEST(Node, NodesThatMeetSeeEachOther) {
  for (const std::size_t count : {2U, 3U}) {
    World world(5, nodes(count));
    EXPECT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s)) << count;
  }
}

// Views of large meshes are samples: a triad's members may not know each other.
TEST(Node, WhereTheOthersOfATriadAreIsToldWithTheProposalAndKept) {
  World world(6, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  const auto unknown = [](std::uint8_t number) {
    return Whereabouts{base::NodeId{{number, 1}}, base::Endpoint::v4({10, 1, 0, number}, 7333)};
  };
  const auto hear = [&](const Whereabouts& other) {
    return world.node(0)->step(world.now(),
                               MessageIn{world.id(1), encode(Agreement{{0xc0}, {other}})});
  };
  EXPECT_TRUE(world.node(0)->addresses_of(unknown(1).node).empty());
  const Actions first = hear(unknown(1));
  EXPECT_EQ(world.node(0)->addresses_of(unknown(1).node), std::vector{unknown(1).at});
  StoredRecords records;
  for (const Action& action : first) {
    const auto* persist = std::get_if<Persist>(&action);
    if (persist == nullptr) continue;
    for (const auto& change : persist->changes) records[change.key] = *change.value;
  }
  EXPECT_EQ(met_of(records), (std::deque{unknown(1)})) << "over a restart";
  // Of a member that the view shows, its own word counts.
  const auto own = world.node(0)->addresses_of(world.id(1));
  (void)hear({world.id(1), unknown(9).at});
  EXPECT_EQ(world.node(0)->addresses_of(world.id(1)), own);
  // The oldest goes.
  for (std::size_t i = 2; i < 2 + kMetKeptMax; ++i) (void)hear(unknown(std::uint8_t(i)));
  EXPECT_TRUE(world.node(0)->addresses_of(unknown(1).node).empty());
  EXPECT_FALSE(world.node(0)->addresses_of(unknown(2).node).empty());
}

// Who moved and was met once is found there after a restart, though nothing else was heard of it.
TEST(Node, WhereAnotherWasMetIsKept) {
  World world(7, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  const auto elsewhere = base::Endpoint::v4({10, 1, 0, 9}, 7333);
  const base::Bytes chain = world.node(0)->roster().find(world.id(1))->chain;
  const Actions met = world.node(0)->step(world.now(), Introduced{chain, elsewhere});
  StoredRecords records;
  for (const Action& action : met) {
    const auto* persist = std::get_if<Persist>(&action);
    if (persist == nullptr) continue;
    for (const auto& change : persist->changes) records[change.key] = *change.value;
  }
  const auto stored = addresses_of(records);
  ASSERT_EQ(stored.ids(), std::vector{world.id(1)});
  EXPECT_EQ(stored.value(0), elsewhere);
}

// Its digest, which names where it was, is older than the handshake (seed 17323).
TEST(Node, WhereAnotherWasMetIsNotForgottenForItsOldDigest) {
  World world(7, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  const auto state = [&] {
    for (const StatusNode& seen : world.node(0)->status().nodes) {
      if (!seen.self) return seen.view.state;
    }
    return gossip::State::kLeft;
  };
  world.crash(1, 120s);
  ASSERT_TRUE(world.run_until([&] { return state() == gossip::State::kDead; }, 60s));
  const auto elsewhere = base::Endpoint::v4({10, 1, 0, 9}, 7333);
  const base::Bytes chain = world.node(0)->roster().find(world.id(1))->chain;
  StoredRecords records;
  const auto take = [&](const Actions& actions) {
    for (const Action& action : actions) {
      const auto* persist = std::get_if<Persist>(&action);
      if (persist == nullptr) continue;
      for (const auto& change : persist->changes) records[change.key] = *change.value;
    }
  };
  take(world.node(0)->step(world.now(), Introduced{chain, elsewhere}));
  take(world.node(0)->step(world.now(), Tick{}));
  EXPECT_EQ(state(), gossip::State::kAlive);
  const auto stored = addresses_of(records);
  ASSERT_EQ(stored.ids(), std::vector{world.id(1)});
  EXPECT_EQ(stored.value(0), elsewhere);
}

// Nobody seeks a node that left in order, so that it has to find the others itself.
TEST(Node, ANodeThatLeftInOrderFindsItsMeshAgain) {
  World::Options options = nodes(3);
  options.first_has_no_seed = true;
  World world(8, options);
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  (void)world.post(0, [](std::uint64_t) { return Leave{}; });
  world.run(1s);
  world.crash(0, 30s);
  world.run(31s);
  EXPECT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  EXPECT_EQ(world.violations, std::vector<std::string>{});
}

TEST(Node, AnIdleNodeDoesNotKeepItsHostBusy) {
  World world(6, nodes(3));
  world.run(30s);
  const std::uint64_t before = world.steps(0);
  world.run(60s);
  EXPECT_LT(world.steps(0) - before, 60U * 60) << "steps in a minute";
  EXPECT_EQ(world.violations, std::vector<std::string>{});
}

TEST(Node, APersonMovesAJobHereAndThroughAnotherNode) {
  for (const std::size_t count : {2U, 3U}) {
    SCOPED_TRACE(count);
    Fixture f(7 + count, nodes(count));
    const auto first = migrate(f.world, 0, 0, f.job, 1);
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(first); }, 60s));
    EXPECT_EQ(f.world.replies(first).back().exit_code, 0) << f.world.replies(first).back().sentence;
    EXPECT_TRUE(f.world.replies(first).back().handover_json.has_value());
    EXPECT_EQ(f.world.where(f.job), 1);
    f.world.run(10s);
    const auto second = migrate(f.world, 0, 1, f.job, 0);
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(second); }, 60s));
    EXPECT_EQ(f.world.replies(second).back().exit_code, 0)
        << f.world.replies(second).back().sentence;
    EXPECT_EQ(f.world.where(f.job), 0);
    f.settle();
  }
}

TEST(Node, OnlyItsOwnerOrRootMovesOrSignalsAJob) {
  Fixture f(11, nodes(2));
  const auto here = migrate(f.world, 0, 0, f.job, 1, 1001);
  const auto through = migrate(f.world, 1, 0, f.job, 1, 1001);
  const auto kill = f.world.post(1, [&](std::uint64_t request) {
    return KillJob{request, 1001, f.job, f.world.id(0), 9};
  });
  f.world.run(3s);
  for (const auto request : {here, through, kill}) {
    ASSERT_TRUE(f.world.answered(request));
    EXPECT_EQ(f.world.replies(request).back().exit_code, 5);
  }
  EXPECT_EQ(f.world.where(f.job), 0);
}

// Its triad ends without an outcome when the other two have lost their stores.
TEST(Node, AHandoverThatWasLeftWithoutAnOutcomeIsShownNoMore) {
  Fixture f(26, nodes(3));
  (void)migrate(f.world, 0, 0, f.job, 1);
  const auto begun = [&] { return !f.world.node(0)->unsettled().empty(); };
  for (int i = 0; i < 30'000 && !begun(); ++i) f.world.run(1ms);
  ASSERT_TRUE(begun());
  f.world.run(20ms);  // on its disk
  (void)f.world.post(0, [](std::uint64_t) { return Stopping{true}; });
  for (const std::size_t other : {1U, 2U}) {
    f.world.crash(other, 1s);
    std::erase_if(f.world.disk(other), [](const auto& r) {
      return r.first.starts_with("tri/") || r.first.starts_with("end/");
    });
  }
  ASSERT_TRUE(f.world.run_until([&] { return !begun() && !f.world.node(0)->seat(); }, 120s));
  const auto ps = f.world.post(0, [](std::uint64_t request) { return AskJobs{request}; });
  f.world.run(3s);
  ASSERT_TRUE(f.world.answered(ps));
  EXPECT_EQ(f.world.replies(ps).back().jobs->jobs.at(0).state, JobState::kRunning);
}

// The daemon died between the job's description and its ownership record, or lost the latter.
TEST(Node, AJobWithoutAnOwnerIsLostAndSaysSo) {
  Fixture f(24, nodes(2));
  f.world.crash(0, 2s);
  std::erase_if(f.world.disk(0), [](const auto& r) { return r.first.starts_with("own/"); });
  ASSERT_TRUE(f.world.run_until([&] { return f.world.all_know_all(); }, 60s));
  for (const std::size_t node : {0U, 1U}) {
    const auto ps = f.world.post(node, [](std::uint64_t request) { return AskJobs{request}; });
    f.world.run(3s);
    ASSERT_TRUE(f.world.answered(ps));
    const auto& jobs = f.world.replies(ps).back().jobs;
    ASSERT_TRUE(jobs && jobs->jobs.size() == 1);
    EXPECT_EQ(jobs->jobs[0].state, JobState::kLost);
    EXPECT_EQ(jobs->jobs[0].node, f.world.id(0));
  }
  const auto given_up = kill(f.world, 0, 0, f.job);
  f.world.run(1s);
  ASSERT_TRUE(f.world.answered(given_up));
  EXPECT_EQ(f.world.node(0)->jobs().find(f.job), nullptr);
}

std::uint64_t try_to_migrate(World& world, std::size_t asked, std::size_t host, const JobId& job,
                             std::optional<std::size_t> target, std::uint32_t uid = 0) {
  return world.post(asked, [&](std::uint64_t request) {
    MigrateJob order{request, uid, job, world.id(host), {}, true};
    if (target) order.target = world.id(*target);
    return order;
  });
}

TEST(Node, ADryRunAsksTheSinkAndMovesNothing) {
  for (const std::size_t asked : {0U, 2U}) {
    for (const std::vector<std::string>& obstacles :
         std::vector<std::vector<std::string>>{{}, {"no \"CRIU\"", "no room"}}) {
      SCOPED_TRACE(asked);
      World::Options options = nodes(3);
      options.obstacles = obstacles;
      Fixture f(60 + asked, options);
      for (const std::optional<std::size_t> target : {std::optional<std::size_t>(1), {}}) {
        const auto request = try_to_migrate(f.world, asked, 0, f.job, target);
        ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(request); }, 20s));
        const Reply& said = f.world.replies(request).back();
        EXPECT_EQ(said.exit_code, 0) << said.sentence;
        ASSERT_TRUE(said.handover_json.has_value());
        const std::string list = obstacles.empty() ? "\"obstacles\":[]" : R"(: no \"CRIU\"",")";
        EXPECT_NE(said.handover_json->find(list), std::string::npos) << *said.handover_json;
        EXPECT_NE(said.handover_json->find(f.job.hex()), std::string::npos);
      }
      f.world.run(10s);
      EXPECT_EQ(f.world.where(f.job), 0);
      EXPECT_EQ(f.world.handovers(), 0U);
      f.settle();
    }
  }
}

// Its order, its question to the sink and the answers to both: each is said again if it is lost.
TEST(Node, ADryRunGetsThroughAWireThatLoses) {
  int answered = 0;
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed, nodes(3));
    f.world.loss_permille = 400;
    const auto request = try_to_migrate(f.world, 2, 0, f.job, 1);
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(request); }, 60s));
    EXPECT_LE(f.world.trials(), 1U) << "the order was carried out twice";
    const int code = f.world.replies(request).back().exit_code;
    EXPECT_TRUE(code == 0 || code == 4) << f.world.replies(request).back().sentence;
    if (code == 0) ++answered;
    f.settle();
    EXPECT_EQ(f.world.where(f.job), 0);
  }
  EXPECT_GE(answered, 15) << "said once, three of twenty would be answered";
}

TEST(Node, ADryRunIsRefusedAndEndsLikeAMove) {
  Fixture f(70, nodes(2));
  const auto strangers = try_to_migrate(f.world, 0, 0, f.job, 1, 1001);
  const auto nobody = f.world.post(0, [&](std::uint64_t request) {
    return MigrateJob{request, 0, f.job, f.world.id(0), base::NodeId{{9}}, true};
  });
  f.world.crash(1, 300s);
  const auto gone = try_to_migrate(f.world, 0, 0, f.job, 1);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(gone); }, 60s)) << "it must end";
  EXPECT_EQ(f.world.replies(gone).back().exit_code, 4);
  EXPECT_EQ(f.world.replies(strangers).back().exit_code, 5);
  EXPECT_EQ(f.world.replies(nobody).back().exit_code, 4);
  // Places are given back: as many again are taken.
  for (std::size_t i = 0; i < 2 * kTrialsMax; ++i) {
    const auto again = f.world.post(0, [&](std::uint64_t request) {
      return MigrateJob{request, 0, f.job, f.world.id(0), base::NodeId{{9}}, true};
    });
    EXPECT_EQ(f.world.replies(again).back().exit_code, 4);
  }
  EXPECT_EQ(f.world.where(f.job), 0);
}

// job_wire.h, "Who may ask what": a job of uid 1000 that is at home on node 0 and runs there, or
// was moved to node 1; node 2 has no part in it. Node 0 stands for a home, node 1 for a host.
TEST(Node, ForeignWordsCountOnlyForWhomThePolicyNames) {
  struct Row {
    const char* name;
    PeoplePolicy people;
    std::uint32_t uid;
    bool signals_host, reads_log;  // from node 2
    bool home_signals_host;        // from node 0, whose job it is
  };
  const Row rows[] = {
      {"root of another member", {}, 0, false, false, true},
      {"root, where root's foreign jobs run", {true, {}}, 0, true, true, true},
      {"its owner elsewhere", {}, 1000, false, false, true},
      {"its owner, the same person", {false, {1000}}, 1000, true, true, true},
      {"its owner, where only root is known", {true, {}}, 1000, false, false, true},
      {"somebody else, the same person", {false, {1001}}, 1001, false, false, false},
      {"somebody else", {true, {1000}}, 1001, false, false, false},
  };
  std::uint64_t seed = 40;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    World::Options options = nodes(3);
    options.people = row.people;
    Fixture f(++seed, options);
    const auto moved = migrate(f.world, 0, 0, f.job, 1);
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
    ASSERT_EQ(f.world.where(f.job), 1);
    const auto kill = [&](std::size_t asked) {
      const auto request = f.world.post(asked, [&](std::uint64_t id) {
        return KillJob{id, row.uid, f.job, f.world.id(1), 15};
      });
      EXPECT_TRUE(f.world.run_until([&] { return f.world.answered(request); }, 20s));
      return f.world.replies(request).back();
    };
    const auto log = f.world.post(
        2, [&](std::uint64_t id) { return AskLog{id, row.uid, f.job, f.world.id(0), 0, 0}; });
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(log); }, 20s));
    const Reply& shown = f.world.replies(log).back();
    EXPECT_EQ(shown.log.has_value() && !shown.log->bytes.empty(), row.reads_log);
    EXPECT_EQ(shown.exit_code, row.reads_log ? 0 : 5) << shown.sentence;
    const Reply from_stranger = kill(2);
    EXPECT_EQ(from_stranger.exit_code, row.signals_host ? 0 : 5) << from_stranger.sentence;
    EXPECT_EQ(f.world.where(f.job), row.signals_host ? -1 : 1);
    if (!row.signals_host) {
      const Reply from_home = kill(0);
      EXPECT_EQ(from_home.exit_code, row.home_signals_host ? 0 : 5) << from_home.sentence;
    }
    f.settle();
  }
}

TEST(Node, OnlyTheOwnerAndRootReadAJobsOutputAtItsHome) {
  Fixture f(52, nodes(2));
  for (const std::uint32_t uid : {0U, 1000U, 1001U}) {
    const auto log = f.world.post(
        0, [&](std::uint64_t request) { return AskLog{request, uid, f.job, f.world.id(0), 0, 0}; });
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(log); }, 5s));
    EXPECT_EQ(f.world.replies(log).back().exit_code, uid == 1001 ? 5 : 0) << uid;
  }
}

TEST(Node, OutputAndExitOfAJobElsewhereComeHome) {
  Fixture f(12, nodes(3));
  const auto moved = migrate(f.world, 0, 0, f.job, 2);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
  f.world.run(5s);
  EXPECT_GT(f.world.logged(0, f.job) + 300, f.world.produced(f.job));
  const auto log = f.world.post(
      1, [&](std::uint64_t request) { return AskLog{request, 1000, f.job, f.world.id(0), 0, 10}; });
  f.world.run(1s);
  ASSERT_TRUE(f.world.answered(log));
  ASSERT_TRUE(f.world.replies(log).back().log.has_value());
  EXPECT_EQ(f.world.replies(log).back().log->bytes.at(0), pattern(10));
  const auto kill = f.world.post(1, [&](std::uint64_t request) {
    return KillJob{request, 1000, f.job, f.world.id(2), 15};
  });
  f.world.run(5s);
  ASSERT_TRUE(f.world.answered(kill));
  EXPECT_EQ(f.world.replies(kill).back().exit_code, 0);
  EXPECT_EQ(f.world.logged(0, f.job), f.world.produced(f.job));
  for (const std::size_t asked : {0U, 1U, 2U}) {
    const auto ps = f.world.post(asked, [](std::uint64_t request) { return AskJobs{request}; });
    f.world.run(2s);
    ASSERT_TRUE(f.world.answered(ps));
    const auto& answer = f.world.replies(ps).back().jobs;
    ASSERT_TRUE(answer && answer->jobs.size() == 1) << asked;
    EXPECT_EQ(answer->jobs[0].state, JobState::kExited);
    EXPECT_EQ(answer->jobs[0].wait_status, 15);
    EXPECT_TRUE(answer->unreachable.empty());
  }
  EXPECT_EQ(f.world.node(2)->jobs().find(f.job), nullptr);
  f.settle();
}

TEST(Node, AnOverloadedNodeShedsByRule) {
  World world(13, nodes(3));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  std::vector<JobId> all;
  for (int i = 0; i < 6; ++i) all.push_back(world.run_job(0));
  const auto shed = [&] {
    int away = 0;
    for (const JobId& job : all) away += world.where(job) > 0 ? 1 : 0;
    return away >= 2;
  };
  EXPECT_TRUE(world.run_until(shed, 300s));
  EXPECT_EQ(world.violations, std::vector<std::string>{});
}

TEST(Node, ManyLongCommandsFitIntoOneAnswer) {
  World world(14, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  for (int i = 0; i < 300; ++i) {
    JobSpec spec;
    world.rng().fill(spec.id.bytes);
    spec.name.assign(kNameSizeMax, 'n');
    spec.argv = {std::string(4000, 'a')};
    spec.home = world.id(0);
    (void)world.post(0, [&](std::uint64_t request) { return RunJob{request, spec}; });
  }
  world.run(2s);
  const auto ps = world.post(1, [](std::uint64_t request) { return AskJobs{request}; });
  world.run(3s);
  ASSERT_TRUE(world.answered(ps));
  EXPECT_TRUE(world.replies(ps).back().jobs->unreachable.empty());
  EXPECT_EQ(world.replies(ps).back().jobs->jobs.size(), kJobsInReplyMax);
  EXPECT_EQ(world.violations, std::vector<std::string>{});
}

// design.md §4: whatever crashes when, a job never runs twice, ends up running once, and its output
// at home is whole. TERN_NODE_SEEDS: how many worlds.
TEST(Node, CrashesDuringMovesLoseAndDoubleNothing) {
  const char* wanted = std::getenv("TERN_NODE_SEEDS");
  const std::uint64_t seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 60;
  const char* first = std::getenv("TERN_NODE_FIRST");
  const std::uint64_t from = first != nullptr ? std::strtoull(first, nullptr, 10) : 1;
  std::uint64_t moves = 0;
  for (std::uint64_t seed = from; seed < from + seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World::Options options = nodes(seed % 4 == 0 ? 2 : 3);
    options.loss_permille = seed % 3 == 0 ? 0 : 80;
    options.double_permille = 80;
    options.faults_in_host = seed % 5 == 0;
    Fixture f(seed * 1000, options);
    World& world = f.world;
    for (int round = 0; round < 4 && world.violations.empty(); ++round) {
      const int host = std::max(world.where(f.job), 0);
      const std::size_t asked = world.rng().below(options.nodes);
      if (world.node(asked) != nullptr) {
        const auto target = world.rng().below(options.nodes);
        (void)migrate(world, asked, static_cast<std::size_t>(host), f.job, target);
      }
      world.run(base::Duration(static_cast<std::int64_t>(world.rng().below(4'000'000))));
      const int crashes = static_cast<int>(world.rng().below(3));
      for (int i = 0; i < crashes; ++i) {
        world.crash(world.rng().below(options.nodes),
                    base::Duration(static_cast<std::int64_t>(world.rng().below(6'000'000))));
        world.run(base::Duration(static_cast<std::int64_t>(world.rng().below(2'000'000))));
      }
      world.run(5s);
    }
    world.loss_permille = 0;
    const auto calm = [&] {
      return world.all_know_all() && world.where(f.job) >= 0 && world.copies(f.job) == 1;
    };
    EXPECT_TRUE(world.run_until(calm, 180s)) << "the job runs on " << world.where(f.job);
    world.run(60s);
    EXPECT_EQ(world.violations, std::vector<std::string>{});
    ASSERT_EQ(world.copies(f.job), 1U);
    EXPECT_GT(world.logged(0, f.job) + 300, world.produced(f.job)) << "output comes home";
    for (std::size_t i = 0; i < options.nodes; ++i) {
      EXPECT_EQ(world.node(i)->status().seats_sum_mod_3, 0);
      const jobs::Job* known = world.node(i)->jobs().find(f.job);
      EXPECT_EQ(known != nullptr && known->here, world.where(f.job) == static_cast<int>(i)) << i;
      if (known != nullptr) {
        EXPECT_EQ(known->spec.moves, world.releases(f.job)) << "on " << i;
      }
      if (i != 0 && world.where(f.job) != static_cast<int>(i)) {
        EXPECT_EQ(known, nullptr) << "a guest that is gone is forgotten, on " << i;
      }
    }
    moves += world.handovers();
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(moves, seeds / 2) << "it has to be about moves";
}

}  // namespace
}  // namespace node::testing
