// Orders between nodes: said again, carried out once.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "fixture.h"
#include "node/limits.h"

namespace node::testing {
namespace {

TEST(Node, AnOrderThatIsLostIsSaidAgainAndCarriedOutOnce) {
  int answered = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed, nodes(2));
    f.world.loss_permille = 500;  // of orders and answers alike
    const auto asked = kill(f.world, 1, 0, f.job);
    EXPECT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 30s));
    ASSERT_TRUE(f.world.answered(asked));
    if (f.world.replies(asked).back().exit_code == 4) continue;  // all were lost: it was said
    EXPECT_EQ(f.world.replies(asked).back().exit_code, 0);
    EXPECT_EQ(f.world.signals(), 1U);
    f.settle();
    ++answered;
  }
  EXPECT_GE(answered, 12) << "said once, five of twenty would be answered";
}

TEST(Node, AHostThatDoesNotAnswerIsSaid) {
  Fixture f(21, nodes(3));
  f.world.crash(0, 300s);
  const auto asked = kill(f.world, 1, 0, f.job);
  f.world.run(kOrderSilence + 1s);
  ASSERT_TRUE(f.world.answered(asked));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 4);
  EXPECT_EQ(f.world.replies(asked).back().sentence, "n1 does not answer");
}

// Only the job knows what another signal means to it, and it is asked when it runs.
TEST(Node, AParkedJobIsEndedByWhatIsMeantToEndItOnly) {
  for (const int number : {SIGHUP, SIGINT, SIGUSR1, SIGSTOP, SIGWINCH, SIGTERM, SIGKILL}) {
    SCOPED_TRACE(number);
    const bool ends = number == SIGTERM || number == SIGKILL || number == SIGINT;
    Fixture f(22, nodes(2));
    const auto parked = f.world.post(0, [&](std::uint64_t request) {
      return ParkJob{request, 1000, f.job, f.world.id(0), false};
    });
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(parked); }, 30s));
    const auto asked = f.world.post(1, [&](std::uint64_t request) {
      return KillJob{request, 1000, f.job, f.world.id(0), number};
    });
    f.world.run(5s);
    EXPECT_EQ(f.world.node(0)->jobs().find(f.job)->rest == jobs::Rest::kRemoving, ends);
    if (ends) continue;
    ASSERT_TRUE(f.world.answered(asked));
    EXPECT_EQ(f.world.replies(asked).back().exit_code, 1);
    EXPECT_NE(f.world.replies(asked).back().sentence.find("tern wake"), std::string::npos);
  }
}

TEST(Node, WhatIsQueuedIsNotCalledParked) {
  for (const bool queued : {false, true}) {
    SCOPED_TRACE(queued);
    Fixture f(23, nodes(1));
    JobId job = f.job;
    if (queued) {
      job = f.world.queue_job(0);
    } else {
      (void)f.world.post(0, [&](std::uint64_t request) {
        return ParkJob{request, 1000, f.job, f.world.id(0), false};
      });
    }
    f.world.run(5s);
    const jobs::Job* known = f.world.node(0)->jobs().find(job);
    ASSERT_TRUE(known != nullptr && known->parked);
    ASSERT_EQ(known->parked->queued, queued);
    const std::vector<std::function<Event(std::uint64_t)>> orders = {
        [&](std::uint64_t request) {
          return ParkJob{request, 1000, job, f.world.id(0), false};
        },
        [&](std::uint64_t request) {
          return KillJob{request, 1000, job, f.world.id(0), SIGUSR1};
        },
        [&](std::uint64_t request) {
          return ThrottleJob{request, 1000, job, f.world.id(0), 50};
        }};
    for (const auto& order : orders) {
      const auto asked = f.world.post(0, order);
      f.world.run(1s);
      ASSERT_TRUE(f.world.answered(asked));
      const Reply& said = f.world.replies(asked).back();
      EXPECT_EQ(said.exit_code, 1);
      EXPECT_EQ(said.sentence.find("queued") != std::string::npos, queued) << said.sentence;
      EXPECT_EQ(said.sentence.find("parked") != std::string::npos, !queued) << said.sentence;
    }
  }
}

// A move takes as long as it takes: its host answers meanwhile.
TEST(Node, AnOrderUnderWayIsWaitedFor) {
  Fixture f(22, nodes(3));
  f.world.operation_delay = 20s;
  const auto asked = migrate(f.world, 1, 0, f.job, 2);
  f.world.run(kOrderSilence + 3s);
  EXPECT_FALSE(f.world.answered(asked));
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 120s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 0) << f.world.replies(asked).back().sentence;
}

// From a person on another node to the host of the job, for that move alone; what the job itself
// says holds for every move.
TEST(Node, OnlyWhoSaidSoLetsAMoveCloseConnections) {
  for (const bool closes : {false, true}) {
    SCOPED_TRACE(closes);
    Fixture f(24, nodes(3));
    f.world.operation_delay = 5s;
    const auto asked = f.world.post(1, [&](std::uint64_t request) {
      return MigrateJob{request, 0, f.job, f.world.id(0), f.world.id(2), false, closes};
    });
    bool closed = false;
    ASSERT_TRUE(f.world.run_until(
        [&] {
          closed = closed || f.world.node(0)->may_close_tcp(f.job);
          return f.world.answered(asked);
        },
        120s));
    EXPECT_EQ(f.world.replies(asked).back().exit_code, 0) << f.world.replies(asked).back().sentence;
    EXPECT_EQ(closed, closes);
    for (const std::size_t at : {0U, 1U, 2U}) EXPECT_FALSE(f.world.node(at)->may_close_tcp(f.job));
  }
  World world(26, nodes(2));
  ASSERT_TRUE(world.run_until([&] { return world.all_know_all(); }, 30s));
  JobSpec spec;
  spec.id.bytes.fill(5);
  spec.name = "open";
  spec.argv = {"true"};
  spec.home = world.id(0);
  spec.tcp_close = true;
  (void)world.post(0, [&](std::uint64_t request) { return RunJob{request, spec}; });
  EXPECT_TRUE(world.run_until([&] { return world.node(0)->may_close_tcp(spec.id); }, 30s));
}

// It may have been carried out before: a signal is not sent twice.
TEST(Node, ARestartedHostRefusesAnOrderThatIsOlderThanItself) {
  Fixture f(23, nodes(2));
  f.world.crash(0, 3s);
  const auto asked = kill(f.world, 1, 0, f.job);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 30s));
  EXPECT_EQ(f.world.replies(asked).back().exit_code, 1);
  EXPECT_EQ(f.world.signals(), 0U);
  const auto again = kill(f.world, 1, 0, f.job);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(again); }, 30s));
  EXPECT_EQ(f.world.replies(again).back().exit_code, 0);
  EXPECT_EQ(f.world.signals(), 1U);
}

// Answers that were lost are asked for again: what others order meanwhile must not push them out.
TEST(Node, OrdersOfOthersDoNotMakeAHostForgetWhatItDid) {
  Fixture f(25, nodes(3));
  const Order order{7, Verb::kKill, f.job, 1000, 15, {}, 0};
  const auto give = [&](std::size_t from, const Order& said) {
    return f.world.node(0)->step(f.world.now(), MessageIn{f.world.id(from), encode(said)});
  };
  const auto signals = [](const Actions& actions) {
    return std::count_if(actions.begin(), actions.end(), [](const Action& action) {
      return std::holds_alternative<SignalJob>(action);
    });
  };
  const Actions first = give(1, order);
  ASSERT_EQ(signals(first), 1);
  for (const Action& action : first) {
    if (const auto* signal = std::get_if<SignalJob>(&action)) {
      (void)f.world.node(0)->step(f.world.now(), Signalled{signal->token, true, {}});
    }
  }
  for (std::uint64_t i = 0; i <= kOrdersKeptMax; ++i) {
    const Order flood{100 + i, Verb::kKill, base::JobId{{99}}, 1000, 15, {}, 0};
    (void)give(1, flood);
    (void)give(2, flood);
  }
  EXPECT_EQ(signals(give(1, order)), 0);
}

std::uint64_t throttle(Fixture& f, std::size_t asked, std::size_t host,
                       std::optional<std::uint32_t> percent, std::uint32_t uid = 1000) {
  return f.world.post(asked, [&](std::uint64_t request) {
    return ThrottleJob{request, uid, f.job, f.world.id(host), percent};
  });
}

int answer_of(Fixture& f, std::uint64_t asked) {
  if (!f.world.run_until([&] { return f.world.answered(asked); }, 30s)) return -1;
  return f.world.replies(asked).back().exit_code;
}

TEST(Throttle, APersonOnAnotherNodeThrottlesAndLifts) {
  Fixture f(31, nodes(3));
  EXPECT_EQ(answer_of(f, throttle(f, 1, 0, 25)), 0);
  EXPECT_EQ(f.world.limit_of(0, f.job), 250'000);
  const auto jobs =
      f.world.post(2, [](std::uint64_t request) -> Event { return AskJobs{request}; });
  ASSERT_EQ(answer_of(f, jobs), 0);
  EXPECT_EQ(f.world.replies(jobs).back().jobs->jobs.front().state, JobState::kThrottled);
  EXPECT_EQ(answer_of(f, throttle(f, 2, 0, 0)), 0);
  EXPECT_EQ(f.world.limit_of(0, f.job), 0);
}

TEST(Throttle, IsForItsOwnerAndRoot) {
  Fixture f(32, nodes(2));
  EXPECT_EQ(answer_of(f, throttle(f, 0, 0, 25, 1001)), 5);
  EXPECT_EQ(answer_of(f, throttle(f, 1, 0, 25, 1001)), 5);
  EXPECT_EQ(f.world.limit_of(0, f.job), 0);
}

TEST(Throttle, HoldsOverARestartAndEndsWithAMove) {
  Fixture f(33, nodes(3));
  ASSERT_EQ(answer_of(f, throttle(f, 0, 0, 25)), 0);
  f.world.crash(0, 3s);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.node(0) != nullptr; }, 30s));
  f.world.run(10s);
  EXPECT_EQ(f.world.limit_of(0, f.job), 250'000);
  const auto* held = f.world.node(0)->throttle_of(f.job);
  ASSERT_NE(held, nullptr);
  EXPECT_TRUE(held->is_persons);
  const auto asked = migrate(f.world, 0, 0, f.job, 1);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 120s));
  ASSERT_EQ(f.world.replies(asked).back().exit_code, 0) << f.world.replies(asked).back().sentence;
  f.world.run(10s);
  EXPECT_EQ(f.world.limit_of(1, f.job), 0);
  EXPECT_EQ(f.world.node(1)->throttle_of(f.job), nullptr);
  EXPECT_EQ(f.world.node(0)->throttle_of(f.job), nullptr);
}

// On a slow disk the job is parked and woken before the word is stored (seed 5786).
TEST(Throttle, WhoseWordAParkOvertookHearsThatItDoesNotHold) {
  for (const bool stored : {false, true}) {
    SCOPED_TRACE(stored);
    Fixture f(35, nodes(2));
    std::uint64_t write = 0;
    std::uint64_t token = 0;
    std::optional<int> answer;
    const auto give = [&](const Event& event) {
      for (const Action& action : f.world.node(0)->step(f.world.now(), event)) {
        if (const auto* one = std::get_if<Persist>(&action); one && write == 0) write = one->id;
        if (const auto* one = std::get_if<LimitCpu>(&action)) token = one->token;
        if (const auto* one = std::get_if<Reply>(&action)) answer = one->exit_code;
      }
    };
    give(ThrottleJob{77, 0, f.job, f.world.id(0), 25});
    ASSERT_NE(write, 0U);
    if (stored) give(Persisted{write});
    EXPECT_EQ(token != 0, stored);
    Rested rested;
    rested.job = f.job;
    rested.ok = true;
    give(rested);
    rested.wakes = true;
    give(rested);
    if (!stored) give(Persisted{write});
    if (stored) give(CpuLimited{token, true, ""});
    EXPECT_EQ(answer, 1);
    EXPECT_EQ(f.world.node(0)->throttle_of(f.job), nullptr);
  }
}

TEST(Sentence, IsThereForEveryNode) {
  Fixture f(34, nodes(3));
  const auto asked =
      f.world.post(1, [](std::uint64_t request) -> Event { return AskSentence{request}; });
  ASSERT_EQ(answer_of(f, asked), 0);
  EXPECT_FALSE(f.world.replies(asked).back().sentence.empty());
}

}  // namespace
}  // namespace node::testing
