// Guests are held while the owner needs her machine, and go on afterwards (node/owner.h).
#include "fixture.h"

namespace node::testing {
namespace {

// Node 1 has a guest, at home on node 0.
struct Guest : Fixture {
  Guest(std::uint64_t seed, Yield active, Yield low = Yield::kDrain, std::size_t count = 3,
        Yield metered = Yield::kRefuse)
      : Fixture(seed, [&] {
          World::Options options = nodes(count);
          options.owner.active = active;
          options.owner.battery_low = low;
          options.owner.metered = metered;
          return options;
        }()) {
    world.job_load_micros = 100'000;  // the rules leave jobs where they are
    const auto asked = migrate(world, 0, 0, job, 1);
    EXPECT_TRUE(world.run_until([&] { return world.answered(asked); }, 120s));
    EXPECT_TRUE(world.run_until([&] { return world.where(job) == 1; }, 30s));
    world.run(6s);
  }
  void works(bool at_it) {
    world.owners[1].idle = at_it ? 1s : base::Duration(1h);
    world.run(12s);
  }
  [[nodiscard]] JobState state() {
    const auto asked =
        world.post(2, [](std::uint64_t request) -> Event { return AskJobs{request}; });
    EXPECT_TRUE(world.run_until([&] { return world.answered(asked); }, 30s));
    for (const JobInfo& info : world.replies(asked).back().jobs->jobs) {
      if (info.id == job) return info.state;
    }
    return JobState::kLost;
  }
  [[nodiscard]] std::string sentence() {
    const auto asked =
        world.post(1, [](std::uint64_t request) -> Event { return AskSentence{request}; });
    EXPECT_TRUE(world.run_until([&] { return world.answered(asked); }, 30s));
    return world.replies(asked).back().sentence;
  }
  void sleep_news(bool begins, base::Duration patience, bool shutdown = false) {
    (void)world.post(1, [&](std::uint64_t) -> Event {
      return SleepNews{begins, patience, shutdown};
    });
  }
  [[nodiscard]] bool makes_output() {
    const std::uint64_t before = world.produced(job);
    world.run(3s);
    return world.produced(job) > before;
  }
};

TEST(Guests, ArePausedWhileTheOwnerIsActiveAndGoOnAfterwards) {
  Guest g(51, Yield::kPause);
  const JobId own = g.world.run_job(1);
  ASSERT_TRUE(g.makes_output());
  g.works(true);
  EXPECT_FALSE(g.makes_output());
  EXPECT_EQ(g.state(), JobState::kPaused);
  EXPECT_EQ(g.world.where(own), 1);
  EXPECT_FALSE(g.world.paused(1, own)) << "her own job";
  const std::string said = g.sentence();
  EXPECT_NE(said.find("a guest here is paused: its owner is active"), std::string::npos) << said;
  g.works(false);
  EXPECT_TRUE(g.makes_output());
  EXPECT_NE(g.state(), JobState::kPaused);
  g.settle();
}

TEST(Guests, StayPausedOverARestartAndGoOnWhenTheCauseIsGone) {
  Guest g(52, Yield::kPause);
  g.works(true);
  ASSERT_TRUE(g.world.paused(1, g.job));
  g.world.crash(1, 3s);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.node(1) != nullptr; }, 30s));
  g.world.run(10s);
  EXPECT_TRUE(g.world.paused(1, g.job));
  EXPECT_EQ(g.state(), JobState::kPaused);
  g.world.crash(1, 3s);
  g.world.owners[1].idle = 1h;  // she leaves while no daemon runs
  ASSERT_TRUE(g.world.run_until([&] { return g.world.node(1) != nullptr; }, 30s));
  g.world.run(10s);
  EXPECT_FALSE(g.world.paused(1, g.job));
  EXPECT_TRUE(g.makes_output());
  g.settle();
}

TEST(Guests, APausedOneIsMovedByAPersonAndArrivesRunning) {
  Guest g(53, Yield::kPause);
  g.works(true);
  ASSERT_TRUE(g.world.paused(1, g.job));
  const auto asked = migrate(g.world, 0, 1, g.job, 2);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(asked); }, 120s));
  ASSERT_EQ(g.world.replies(asked).back().exit_code, 0) << g.world.replies(asked).back().sentence;
  EXPECT_EQ(g.world.where(g.job), 2);
  EXPECT_TRUE(g.makes_output());
  EXPECT_EQ(g.state(), JobState::kRunning);
  g.settle();
}

TEST(Guests, AStrongerCauseSendsHomeWhatAnotherHasPaused) {
  Guest g(54, Yield::kPause, Yield::kSendHome);
  g.works(true);
  ASSERT_TRUE(g.world.paused(1, g.job));
  g.world.owners[1].power.state = probe::Power::kBatteryLow;
  ASSERT_TRUE(g.world.run_until([&] { return g.world.where(g.job) == 0; }, 120s));
  EXPECT_TRUE(g.makes_output());
  g.settle();
}

TEST(Guests, AreThrottledAndTheLimitGoesWithTheCauseAlsoAfterARestart) {
  Guest g(55, Yield::kThrottle);
  const JobId own = g.world.run_job(1);
  g.works(true);
  EXPECT_GT(g.world.limit_of(1, g.job), 0);
  EXPECT_EQ(g.world.limit_of(1, own), 0) << "her own job";
  EXPECT_EQ(g.state(), JobState::kThrottled);
  EXPECT_TRUE(g.makes_output());
  g.world.crash(1, 3s);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.node(1) != nullptr; }, 30s));
  g.world.run(10s);
  EXPECT_GT(g.world.limit_of(1, g.job), 0);
  g.works(false);
  EXPECT_EQ(g.world.limit_of(1, g.job), 0);
  g.settle();
}

TEST(Guests, ArePausedOnAMeteredNetwork) {
  Guest g(57, Yield::kNothing, Yield::kDrain, 3, Yield::kPause);
  g.world.owners[1].metered = true;
  g.world.run(12s);
  EXPECT_FALSE(g.makes_output());
  EXPECT_EQ(g.state(), JobState::kPaused);
  EXPECT_NE(g.sentence().find("a guest here is paused: its network is metered"), std::string::npos)
      << g.sentence();
  g.world.owners[1].metered = false;
  g.world.run(12s);
  EXPECT_TRUE(g.makes_output());
  g.settle();
}

TEST(Guests, LeaveBeforeTheMachineSleepsWhichWaitsForThem) {
  Guest g(58, Yield::kNothing);
  const JobId own = g.world.run_job(1);
  g.world.run(6s);
  EXPECT_TRUE(g.world.sleep_waits[1]) << "asked for while awake: later is too late";
  EXPECT_FALSE(g.world.sleep_waits[2]) << "nobody would leave there";
  g.sleep_news(true, 60s);
  EXPECT_NE(g.sentence().find("a guest here is to leave: it is about to sleep"), std::string::npos)
      << g.sentence();
  ASSERT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 27s));
  EXPECT_EQ(g.world.where(g.job), 0);
  EXPECT_EQ(g.world.where(own), 1) << "her own job sleeps with the machine";
  EXPECT_TRUE(g.makes_output());
  const auto asked = migrate(g.world, 0, 0, g.job, 1);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(asked); }, 120s));
  EXPECT_NE(g.world.replies(asked).back().exit_code, 0) << "it takes guests as it falls asleep";
  g.sleep_news(false, {});
  g.world.run(6s);
  const auto again = migrate(g.world, 0, 0, g.job, 1);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(again); }, 120s));
  EXPECT_EQ(g.world.replies(again).back().exit_code, 0);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.sleep_waits[1]; }, 30s)) << "the next night";
  g.settle();
}

TEST(Guests, LeaveBeforeTheMachineShutsDown) {
  Guest g(62, Yield::kNothing);
  g.sleep_news(true, 60s, /*shutdown=*/true);
  EXPECT_NE(g.sentence().find("a guest here is to leave: it is about to shut down"),
            std::string::npos)
      << g.sentence();
  ASSERT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 27s));
  EXPECT_EQ(g.world.where(g.job), 0);
  g.settle();
}

// Its files are on their way home.
TEST(Guests, WhoHasEndedIsWaitedForAndHasNowhereToGo) {
  Guest g(61, Yield::kNothing);
  constexpr std::int32_t kExited3 = 3 << 8;
  (void)g.world.post(1, [&](std::uint64_t) -> Event { return FilesGoHome{g.job, kExited3}; });
  const auto ps = g.world.post(0, [](std::uint64_t request) -> Event { return AskJobs{request}; });
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(ps); }, 30s));
  const auto& shown = g.world.replies(ps).back().jobs->jobs;
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(shown[0].state, JobState::kExited) << "at home, too";
  EXPECT_EQ(shown[0].wait_status, kExited3);
  EXPECT_EQ(shown[0].node, g.world.id(1));
  EXPECT_TRUE(shown[0].here);
  const auto asked = g.world.post(1, [](std::uint64_t request) -> Event {
    return DrainNode{request, false, true, false};
  });
  const auto killed = kill(g.world, 0, 1, g.job);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(killed); }, 30s));
  EXPECT_EQ(g.world.replies(killed).back().exit_code, 0);
  EXPECT_NE(g.world.replies(killed).back().sentence.find("it has ended"), std::string::npos);
  EXPECT_EQ(g.world.signals(), 0U);
  g.world.run(15s);
  EXPECT_EQ(g.world.where(g.job), 1) << "what has ended is not moved";
  ASSERT_FALSE(g.world.answered(asked));
  EXPECT_NE(g.world.replies(asked).back().sentence.find("its files are on their way home"),
            std::string::npos)
      << g.world.replies(asked).back().sentence;
  EXPECT_TRUE(g.world.sleep_waits[1]);
  g.world.end_copy(1, g.job, 0);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(asked); }, 30s));
  EXPECT_EQ(g.world.replies(asked).back().exit_code, 0);
  EXPECT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 30s));
  g.settle();
}

TEST(Guests, WhoCannotLeaveInTimeStaysAndTheMachineSleeps) {
  Guest g(59, Yield::kNothing, Yield::kDrain, 2);
  g.world.crash(0, 40s);  // home
  g.sleep_news(true, 5s);
  ASSERT_TRUE(g.world.sleep_waits[1]);
  ASSERT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 5s));
  EXPECT_EQ(g.world.where(g.job), 1);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.node(0) != nullptr; }, 60s));
  g.sleep_news(false, {});
  ASSERT_TRUE(g.world.run_until([&] { return g.world.sleep_waits[1]; }, 60s));
  EXPECT_EQ(g.world.copies(g.job), 1U);
  EXPECT_TRUE(g.makes_output());
  g.settle();
}

// A person's drain is on: it is interrupted, and goes on when the machine is awake.
TEST(Guests, NothingLeavesAMachineThatFallsAsleep) {
  Guest g(63, Yield::kNothing, Yield::kDrain, 2);
  g.world.crash(0, 40s);  // home
  const auto asked = g.world.post(1, [](std::uint64_t request) -> Event {
    return DrainNode{request, false, true, false};
  });
  g.sleep_news(true, 5s);
  ASSERT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 6s));
  ASSERT_TRUE(g.world.run_until([&] { return g.world.node(0) != nullptr; }, 60s));
  g.world.run(60s);
  EXPECT_EQ(g.world.where(g.job), 1) << "home could take it";
  EXPECT_TRUE(g.world.node(1)->unsettled().empty());
  ASSERT_FALSE(g.world.answered(asked));
  EXPECT_NE(g.world.replies(asked).back().sentence.find("it stays for now"), std::string::npos)
      << g.world.replies(asked).back().sentence;
  g.sleep_news(false, {});
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(asked); }, 60s));
  EXPECT_EQ(g.world.replies(asked).back().exit_code, 0);
  EXPECT_EQ(g.world.where(g.job), 0);
  g.settle();
}

TEST(Guests, SleepDoesNotWaitForAJobThatCannotMove) {
  Guest g(60, Yield::kNothing);
  ASSERT_TRUE(g.world.sleep_waits[1]);
  g.world.immovable.insert(g.job);
  ASSERT_TRUE(g.world.run_until([&] { return !g.world.sleep_waits[1]; }, 30s));
  g.sleep_news(true, 60s);
  EXPECT_FALSE(g.world.sleep_waits[1]);
  EXPECT_EQ(g.world.where(g.job), 1);
  g.sleep_news(false, {});
  g.world.immovable.clear();
  ASSERT_TRUE(g.world.run_until([&] { return g.world.sleep_waits[1]; }, 30s));
  g.settle();
}

TEST(Guests, WhoIsPausedTakesNoGuests) {
  Guest g(56, Yield::kPause);
  g.works(true);
  const JobId other = g.world.run_job(2);
  g.world.run(6s);
  const auto asked = migrate(g.world, 2, 2, other, 1);
  ASSERT_TRUE(g.world.run_until([&] { return g.world.answered(asked); }, 120s));
  EXPECT_NE(g.world.replies(asked).back().exit_code, 0);
  g.settle();
}

}  // namespace
}  // namespace node::testing
