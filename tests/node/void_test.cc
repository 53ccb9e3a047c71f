// A copy that dies as it is let go, at home or beside it: what runs on is the job, and home goes on
// hearing of it.
#include <algorithm>

#include "fixture.h"

namespace node::testing {
namespace {

constexpr std::size_t kHome = 0;
constexpr std::size_t kHost = 1;

void moved_to(Fixture& f, std::size_t from, std::size_t to) {
  const auto moved = migrate(f.world, from, from, f.job, to);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(moved); }, 60s));
  ASSERT_EQ(f.world.where(f.job), int(to));
  f.world.run(10s);  // home has heard of it, and nothing rests
}

// The job is a guest, and a move of it from there has come to nothing.
void come_to_nothing(Fixture& f, std::size_t sink) {
  f.world.die_when_let_go.insert(f.job);
  const std::uint64_t moves = f.world.releases(f.job);
  const auto asked = migrate(f.world, kHost, kHost, f.job, sink);
  ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(asked); }, 60s));
  EXPECT_NE(f.world.replies(asked).back().exit_code, 0);
  EXPECT_EQ(f.world.releases(f.job), moves);
  EXPECT_TRUE(f.world.die_when_let_go.empty());
  ASSERT_TRUE(f.world.run_until([&] { return f.world.where(f.job) == int(kHost); }, 60s));
}

TEST(Void, HomeHearsOfItsJobAfterACopyDiedWhereItWasLetGo) {
  for (const std::size_t sink : {kHome, std::size_t{2}}) {
    SCOPED_TRACE(sink);
    Fixture f(51, nodes(3));
    moved_to(f, kHome, kHost);
    come_to_nothing(f, sink);
    const std::uint64_t before = f.world.produced(f.job);
    EXPECT_TRUE(f.world.run_until([&] { return f.world.logged(kHome, f.job) > before; }, 30s));
    const jobs::Job* const known = f.world.node(kHome)->jobs().find(f.job);
    ASSERT_NE(known, nullptr);
    EXPECT_EQ(known->at, f.world.id(kHost));
    EXPECT_EQ(known->epoch, f.world.node(kHost)->jobs().find(f.job)->epoch);
    f.world.end_copy(kHost, f.job, 7);
    EXPECT_TRUE(f.world.run_until(
        [&] { return f.world.node(kHome)->jobs().find(f.job)->wait_status == 7; }, 30s));
    f.settle();
  }
}

TEST(Void, AThrottleStaysAsTheJobHasNotMoved) {
  for (int i = 0; i < 40; ++i) {
    SCOPED_TRACE(i);
    Fixture f(52 + std::uint64_t(i), nodes(2));
    moved_to(f, kHome, kHost);
    const auto throttled = f.world.post(kHost, [&](std::uint64_t request) {
      return ThrottleJob{request, 1000, f.job, f.world.id(kHost), 25};
    });
    ASSERT_TRUE(f.world.run_until([&] { return f.world.answered(throttled); }, 60s));
    ASSERT_EQ(f.world.replies(throttled).back().exit_code, 0);
    const auto epoch = f.world.node(kHost)->jobs().find(f.job)->epoch;
    f.world.die_when_let_go.insert(f.job);
    (void)migrate(f.world, kHost, kHost, f.job, kHome);
    const auto deadline = f.world.now() + 60s;
    while (f.world.node(kHost)->jobs().find(f.job)->epoch == epoch && f.world.now() < deadline) {
      f.world.run(1ms);
    }
    ASSERT_LT(f.world.now(), deadline);
    if (i > 0) f.world.crash(kHost, 3s);  // some before the throttle's record is written
    ASSERT_TRUE(f.world.run_until([&] { return f.world.node(kHost) != nullptr; }, 30s));
    f.world.run(30s);
    EXPECT_EQ(f.world.where(f.job), int(kHost));
    const auto* held = f.world.node(kHost)->throttle_of(f.job);
    ASSERT_NE(held, nullptr);
    EXPECT_EQ(held->limit_micros, 250'000);
    EXPECT_EQ(f.world.limit_of(kHost, f.job), 250'000);
    f.settle();
  }
}

}  // namespace
}  // namespace node::testing
