// What init promises of a job's stdin (src/init/contract.h): every byte once and in order, whatever
// is sent again; the end; the newest session; a terminal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>

#include "input_feeder.h"
#include "job_fixture.h"

namespace machine {
namespace {

using init::InputKind;

class JobInputTest : public JobTest {
 protected:
  void start_with(const std::string& shell_command, JobInput input = JobInput::kPipe) {
    JobSpec spec = spec_of({"/bin/sh", "-c", shell_command});
    spec.input = input;
    start(spec);
    start_keeper_running();
  }
};

TEST_F(JobInputTest, EveryByteOnceAlthoughAllIsSentAgain) {
  start_with("exec cat");
  auto keeper = connect();
  base::Rng rng(1);
  Feeder feeder(job_->init, random_text(rng, 1'000'000));
  feeder.claim(7);
  feeder.feed_all();
  EXPECT_EQ(await_exit(keeper).wait_status, 0);
  EXPECT_EQ(output(), feeder.text());
}

TEST_F(JobInputTest, ADaemonThatComesAnewLearnsHowFarItIs) {
  start_with("exec cat");
  auto keeper = connect();
  base::Rng rng(2);
  Feeder feeder(job_->init, random_text(rng, 500'000));
  feeder.claim(7);
  for (int round = 0; round < 20; ++round) {
    feeder.put(InputKind::kBytes, feeder.taken(),
               feeder.text().substr(feeder.taken(), init::kInputPieceMax));
    feeder.move_to(job_->init);
  }
  feeder.feed_all();
  EXPECT_EQ(await_exit(keeper).wait_status, 0);
  EXPECT_EQ(output(), feeder.text());
}

TEST_F(JobInputTest, OnlyTheNewestSessionFeeds) {
  start_with("exec cat");
  auto keeper = connect();
  Feeder first(job_->init, "old");
  first.claim(5);
  Feeder second(job_->init, "new");
  second.claim(6);
  first.put(InputKind::kBytes, 0, "old");
  first.put(InputKind::kEnd, 0, "");
  first.claim(5);
  EXPECT_EQ(first.state().session, 6U);
  EXPECT_EQ(first.taken(), 0U);
  second.feed_all();
  (void)await_exit(keeper);
  EXPECT_EQ(output(), "new");
}

TEST_F(JobInputTest, AGapAndRubbishAreNotTaken) {
  start_with("exec cat");
  auto keeper = connect();
  Feeder feeder(job_->init, "0123456789");
  feeder.claim(1);
  feeder.put(InputKind::kBytes, 4, "4567");  // what precedes it is missing
  feeder.put(InputKind::kEnd, 10, "");
  const std::string path = "/proc/" + std::to_string(job_->init.pid) + "/fd/16";
  const Fd feed(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(feed.valid());
  feeder.ask();
  EXPECT_EQ(feeder.taken(), 0U);
  const std::string rubbish(5000, 'x');
  ASSERT_EQ(::write(feed.get(), rubbish.data(), rubbish.size()), 5000);
  // What came right behind it may be taken for more of it; so it is sent until it is taken.
  feeder.feed_all();
  (void)await_exit(keeper);
  EXPECT_EQ(output(), "0123456789");
}

TEST_F(JobInputTest, AJobThatClosesItsInputSaysSo) {
  start_with("exec <&-; echo closed; exec sleep 1000");
  auto keeper = connect();
  await_output(keeper, 7);
  Feeder feeder(job_->init, "x");
  while ((feeder.state().flags & init::kInputClosed) == 0) feeder.ask();
  EXPECT_EQ(feeder.taken(), 0U);
}

TEST_F(JobInputTest, SignalsReachAJobThatDoesNotRead) {
  start_with("trap 'echo got; exit 4' INT; echo ready; while :; do sleep 0.05; done");
  auto keeper = connect();
  await_output(keeper, 6);
  base::Rng rng(3);
  Feeder feeder(job_->init, random_text(rng, 400'000));
  feeder.claim(1);
  feeder.feed_until_full();
  ASSERT_TRUE(signal_process(job_->init, SIGINT).ok());
  EXPECT_EQ(await_exit(keeper).wait_status, W_EXITCODE(4, 0));
  EXPECT_EQ(output(), "ready\ngot\n");
}

TEST_F(JobInputTest, AJobWithoutInputHasNoneToOpen) {
  start("exec sleep 1000");
  EXPECT_EQ(InputClient::open(job_->init).error().code, base::Code::kUnsupported);
  ProcessName other = job_->init;
  ++other.start_ticks;
  EXPECT_EQ(InputClient::open(other).error().code, base::Code::kNotFound);
}

// Of an init that has ended nothing is told but that: what is left of it has no descriptors.
TEST_F(JobInputTest, AnEndedJobIsGoneAndNotWithoutInput) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t ended = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  const auto name = name_process(child);
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(InputClient::open(*name).error().code, base::Code::kNotFound);
  (void)::waitpid(child, nullptr, 0);
}

// A job that comes from a peer may bring anything at an init's numbers.
TEST_F(JobInputTest, WhatIsNoPipeIsNoInput) {
  const std::string fifo = ::testing::TempDir() + "tern-fifo-" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {std::string("/dev/null"), fifo}) {
    SCOPED_TRACE(path);
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const int file = ::open(path.c_str(), O_RDWR);
      (void)::dup2(file, init::kInitFeedWrite);
      (void)::dup2(file, init::kInitNewsRead);
      (void)::write(ready[1], "r", 1);
      for (;;) ::pause();
    }
    char one = 0;
    ASSERT_EQ(::read(ready[0], &one, 1), 1);
    const auto name = name_process(child);
    ASSERT_TRUE(name.ok());
    EXPECT_EQ(InputClient::open(*name).error().code, base::Code::kUnsupported);
    ::kill(child, SIGKILL);
    (void)::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  std::filesystem::remove(fifo);
}

TEST_F(JobInputTest, ATerminalHasASizeJobControlAndAllItsOutput) {
  start_with(
      "tty -s && stty -echo -onlcr && echo ready; read x; stty size; echo got $x; seq 1 30000",
      JobInput::kTerminal);
  auto keeper = connect();
  await_output(keeper, 6);
  Feeder feeder(job_->init, "");
  feeder.claim(1);
  EXPECT_NE(feeder.state().flags & init::kInputTerminal, 0U);
  struct winsize window = {};
  window.ws_row = 33;
  window.ws_col = 101;
  feeder.put(InputKind::kWindow, 0, std::string(reinterpret_cast<char*>(&window), sizeof window));
  feeder.put(InputKind::kBytes, 0, "word\n");
  EXPECT_EQ(await_exit(keeper).wait_status, 0);
  const std::string text = output();
  EXPECT_EQ(text.substr(0, 22), "ready\n33 101\ngot word\n");
  EXPECT_TRUE(text.ends_with("\n30000\n")) << text.size();
}

TEST_F(JobInputTest, TheTerminalsInterruptIsTheJobs) {
  start_with("trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done",
             JobInput::kTerminal);
  auto keeper = connect();
  await_output(keeper, 7);
  Feeder feeder(job_->init, "");
  feeder.claim(1);
  feeder.put(InputKind::kBytes, 0, "\x03");
  EXPECT_EQ(await_exit(keeper).wait_status, W_EXITCODE(9, 0));
}

TEST(InputNews, OnlySoundStatesCount) {
  const init::InputState good{init::kInputMagic, 3, 40, init::kInputEnded, 0};
  init::InputState bad = good;
  bad.magic = 1;
  init::InputState far = good;
  far.taken = UINT64_MAX;
  base::Bytes bytes;
  const auto add = [&](const init::InputState& state) {
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&state);
    bytes.insert(bytes.end(), raw, raw + sizeof state);
  };
  EXPECT_FALSE(newest_input_state(bytes).has_value());
  add(good);
  add(bad);
  add(far);
  bytes.push_back(7);
  const auto newest = newest_input_state(bytes);
  ASSERT_TRUE(newest.has_value());
  EXPECT_EQ(newest->taken, 40U);
}

}  // namespace
}  // namespace machine
