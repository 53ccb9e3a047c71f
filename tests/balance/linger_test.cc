// Seats end with the outcome (design.md §3); what is owed then lives on without one (§4.5, §4.6).
#include <gtest/gtest.h>

#include "balance/limits.h"
#include "rig.h"

namespace balance::testing {
namespace {

constexpr std::size_t kSource = 0;
constexpr std::size_t kSink = 1;
constexpr std::size_t kThird = 2;

bool holds(Rig& rig, std::size_t node, const std::string& prefix) {
  const Recovered& disk = rig.disk(node);
  const auto at = disk.lower_bound(prefix);
  return at != disk.end() && at->first.starts_with(prefix);
}

// The sink lets its copy go, and its machine is off before anybody hears of it.
void lose_sink_after_release(Rig& rig) {
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "release") rig.cut = {{kSink, kSource}, {kSink, kThird}};
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until(
      [&] { return rig.did("1 release") && rig.core(kSink).owner(Rig::job()) != nullptr; }));
  rig.run(std::chrono::milliseconds(100));
  rig.kill(kSink);
  rig.on_operation = nullptr;
  rig.cut.clear();
}

TEST(Linger, ALostSinkFreesTheSeatsAndTheOriginalWaits) {
  for (const std::size_t nodes : {std::size_t{2}, std::size_t{3}}) {
    SCOPED_TRACE(nodes);
    Rig rig(nodes);
    lose_sink_after_release(rig);
    ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
    rig.run(std::chrono::hours(24));
    for (std::size_t i = 0; i < nodes; ++i) {
      if (i == kSink) continue;
      EXPECT_FALSE(rig.core(i).seat());
      EXPECT_EQ(rig.core(i).lingering(), 1U);
      EXPECT_FALSE(holds(rig, i, "tri/"));
      EXPECT_TRUE(holds(rig, i, "lin/"));
    }
    EXPECT_TRUE(rig.core(kSource).in_doubt(Rig::job()));
    ASSERT_EQ(rig.core(kSource).unsettled().size(), 1U);
    EXPECT_TRUE(rig.core(kSource).unsettled()[0].lingers);
    EXPECT_EQ(rig.core(kSource).waits_for(Rig::job()), Rig::node(kSink));
    EXPECT_FALSE(rig.did("0 kill"));
    EXPECT_FALSE(rig.did("0 thaw"));
    // Who had it moved is told at once, not when the machine is back.
    ASSERT_FALSE(rig.replies.empty());
    EXPECT_TRUE(rig.replies.back().over);
    EXPECT_EQ(rig.replies.back().code, ReplyCode::kUnreachable);
    // Weeks later it asks, and is told.
    rig.start(kSink);
    ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
    EXPECT_FALSE(rig.did("1 discard"));
    for (std::size_t i = 0; i < nodes; ++i) {
      for (const auto& [key, value] : rig.disk(i)) EXPECT_TRUE(key.starts_with("own/")) << key;
    }
  }
}

TEST(Linger, WhoWaitsForALostMachineIsAlmostSilent) {
  Rig rig(3);
  lose_sink_after_release(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
  rig.run(std::chrono::minutes(10));
  rig.sent.clear();
  rig.run(std::chrono::hours(1));
  // Every 30 s: the source's report and question to the sink, the third's questions to both ends,
  // and the source's answer to that (an outcome, a report).
  EXPECT_LE(rig.sent.size(), 7U * 3600 / 30);
}

TEST(Linger, ALostSourceFreesTheSeatsAndHearsTheOutcomeWhenItIsBack) {
  Rig rig(3);
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "check-copy") rig.kill(kSource);
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("1 release") && rig.no_seats(); }));
  EXPECT_EQ(rig.core(kSink).lingering(), 1U);
  EXPECT_FALSE(rig.core(kSink).in_doubt(Rig::job()));  // it runs here, and may move on
  rig.run(std::chrono::hours(24));
  EXPECT_EQ(rig.core(kThird).lingering(), 1U);
  rig.on_operation = nullptr;
  rig.start(kSource);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  EXPECT_FALSE(rig.did("0 thaw"));
}

// The seats do not wait for the original's processes to go; the person does, for one word.
TEST(Linger, WhoHadItMovedHearsSoHoweverLongTheOriginalTakesToGo) {
  Rig rig(3);
  rig.silent.insert("0 kill");
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.no_seats(); }));
  const auto over = [&] {
    return std::any_of(rig.replies.begin(), rig.replies.end(),
                       [](const PersonReply& reply) { return reply.over; });
  };
  rig.run(kPersonWait * 2);
  EXPECT_FALSE(over()) << rig.replies.back().sentence;
  rig.silent.clear();
  rig.give(kSource, Killed{rig.kills.back().id});
  ASSERT_TRUE(rig.run_until(over));
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kDone) << rig.replies.back().sentence;
  EXPECT_EQ(rig.replies.back().at, Rig::node(kSink));
}

TEST(Linger, NothingIsOwedToALostCoordinator) {
  Rig rig(3);
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name == "check-copy") rig.kill(kThird);
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
  rig.on_operation = nullptr;
  rig.start(kThird);
  EXPECT_TRUE(rig.run_until([&] { return rig.all_free(); }));
}

TEST(Linger, AMemberThatMissedTheOutcomeHearsItFromWhoLingers) {
  Rig rig(3);
  rig.on_operation = [&](std::size_t, const std::string& name) {
    if (name != "seal") return;
    rig.cut = {{kSource, kSink}, {kSink, kSource}, {kSource, kThird}, {kThird, kSource}};
  };
  rig.migrate(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.core(kSink).lingering() == 1; }));
  EXPECT_TRUE(rig.run_until([&] { return rig.core(kThird).triad() == nullptr; }));
  EXPECT_NE(rig.core(kSource).triad(), nullptr);  // it cannot know
  rig.on_operation = nullptr;
  rig.cut = {{kSource, kSink}, {kSink, kSource}};  // the third's word alone
  ASSERT_TRUE(rig.run_until([&] { return rig.core(kSource).triad() == nullptr; }));
  EXPECT_EQ(rig.core(kSource).waits_for(Rig::job()), Rig::node(kSink));
  rig.cut.clear();
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
}

TEST(Linger, ARestartForgetsNothing) {
  Rig rig(3);
  lose_sink_after_release(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
  const std::size_t told = rig.events.size();
  for (const std::size_t i : {kSource, kThird}) {
    rig.kill(i);
    rig.start(i);
    EXPECT_FALSE(rig.core(i).refuses());
  }
  rig.run(std::chrono::minutes(10));
  EXPECT_EQ(rig.core(kSource).waits_for(Rig::job()), Rig::node(kSink));
  EXPECT_EQ(rig.core(kThird).lingering(), 1U);
  EXPECT_TRUE(rig.no_seats());
  EXPECT_EQ(rig.events.size(), told);  // no news
  EXPECT_FALSE(rig.did("0 thaw"));
  rig.start(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.all_free(); }));
}

TEST(Linger, APersonsWordEndsTheWaitAndBeatsTheCopyThatComesBack) {
  Rig rig(3);
  lose_sink_after_release(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
  rig.give(kSource, PersonResolve{7, Rig::job()});
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 thaw") && rig.all_free(); }));
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kDone);
  rig.start(kSink);  // with a copy that was let go
  ASSERT_TRUE(rig.run_until([&] { return rig.did("1 kill") && rig.all_free(); }));
  EXPECT_FALSE(rig.did("0 kill"));
  EXPECT_EQ(rig.core(kSink).owner(Rig::job())->at, Rig::node(kSource));
}

TEST(Linger, ANewSeatMayBeTakenButNotForTheJobInDoubt) {
  Rig rig(4);
  lose_sink_after_release(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
  const long frozen = rig.count("0 freeze");
  rig.tell_all(kSource);  // the rig shows the job as one that runs
  rig.migrate(kThird);
  EXPECT_EQ(rig.replies.back().code, ReplyCode::kRefused);
  EXPECT_EQ(rig.replies.back().sentence, kIsInDoubt);
  rig.run(std::chrono::seconds(30));
  EXPECT_EQ(rig.count("0 freeze"), frozen);
  const JobId other{{43}};
  rig.give(kSource, JobStarted{other});
  rig.run(std::chrono::milliseconds(10));
  rig.show_only(kSource, other);
  rig.give(kSource, PersonMigrate{9, other, Rig::node(kThird)});
  ASSERT_TRUE(rig.run_until([&] { return rig.did("0 kill") && rig.no_seats(); }));
  EXPECT_EQ(rig.core(kThird).owner(other)->at, Rig::node(kThird));
  EXPECT_TRUE(rig.core(kSource).in_doubt(Rig::job()));
}

TEST(Linger, AFullTableMeansNoNewSeats) {
  for (const std::size_t room : {std::size_t{0}, std::size_t{1}}) {
    SCOPED_TRACE(room);
    Rig rig(3);
    rig.kill(kSink);
    for (std::size_t i = 0; i + room < kLingeringMax; ++i) {
      LingerRecord record;
      record.stored.form.members = {{NodeId{{201}}, StoreId{{201}}, Seat::kSource},
                                    {Rig::node(kSink), Rig::store(kSink), Seat::kCoordinator},
                                    {NodeId{{202}}, StoreId{{202}}, Seat::kSink}};
      record.stored.form.random[0] = static_cast<std::uint8_t>(i);
      record.outcome.job = JobId{{99}};
      record.outcome.epoch = Epoch{2};
      rig.disk(kSink)[linger_key(triad_id_of(record.stored.form))] = encode(record);
    }
    rig.start(kSink);
    EXPECT_EQ(rig.core(kSink).lingering(), kLingeringMax - room);
    rig.tell_all();
    rig.migrate(kSink);
    ASSERT_TRUE(rig.run_until([&] { return !rig.replies.empty() && rig.replies.back().over; }));
    EXPECT_EQ(rig.did("0 freeze"), room == 1);
    EXPECT_EQ(rig.replies.back().sentence == kTooManyLinger, room == 0);
    // Those that wait for others are not forgotten for it.
    EXPECT_EQ(rig.core(kSink).lingering(), kLingeringMax - room);
  }
}

// SOURCE alone votes, and its machine is lost for good between form and dissolve.
TEST(Linger, SinkOfAPairIsNotSeatedForEver) {
  for (const char* when : {"1 preflight", "1 release"}) {
    SCOPED_TRACE(when);
    Rig rig(2);
    rig.on_operation = [&](std::size_t i, const std::string& name) {
      if (std::to_string(i) + " " + name == when) rig.kill(kSource);
    };
    rig.migrate(kSink);
    ASSERT_TRUE(rig.run_until([&] { return rig.did(when); }));
    rig.on_operation = nullptr;
    EXPECT_TRUE(rig.core(kSink).seat());
    rig.run(kSeatQuiet + std::chrono::seconds(1));
    EXPECT_FALSE(rig.core(kSink).seat());
    const bool ran = rig.did("1 release");
    EXPECT_EQ(rig.core(kSink).lingering(), ran ? 1U : 0U);  // SOURCE has to hear of it one day
    rig.start(kSource);
    ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
    EXPECT_EQ(rig.did("0 kill"), ran);
    EXPECT_FALSE(rig.did("0 thaw"));
  }
}

TEST(Linger, EverythingOnceMoreAndLateChangesNothing) {
  Rig rig(3);
  lose_sink_after_release(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.no_seats(); }));
  std::vector<Rig::Sent> again = rig.sent;
  const std::vector<std::string> before = rig.done;
  for (const Rig::Sent& m : again) rig.give(m.to, Received{Rig::node(m.from), m.bytes});
  rig.run(std::chrono::minutes(1));
  // What was lost has come after all: the source knows that the copy runs.
  EXPECT_TRUE(rig.did("0 kill"));
  EXPECT_FALSE(rig.did("0 thaw"));
  rig.start(kSink);
  ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
  const std::vector<std::string> done = rig.done;
  again = rig.sent;
  for (const Rig::Sent& m : again) rig.give(m.to, Received{Rig::node(m.from), m.bytes});
  ASSERT_TRUE(rig.run_until([&] { return rig.all_free(); }));
  EXPECT_EQ(rig.done, done);
}

}  // namespace
}  // namespace balance::testing
