// What the system's services say, and what somebody says who is none of them (bus/services.h), on a
// bus of the test's own.
#include "bus/services.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include "bus/presence.h"
#include "stand_in_bus.h"

namespace bus {
namespace {

using namespace std::chrono_literals;

struct Told {
  Ahead what;
  bool begins;
  base::Duration patience;
};

struct Lines : base::Log {
  void write(base::LogLevel level, std::string_view event,
             std::initializer_list<base::LogField> fields) override {
    if (level == base::LogLevel::kInfo) lines.push_back(std::string(event));
    for (const base::LogField& field : fields) {
      if (level == base::LogLevel::kInfo) lines.back() += " " + field.value;
    }
  }
  std::vector<std::string> lines;
};

struct Desk {
  explicit Desk(testing::StandInBus* on = nullptr, base::Log& log = base::null_log()) : bus(on) {
    services = std::make_unique<Services>(
        loop, log,
        Services::Callbacks{[this] { ++changes; },
                            [this](Ahead what, bool begins, base::Duration patience) {
                              sleeps.push_back({what, begins, patience});
                            }});
  }
  template <typename Condition>
  [[nodiscard]] bool wait_for(const Condition& condition) {
    const base::Time deadline = loop::Loop::now() + 30s;
    loop::Timer tick(loop, [&] { tick.start(5ms); });
    tick.start(5ms);
    while (loop::Loop::now() < deadline) {
      if (condition()) return true;
      (void)loop.run_once();
    }
    return false;
  }
  // The next that the stand-in said.
  [[nodiscard]] std::string heard() {
    std::string line;
    (void)wait_for([&] { return !(line = bus->heard()).empty(); });
    return line;
  }
  testing::StandInBus* bus;
  loop::Loop loop;
  int changes = 0;
  std::vector<Told> sleeps;
  std::unique_ptr<Services> services;
};

TEST(Services, AMeteredNetworkShowsAtTheStartAndWhenThatChanges) {
  testing::StandInBus bus;
  bus.say("metered 1");
  Desk desk(&bus);
  EXPECT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  for (const auto& [said, metered] : {std::pair("metered 2", false),
                                      {"metered 3", true},
                                      {"metered 4", false},
                                      {"metered 1", true},
                                      {"metered 0", false}}) {
    SCOPED_TRACE(said);
    const int before = desk.changes;
    bus.say(said);
    EXPECT_TRUE(desk.wait_for([&] { return desk.changes > before; }));
    EXPECT_EQ(desk.services->metered(), metered);
  }
}

TEST(Services, ThatEndHaveNothingToSayAndAreHeardAgain) {
  testing::StandInBus bus;
  bus.say("metered 1");
  Desk desk(&bus);
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
  ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  bus.say("leave");
  EXPECT_TRUE(desk.wait_for([&] { return !desk.services->metered(); }));
  EXPECT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 2; })) << "asleep for ever";
  EXPECT_FALSE(desk.sleeps.back().begins);
  EXPECT_EQ(desk.heard(), "released");
  bus.say("come");
  EXPECT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
}

TEST(Services, SleepWaitsUntilItMayGoOnAndTheNextOneAgain) {
  testing::StandInBus bus;
  bus.say("delay 7000000");
  Desk desk(&bus);
  desk.services->delay_sleep(true);
  for (std::size_t night = 1; night <= 2; ++night) {
    EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
    bus.say("sleep");
    ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 2 * night - 1; }));
    EXPECT_TRUE(desk.sleeps.back().begins);
    EXPECT_EQ(desk.sleeps.back().patience, 7s);
    desk.services->delay_sleep(false);
    EXPECT_EQ(desk.heard(), "released");
    desk.services->delay_sleep(true);
    desk.services->look();
    bus.say(night == 1 ? "metered 1" : "metered 2");  // is heard of after what was just asked
    ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered() == (night == 1); }));
    EXPECT_EQ(bus.heard(), "") << "not while it is about to sleep";
    bus.say("wake");
    ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 2 * night; }));
    EXPECT_FALSE(desk.sleeps.back().begins);
  }
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
}

TEST(Services, AShutdownWaitsAsSleepDoesAndEachEndsByItsOwnWord) {
  testing::StandInBus bus;
  bus.say("delay 7000000");
  Desk desk(&bus);
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
  bus.say("shutdown");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  EXPECT_EQ(desk.sleeps.back().what, Ahead::kShutdown);
  EXPECT_TRUE(desk.sleeps.back().begins);
  EXPECT_EQ(desk.sleeps.back().patience, 7s);
  bus.say("wake");  // of no sleep
  bus.say("stay");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 2; }));
  EXPECT_EQ(desk.sleeps.back().what, Ahead::kShutdown);
  EXPECT_FALSE(desk.sleeps.back().begins);
  bus.say("sleep");
  bus.say("shutdown");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 4; }));
  EXPECT_EQ(desk.sleeps.back().what, Ahead::kShutdown);
  bus.say("leave");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 5; }));
  EXPECT_EQ(desk.sleeps.back().what, Ahead::kShutdown);
  EXPECT_FALSE(desk.sleeps.back().begins);
}

TEST(Services, WhoDoesNotDelayIsToldThatThereIsNoTime) {
  testing::StandInBus bus;
  Desk desk(&bus);
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
  desk.services->delay_sleep(false);
  EXPECT_EQ(desk.heard(), "released");
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  EXPECT_EQ(desk.sleeps.back().patience, base::Duration(0));
}

// It is asked once a minute.
TEST(Services, ThatSleepDoesNotWaitIsSaidOnceForEachReason) {
  testing::StandInBus bus;
  Lines told;
  Desk desk(&bus, told);
  std::vector<std::string> expected;
  // Nothing is asked before the answer to the last question was read.
  const auto ask_thrice = [&](const std::string& answer) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(desk.wait_for([&] {
        desk.services->look();
        return bus.heard() == answer;
      }));
    }
  };
  bus.say("refuse not you");
  desk.services->delay_sleep(true);
  ask_thrice("refused sleep");
  expected.emplace_back("sleep_is_not_delayed not you");
  EXPECT_EQ(told.lines, expected);
  bus.say("refuse nobody");
  ask_thrice("refused sleep");
  expected.emplace_back("sleep_is_not_delayed nobody");
  EXPECT_EQ(told.lines, expected);
  bus.say("refuse");
  EXPECT_TRUE(desk.wait_for([&] {
    desk.services->look();
    return bus.heard().starts_with("inhibited sleep");  // or of sleep alone, asked for before that
  }));
  bus.say("delay 1000000");
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  desk.services->delay_sleep(false);
  EXPECT_EQ(desk.heard(), "released");
  bus.say("refuse nobody");
  desk.services->delay_sleep(true);
  bus.say("wake");
  ask_thrice("refused sleep");
  expected.push_back(expected.back());
  EXPECT_EQ(told.lines, expected);
}

// As older login managers do to who is not root.
TEST(Services, WhereAShutdownMayNotBeDelayedSleepIs) {
  testing::StandInBus bus;
  Lines told;
  bus.say("delay 7000000");
  bus.say("refuse-both not you");
  Desk desk(&bus, told);
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "refused sleep:shutdown");
  EXPECT_EQ(desk.heard(), "inhibited sleep delay");
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  EXPECT_EQ(desk.sleeps.back().patience, 7s);
  bus.say("wake");
  bus.say("shutdown");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 3; }));
  EXPECT_EQ(desk.sleeps.back().what, Ahead::kShutdown);
  EXPECT_EQ(desk.sleeps.back().patience, base::Duration(0));
  EXPECT_TRUE(told.lines.empty()) << told.lines.front();
  bus.say("stay");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 4; }));
  desk.services->delay_sleep(false);
  EXPECT_EQ(desk.heard(), "released");
  bus.say("refuse-both");
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay") << "each time anew";
}

// A bus takes signals from every user, to whomever.
TEST(Services, ASignalOfSomebodyElseIsNotBelieved) {
  testing::StandInBus bus;
  Desk desk(&bus);
  desk.services->delay_sleep(true);
  EXPECT_EQ(desk.heard(), "inhibited sleep:shutdown delay");
  bus.say("forge");
  EXPECT_EQ(desk.heard(), "forged");
  bus.say("metered 1");  // comes after it
  ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  EXPECT_TRUE(desk.sleeps.empty());
}

TEST(Services, AnswersThatMakeNoSenseAreNone) {
  testing::StandInBus bus;
  bus.say("metered 1");
  Desk desk(&bus);
  ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  bus.say("odd");
  bus.say("metered 3");
  EXPECT_TRUE(desk.wait_for([&] { return !desk.services->metered(); }));
  desk.services->delay_sleep(true);
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  EXPECT_EQ(desk.sleeps.back().patience, base::Duration(0)) << "nothing is held";
}

TEST(Services, WhoWorksAtADesktopShows) {
  testing::StandInBus bus;
  bus.say("session x11 user 0 1 0 0 0");
  Desk desk(&bus);
  bus.say("metered 1");
  ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  const auto works = [&] { return desk.services->idle(loop::Loop::now()) == base::Duration(0); };
  EXPECT_FALSE(desk.services->idle(loop::Loop::now())) << "such a desktop may never say anything";
  bus.say("session x11 user 0 1 0 0 1700000000000000");
  EXPECT_TRUE(desk.wait_for(works));
  bus.say("session x11 user 0 1 1 0 1700000000000000");
  EXPECT_TRUE(desk.wait_for([&] { return !works(); }));
  EXPECT_LT(*desk.services->idle(loop::Loop::now()), 30s);
  EXPECT_EQ(*desk.services->idle(loop::Loop::now() + 1h) / 1h, 1);
  bus.say("session x11 user 0 1 0 0 1700000000000000");
  EXPECT_TRUE(desk.wait_for(works));
  bus.say("leave");
  EXPECT_TRUE(desk.wait_for([&] { return !works(); }));
  bus.say("come");
  EXPECT_TRUE(desk.wait_for(works));
  bus.say("odd");
  bus.say("session x11 user 0 1 0 0 1800000000000000");
  EXPECT_TRUE(desk.wait_for([&] { return !works(); }));
}

TEST(Services, ABusThatEndsLeavesNothingBehind) {
  testing::StandInBus bus;
  bus.say("metered 1");
  Desk desk(&bus);
  ASSERT_TRUE(desk.wait_for([&] { return desk.services->metered(); }));
  bus.say("sleep");
  ASSERT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 1; }));
  bus.end();
  EXPECT_TRUE(desk.wait_for([&] { return desk.sleeps.size() == 2; }));
  EXPECT_FALSE(desk.sleeps.back().begins);
  EXPECT_FALSE(desk.services->metered());
  desk.services->look();  // nobody is there
  desk.services->delay_sleep(true);
  EXPECT_FALSE(desk.services->metered());
}

TEST(Presence, SaysWhichServicesAreThere) {
  testing::StandInBus bus;
  Presence found = find_services();
  EXPECT_EQ(found.no_bus, "");
  EXPECT_TRUE(found.login);
  EXPECT_TRUE(found.network);
  bus.say("leave");
  found = find_services();
  EXPECT_EQ(found.no_bus, "");
  EXPECT_FALSE(found.login);
  EXPECT_FALSE(found.network);
  bus.end();
  EXPECT_NE(find_services().no_bus, "");
}

// Who connects there is let in by the kernel, and nobody ever answers.
TEST(Presence, ASilentBusIsNotWaitedForLong) {
  std::string folder = ::testing::TempDir() + "tern-bus-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder + "/bus";
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ::setenv("DBUS_SYSTEM_BUS_ADDRESS", ("unix:path=" + path).c_str(), 1);
  EXPECT_EQ(find_services().no_bus, "it does not answer");  // sd-bus itself gives up otherwise
  ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
  ::close(listener);
  std::filesystem::remove_all(folder);
}

TEST(Services, WithoutABusThereIsNothing) {
  ::setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus", 1);
  Desk desk;
  desk.services->look();
  desk.services->delay_sleep(true);
  EXPECT_FALSE(desk.services->metered());
  EXPECT_TRUE(desk.sleeps.empty());
  EXPECT_EQ(find_services().no_bus, "there is none");
  ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

}  // namespace
}  // namespace bus
