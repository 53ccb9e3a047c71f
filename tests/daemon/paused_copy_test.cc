// A copy that the owner's policy holds, and a handover besides (copies.h), with a real job: root
// needed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <utility>

#include "base/crypto.h"
#include "daemon/copies.h"
#include "daemon/job_folder.h"
#include "loop_rig.h"
#include "machine/cgroup.h"
#include "machine/keeper_client.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;
using base::Epoch;
using base::Status;

const Epoch kBorn{1};
const Epoch kHandover{7};

class PausedCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const ci = std::getenv("CI");
    const bool must = ci != nullptr && std::string(ci) == "true";
    const auto own = machine::own_cgroup();
    if (!must && (::geteuid() != 0 || !own)) GTEST_SKIP() << "needs root and control groups";
    ASSERT_TRUE(own.ok());
    ASSERT_TRUE(base::crypto::init().ok());
    fs::permissions(dir_.path(), fs::perms(0755));
    paths_.state = dir_.path();
    paths_.cgroup = *own + "/tern-paused-" + std::to_string(::getpid());
    auto group = machine::Cgroup::create(paths_.cgroup);
    ASSERT_TRUE(group.ok()) << group.error().detail;
    root_ = std::move(*group);
    auto helpers = machine::install_helpers(dir_.path() + "/helpers");
    ASSERT_TRUE(helpers.ok()) << helpers.error().detail;
    helpers_ = *helpers;
    fs::create_directories(paths_.jobs());
    spec_.id.bytes[0] = 9;
    spec_.name = "counts";
    spec_.argv = {"/bin/sh", "-c", "while :; do echo x; sleep 0.01; done"};
    spec_.cwd = dir_.path();
    begin();
    std::optional<bool> launched;
    copies_->launch(spec_, kBorn, {{"PATH=/usr/bin:/bin"}, 022, machine::JobInput::kNothing},
                    [&](const auto& init) { launched = init.ok(); });
    ASSERT_TRUE(until([&] { return launched.has_value(); }));
    ASSERT_TRUE(*launched);
    ASSERT_TRUE(runs());
  }
  void TearDown() override {
    copies_.reset();
    (void)until([] { return loop::blocking_in_flight() == 0; });
    if (!root_) return;
    EXPECT_TRUE(root_->kill_all(machine::Patience(20'000)).ok());
    (void)root_->remove().ok();
  }
  void begin() {
    Copies::Callbacks callbacks;
    callbacks.grew = [this](const auto&, auto, node::StreamEnds ends) {
      output_ = ends[0];
      if (at_growth_) at_growth_();
    };
    callbacks.trouble = [](const auto&, const auto&) {};
    callbacks.ended = [this](const auto&, std::int32_t status, auto) { ended_ = status; };
    copies_ = std::make_unique<Copies>(loop_, paths_, helpers_, base::null_log(), 0,
                                       std::move(callbacks));
  }
  // As a daemon that is killed and started again; then what it found.
  const CopyView& restart() {
    copies_.reset();
    EXPECT_TRUE(until([] { return loop::blocking_in_flight() == 0; }));
    begin();
    copies_->attend(spec_, kBorn);
    EXPECT_TRUE(until([&] { return view() != nullptr && !view()->cgroup.empty(); }));
    return *view();
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, done); }
  [[nodiscard]] const CopyView* view() const { return copies_->find(spec_.id); }
  // By the kernel's word.
  [[nodiscard]] bool frozen() const {
    auto group = machine::Cgroup::open(paths_.job_cgroup(spec_.id, kBorn));
    return group.ok() && group->events()->frozen;
  }
  // Its output grows, by more than may have been on its way.
  bool runs() {
    const std::uint64_t before = output_;
    return until([&] { return output_ > before + 20; });
  }
  Status pause(bool on) {
    std::optional<Status> done;
    copies_->pause(spec_.id, on, [&](const Status& status) { done = status; });
    EXPECT_TRUE(until([&] { return done.has_value(); }));
    return *done;
  }
  bool freeze() {
    std::optional<bool> done;
    copies_->freeze(spec_.id, [&](const auto& ends) { done = ends.ok(); });
    return until([&] { return done.has_value(); }) && *done;
  }
  bool thaw() {
    std::optional<bool> ran;
    copies_->thaw(spec_.id, kHandover, [&](const auto& done) { ran = done.ok() && *done; });
    return until([&] { return ran.has_value(); }) && *ran;
  }
  [[nodiscard]] std::optional<bool> mark() const {
    return job_folder::is_paused(paths_.job(spec_.id), kBorn);
  }

  TempDir dir_;
  Paths paths_;
  loop::Loop loop_;
  machine::Helpers helpers_;
  node::JobSpec spec_;
  std::optional<machine::Cgroup> root_;
  std::optional<std::int32_t> ended_;
  std::uint64_t output_ = 0;  // bytes, as told
  std::function<void()> at_growth_;
  std::unique_ptr<Copies> copies_;
};

// The keeper's answers belong to the operation that asked, also one that was begun by its news.
TEST_F(PausedCopy, AnOperationMayBeginWhereGrowthIsToldOf) {
  int rounds = 0;
  bool busy = false;
  at_growth_ = [&] {
    if (std::exchange(busy, true)) return;
    copies_->freeze(spec_.id, [&](const auto& ends) {
      EXPECT_TRUE(ends.ok()) << (ends.ok() ? "" : ends.error().detail);
      copies_->thaw(spec_.id, kHandover, [&](const auto& ran) {
        EXPECT_TRUE(ran.ok()) << (ran.ok() ? "" : ran.error().detail);
        busy = false;
        ++rounds;
      });
    });
  };
  EXPECT_TRUE(until([&] { return rounds >= 40; }));
  at_growth_ = nullptr;
  EXPECT_TRUE(until([&] { return !busy; }));
  EXPECT_TRUE(runs());
}

// Stopped, it takes no request; what it tells once it goes on is heard.
TEST_F(PausedCopy, AKeeperThatSaysNothingIsConnectedToAnew) {
  const auto keeper = machine::find_keeper(paths_.job(spec_.id));
  ASSERT_TRUE(keeper.ok() && *keeper);
  ASSERT_EQ(::kill(**keeper, SIGSTOP), 0);
  // It is asked, what it said before is read, it is connected to anew; once in a while.
  base::Time now = loop::Loop::now();
  for (int i = 0; i < 4; ++i, now += kKeeperSilence) copies_->look_after(now);
  EXPECT_EQ(copies_->silent_keepers(), 1U);
  // Until no more connections may wait for it.
  for (int i = 0; i < 40; ++i, now += kKeeperSilence) copies_->look_after(now);
  EXPECT_GE(copies_->silent_keepers(), 4U);
  ASSERT_EQ(::kill(**keeper, SIGCONT), 0);
  EXPECT_TRUE(runs());
  EXPECT_TRUE(freeze());
  EXPECT_TRUE(thaw());
  EXPECT_TRUE(runs());
}

// As where a keeper was told to go on by a connection that ended before it came to it.
TEST_F(PausedCopy, AKeeperThatStandsStillBesideACopyThatRunsIsLetGoOn) {
  {
    auto other = machine::KeeperClient::connect(paths_.job(spec_.id));
    ASSERT_TRUE(other.ok());
    ASSERT_TRUE(other->call(init::Op::kPause, machine::Patience(20'000)).ok());
  }
  EXPECT_TRUE(runs());
  ASSERT_TRUE(freeze());
  EXPECT_TRUE(thaw());
  EXPECT_TRUE(runs());
}

TEST_F(PausedCopy, StandsStillUntilItIsLetGoOn) {
  ASSERT_TRUE(pause(true).ok());
  EXPECT_TRUE(frozen());
  ASSERT_TRUE(pause(true).ok()) << "said twice";
  EXPECT_TRUE(frozen());
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(runs());
  EXPECT_EQ(mark(), std::nullopt);
}

TEST_F(PausedCopy, AHandoverThatFailsDoesNotLetItGoOn) {
  ASSERT_TRUE(pause(true).ok());
  ASSERT_TRUE(freeze());
  EXPECT_EQ(mark(), true);
  ASSERT_TRUE(thaw());
  EXPECT_TRUE(frozen());
  EXPECT_EQ(mark(), false);
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(runs());
}

TEST_F(PausedCopy, WhoIsLetGoOnDuringAHandoverStandsUntilThatIsOver) {
  ASSERT_TRUE(pause(true).ok());
  ASSERT_TRUE(freeze());
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(frozen());
  ASSERT_TRUE(thaw());
  EXPECT_TRUE(runs());
}

TEST_F(PausedCopy, WhoIsPausedDuringAHandoverStandsAfterIt) {
  ASSERT_TRUE(freeze());
  ASSERT_TRUE(pause(true).ok());
  EXPECT_EQ(mark(), true);
  ASSERT_TRUE(thaw());
  EXPECT_TRUE(frozen());
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(runs());
}

TEST_F(PausedCopy, ARestartKnowsWhoHoldsIt) {
  ASSERT_TRUE(pause(true).ok());
  {
    const CopyView& found = restart();
    EXPECT_TRUE(found.paused);
    EXPECT_FALSE(found.frozen) << "no handover holds it";
  }
  ASSERT_TRUE(freeze());
  {
    const CopyView& found = restart();
    EXPECT_TRUE(found.paused);
    EXPECT_TRUE(found.frozen);
  }
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(frozen());
  {
    const CopyView& found = restart();
    EXPECT_FALSE(found.paused);
    EXPECT_TRUE(found.frozen);
  }
  ASSERT_TRUE(thaw());
  EXPECT_TRUE(runs());
}

TEST_F(PausedCopy, WhatWasLetGoOnAndStillHasItsMarkIsLetGoOnAgain) {
  ASSERT_TRUE(job_folder::mark_paused(paths_.job(spec_.id), kBorn, false).ok());
  EXPECT_TRUE(restart().paused);
  ASSERT_TRUE(pause(false).ok());
  EXPECT_TRUE(runs());
  EXPECT_EQ(mark(), std::nullopt);
}

TEST_F(PausedCopy, IsKilledAtOnceAndHearsOfOtherSignalsLater) {
  ASSERT_TRUE(pause(true).ok());
  std::optional<bool> sent;
  copies_->signal(spec_.id, SIGUSR1, [&](const Status& status) { sent = status.ok(); });
  ASSERT_TRUE(until([&] { return sent.has_value(); }));
  EXPECT_TRUE(*sent);
  EXPECT_TRUE(frozen());
  copies_->signal(spec_.id, SIGKILL, [](const Status&) {});
  EXPECT_TRUE(until([&] { return ended_.has_value(); }));
  EXPECT_EQ(mark(), std::nullopt);
}

}  // namespace
}  // namespace ternd::testing
