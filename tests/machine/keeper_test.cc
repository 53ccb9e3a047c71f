#include "init/spool.h"
// What a keeper promises (src/init/keeper.h, src/machine/keeper_client.h): no byte of output lost
// or doubled, whoever dies when; pause means pause; the exit is stored after all output is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/rng.h"
#include "job_fixture.h"

namespace machine {
namespace {

using KeeperTest = JobTest;
using init::Op;

// "1\n2\n3\n..." and nothing else, except that the last line may be cut.
::testing::AssertionResult is_count(const std::string& text) {
  std::size_t at = 0;
  for (std::uint64_t number = 1; at < text.size(); ++number) {
    const std::string line = std::to_string(number) + "\n";
    const std::size_t size = std::min(line.size(), text.size() - at);
    if (text.compare(at, size, line, 0, size) != 0) {
      return ::testing::AssertionFailure() << "at " << at << " of " << text.size() << ", expected "
                                           << number << ", found " << text.substr(at, 40);
    }
    at += size;
  }
  return ::testing::AssertionSuccess();
}

std::string count_to(std::uint64_t last) {
  std::string text;
  for (std::uint64_t number = 1; number <= last; ++number) text += std::to_string(number) + "\n";
  return text;
}

TEST_F(KeeperTest, KilledAHundredTimesAtFullSpeedLosesAndDoublesNothing) {
  start(spec_of({"seq", "1", "inf"}));
  base::Rng rng(20260521);
  std::uint64_t last_end = 0;
  for (int round = 0; round < 100; ++round) {
    SCOPED_TRACE(round);
    auto replaced = replace_keeper(keeper_spec(), kPatience);
    ASSERT_TRUE(replaced.ok()) << replaced.error().detail;
    auto client = connect();
    auto status = client.call(Op::kStatus, kPatience);
    ASSERT_TRUE(status.ok()) << status.error().detail;
    ASSERT_GE(status->stdout_end, last_end);
    last_end = status->stdout_end;
    for (std::uint64_t grown = rng.below(4); grown > 0; --grown) {
      ASSERT_TRUE(client.wait_for(init::MessageKind::kGrew, kPatience).ok());
    }
    // And somewhere between two system calls of its.
    for (std::uint64_t spin = rng.below(200'000); spin > 0; --spin) asm volatile("");
    ASSERT_TRUE(stop_keeper(job_dir_, kPatience).ok());
    EXPECT_FALSE(find_keeper(job_dir_)->has_value());
  }
  start_keeper_running();
  auto client = connect();
  ASSERT_TRUE(signal_process(job_->init, SIGTERM).ok());
  const init::ExitRecord record = await_exit(client);
  EXPECT_EQ(WTERMSIG(record.wait_status), SIGTERM);
  const std::string text = output();
  EXPECT_EQ(record.stdout_end, text.size());
  EXPECT_GT(text.size(), 1'000'000U);
  EXPECT_TRUE(is_count(text));
}

TEST_F(KeeperTest, KilledAroundTheExitStillTellsIt) {
  base::Rng rng(7);
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    std::filesystem::remove_all(job_dir_);
    ASSERT_EQ(::mkdir(job_dir_.c_str(), 0755), 0);
    start("seq 1 2000; exit 5");
    for (int kills = 0; kills < 10 && !read_exit(job_dir_); ++kills) {
      auto replaced = replace_keeper(keeper_spec(), kPatience);
      ASSERT_TRUE(replaced.ok()) << replaced.error().detail;
      for (std::uint64_t spin = rng.below(2'000'000); spin > 0; --spin) asm volatile("");
    }
    ASSERT_TRUE(replace_keeper(keeper_spec(), kPatience).ok());
    auto client = connect();
    const init::ExitRecord record = await_exit(client);
    EXPECT_EQ(record.wait_status, W_EXITCODE(5, 0));
    EXPECT_EQ(record.source, init::ExitSource::kInit);
    EXPECT_EQ(output(), count_to(2000));
  }
}

TEST_F(KeeperTest, PausedReadsNothingUntilResumed) {
  start("trap 'echo more' USR1; echo ready; sleep 1000 & while :; do wait; done");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  auto paused = client.call(Op::kPause, kPatience);
  ASSERT_TRUE(paused.ok());
  EXPECT_EQ(paused->stdout_end, 6U);
  EXPECT_NE(paused->flags & init::kFlagPaused, 0U);
  const Fd pipe(::open(("/proc/" + std::to_string(job_->init.pid) + "/fd/10").c_str(),
                       O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(pipe.valid());
  ASSERT_TRUE(signal_process(job_->init, SIGUSR1).ok());
  pollfd readable{pipe.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&readable, 1, 20'000), 1);
  for (int turn = 0; turn < 10; ++turn) {  // each answer is a turn of the keeper's loop
    auto status = client.call(Op::kStatus, kPatience);
    ASSERT_TRUE(status.ok());
    ASSERT_EQ(status->stdout_end, 6U);
  }
  EXPECT_EQ(output(), "ready\n");
  ASSERT_TRUE(client.call(Op::kResume, kPatience).ok());
  await_output(client, 11);
  EXPECT_EQ(output(), "ready\nmore\n");
}

// On a handover the original dies while its keeper is paused: that is no exit of the job.
TEST_F(KeeperTest, PausedTakesTheDeathOfTheJobForNoExit) {
  start("echo ready; exec sleep 1000");
  ASSERT_TRUE(start_keeper(keeper_spec(true), kPatience).ok());
  auto client = connect();
  ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
  ASSERT_TRUE(wait_for_end(job_->process, kPatience).ok());
  auto status = client.call(Op::kStatus, kPatience);
  ASSERT_TRUE(status.ok());
  EXPECT_NE(status->flags & init::kFlagInitGone, 0U);
  EXPECT_EQ(status->flags & init::kFlagExited, 0U);
  EXPECT_EQ(read_exit(job_dir_).error().code, base::Code::kNotFound);
  EXPECT_EQ(client.call(Op::kAcknowledgeExit, kPatience).error().code, base::Code::kRefused);
  ASSERT_TRUE(client.call(Op::kRetire, kPatience).ok());
  EXPECT_EQ(client.call(Op::kStatus, kPatience).error().code, base::Code::kUnreachable);
  EXPECT_EQ(read_exit(job_dir_).error().code, base::Code::kNotFound);
}

TEST_F(KeeperTest, ComesToAJobThatIsGone) {
  start("true");
  ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
  ASSERT_TRUE(wait_for_end(job_->process, kPatience).ok());
  start_keeper_running();
  auto client = connect();
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(exited->wait_status, SIGKILL);
  EXPECT_EQ(read_exit(job_dir_)->source, init::ExitSource::kVanished);
}

TEST_F(KeeperTest, StoresTheExitWhenNobodyIsConnected) {
  start("echo bye; exit 9");
  start_keeper_running();
  ASSERT_TRUE(wait_for_end(job_->process, kPatience).ok());  // init was acknowledged: it is stored
  auto record = read_exit(job_dir_);
  ASSERT_TRUE(record.ok()) << record.error().detail;
  EXPECT_EQ(record->wait_status, W_EXITCODE(9, 0));
  EXPECT_EQ(output(), "bye\n");
  auto client = connect();
  EXPECT_TRUE(client.wait_for(init::MessageKind::kExited, kPatience).ok());
  // A successor finds it stored, too.
  ASSERT_TRUE(replace_keeper(keeper_spec(), kPatience).ok());
  auto second = connect();
  auto exited = second.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok());
  EXPECT_EQ(exited->wait_status, W_EXITCODE(9, 0));
}

// The keeper before died after storing the exit, before it told init.
TEST_F(KeeperTest, AStoredExitIsAcknowledgedByTheSuccessor) {
  start("exit 2");
  const init::ExitRecord stored{init::kExitMagic, W_EXITCODE(2, 0), init::ExitSource::kInit, 0, 0};
  std::ofstream(job_dir_ + "/exit", std::ios::binary)
      .write(reinterpret_cast<const char*>(&stored), sizeof stored);
  const Fd status(::open(("/proc/" + std::to_string(job_->init.pid) + "/fd/12").c_str(),
                         O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  pollfd one{status.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&one, 1, 20'000), 1);
  start_keeper_running();
  EXPECT_TRUE(wait_for_end(job_->process, kPatience).ok());
}

TEST_F(KeeperTest, AFullDiskStopsTheJobAndLosesNothing) {
  ASSERT_EQ(::mount("tern-test", job_dir_.c_str(), "tmpfs", 0, "size=256k"), 0);
  start("seq 1 200000; exit 6");
  start_keeper_running();
  {
    auto client = connect();
    auto full = client.wait_for(init::MessageKind::kDiskFull, kPatience);
    EXPECT_TRUE(full.ok());
    if (full) {
      EXPECT_EQ(full->store_errno, ENOSPC);
    }
    EXPECT_TRUE(is_count(output()));
    // A keeper that comes to a full disk does no harm either.
    EXPECT_TRUE(replace_keeper(keeper_spec(), kPatience).ok());
    client = connect();
    EXPECT_TRUE(client.wait_for(init::MessageKind::kDiskFull, kPatience).ok());
    EXPECT_EQ(::mount("tern-test", job_dir_.c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
    const init::ExitRecord record = await_exit(client);
    EXPECT_EQ(record.wait_status, W_EXITCODE(6, 0));
    EXPECT_EQ(output(), count_to(200'000));
  }
  EXPECT_TRUE(root_->kill_all(kPatience).ok());  // a keeper's working folder is there
  EXPECT_EQ(::umount2(job_dir_.c_str(), MNT_DETACH), 0);
}

TEST_F(KeeperTest, AtItsLimitTheJobWaitsUntilTheFrontOfTheFileIsFreed) {
  constexpr std::uint64_t kLimit = 4 << 20;
  start("seq 1 1500000; exit 6");  // 10.9 MB
  KeeperSpec spec = keeper_spec();
  spec.limit = kLimit;
  ASSERT_TRUE(machine::start_keeper(spec, kPatience).ok());
  auto client = connect();
  std::string seen;
  bool waited = false;
  std::size_t before = 0;
  std::size_t freed = 0;
  const std::string path = job_dir_ + "/stdout.log";
  const Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  for (;;) {
    auto full = client.wait_for(init::MessageKind::kDiskFull, kPatience);
    if (!full) break;  // it has ended
    EXPECT_EQ(full->store_errno, init::kAtLimit);
    struct stat info {};
    ASSERT_EQ(::fstat(file.get(), &info), 0);
    EXPECT_LE(static_cast<std::uint64_t>(info.st_blocks) * 512, kLimit);
    waited = true;
    seen = output();
    before = freed;
    freed = seen.size() / (1 << 20) * (1 << 20);
    ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                          static_cast<off_t>(freed)),
              0);
    if (seen.size() > 8'000'000) break;
  }
  EXPECT_TRUE(waited);
  const init::ExitRecord record = await_exit(client);
  EXPECT_EQ(record.wait_status, W_EXITCODE(6, 0));
  const std::string all = count_to(1'500'000);
  const std::string stored = output();
  ASSERT_EQ(stored.size(), all.size());
  // Not EXPECT_EQ, which would look for the shortest way from the one to the other.
  EXPECT_TRUE(stored.substr(freed) == all.substr(freed));
  EXPECT_TRUE(seen.substr(before) == all.substr(before, seen.size() - before));
}

TEST_F(KeeperTest, AClosedReaderGivesTheJobSigpipe) {
  start(spec_of({"yes"}));
  start_keeper_running();
  auto client = connect();
  await_output(client, 1000);
  auto closed = client.call(Op::kCloseReader, kPatience, 0);
  ASSERT_TRUE(closed.ok());
  EXPECT_NE(closed->flags & init::kFlagStdoutClosed, 0U);
  EXPECT_EQ(closed->flags & init::kFlagStderrClosed, 0U);
  EXPECT_EQ(WTERMSIG(await_exit(client).wait_status), SIGPIPE);
  EXPECT_EQ(client.call(Op::kStatus, kPatience).error().code, base::Code::kUnreachable);
}

TEST_F(KeeperTest, AClosedReaderOfOneStreamLeavesTheOther) {
  start(
      "trap '' PIPE; trap 'echo out 2>/dev/null; echo err >&2' USR1; echo ready; "
      "sleep 1000 & while :; do wait; done");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  ASSERT_TRUE(client.call(Op::kCloseReader, kPatience, 0).ok());
  ASSERT_TRUE(signal_process(job_->init, SIGUSR1).ok());
  await_output(client, 4, 1);
  EXPECT_EQ(output(), "ready\n");
  EXPECT_THAT(output("stderr.log"), ::testing::HasSubstr("err\n"));
  EXPECT_EQ(client.call(Op::kCloseReader, kPatience, 2).error().code, base::Code::kRefused);
  // A successor finds that stream closed, once init has dropped its spare end.
  const std::string spare =
      "/proc/" + std::to_string(job_->init.pid) + "/fd/" + std::to_string(init::kInitStdoutRead);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::filesystem::is_symlink(spare)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  ASSERT_TRUE(replace_keeper(keeper_spec(), kPatience).ok());
  client = connect();
  EXPECT_NE(client.call(Op::kStatus, kPatience)->flags & init::kFlagStdoutClosed, 0U);
}

TEST_F(KeeperTest, BasesAreKeptAndCounted) {
  start("printf 12345; printf 678 >&2");
  KeeperSpec spec = keeper_spec();
  spec.stdout_base = 1000;
  spec.stderr_base = 5'000'000'000;
  ASSERT_TRUE(start_keeper(spec, kPatience).ok());
  auto client = connect();
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok());
  EXPECT_EQ(exited->stdout_end, 1005U);
  EXPECT_EQ(exited->stderr_end, 5'000'000'003U);
  EXPECT_EQ(read_exit(job_dir_)->stdout_end, 1005U);
  EXPECT_EQ(read_bases(job_dir_)->stderr_base, 5'000'000'000U);
  ASSERT_TRUE(stop_keeper(job_dir_, kPatience).ok());
  auto other = start_keeper(keeper_spec(), kPatience);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, base::Code::kRefused);
}

TEST_F(KeeperTest, OneAtATime) {
  start("exec sleep 1000");
  start_keeper_running();
  EXPECT_EQ(start_keeper(keeper_spec(), kPatience).error().code, base::Code::kExists);
}

TEST_F(KeeperTest, DamagedRecordsAreRefused) {
  start("exec sleep 1000");
  for (const char* name : {"bases", "exit"}) {
    for (const std::size_t size : {0U, 5U, 23U, 24U, 31U, 32U, 33U, 4096U}) {
      SCOPED_TRACE(name + std::to_string(size));
      std::ofstream(job_dir_ + "/" + name, std::ios::binary) << std::string(size, 'x');
      EXPECT_EQ(start_keeper(keeper_spec(), kPatience).error().code, base::Code::kRefused);
      EXPECT_FALSE(std::string(name) == "exit" ? read_exit(job_dir_).ok()
                                               : read_bases(job_dir_).ok());
      std::filesystem::remove(job_dir_ + "/" + name);
    }
    // The keeper wrote good bases before it saw the damaged exit.
    std::filesystem::remove(job_dir_ + "/bases");
  }
}

TEST_F(KeeperTest, LivesInFoldersWithLongNames) {
  job_dir_ = dir_ + "/" + std::string(100, 'a') + "/" + std::string(100, 'b');
  ASSERT_TRUE(std::filesystem::create_directories(job_dir_));
  EXPECT_EQ(run_to_end("echo fine").wait_status, 0);
  EXPECT_EQ(output(), "fine\n");
}

TEST_F(KeeperTest, RubbishEndsTheConnectionOnly) {
  start("exec sleep 1000");
  start_keeper_running();
  for (const std::size_t size : {1U, 15U, 16U, 17U, 10'000U}) {
    SCOPED_TRACE(size);
    auto client = connect();
    const std::string rubbish(size, 'r');
    (void)!::send(client.fd(), rubbish.data(), rubbish.size(), MSG_NOSIGNAL);
    auto good = connect();
    EXPECT_TRUE(good.call(Op::kStatus, kPatience).ok());
    EXPECT_EQ(good.call(static_cast<Op>(99), kPatience).error().code, base::Code::kRefused);
  }
}

TEST_F(KeeperTest, TheNewestClientIsServed) {
  start("exec sleep 1000");
  start_keeper_running();
  auto first = connect();
  ASSERT_TRUE(first.call(Op::kStatus, kPatience).ok());
  auto second = connect();
  ASSERT_TRUE(second.call(Op::kStatus, kPatience).ok());
  EXPECT_EQ(first.call(Op::kStatus, kPatience).error().code, base::Code::kUnreachable);
  // A client that never reads is dropped, and the keeper goes on.
  while (second.send(Op::kStatus).ok()) {
  }
  auto third = connect();
  EXPECT_TRUE(third.call(Op::kStatus, kPatience).ok());
}

TEST_F(KeeperTest, OrderTellsHowStreamsInterleaved) {
  start(
      "trap 'echo out' USR1; trap 'echo err >&2' USR2; echo ready; "
      "sleep 1000 & while :; do wait; done");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  ASSERT_TRUE(signal_process(job_->init, SIGUSR2).ok());
  await_output(client, 4, 1);
  ASSERT_TRUE(signal_process(job_->init, SIGUSR1).ok());
  await_output(client, 10);
  const std::string raw = output("order");
  ASSERT_EQ(raw.size(), 3 * sizeof(init::OrderRecord));
  init::OrderRecord records[3];
  std::copy(raw.begin(), raw.end(), reinterpret_cast<char*>(records));
  const std::uint64_t expected[3][2] = {{0, 6}, {1, 4}, {0, 10}};
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(records[i].stream, expected[i][0]);
    EXPECT_EQ(records[i].end, expected[i][1]);
  }
}

TEST_F(KeeperTest, KeepsUpWithHundredsOfThousandsOfLinesPerSecond) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run_to_end("seq 1 2000000").wait_status, 0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(output(), count_to(2'000'000));
  RecordProperty("lines_per_second", static_cast<int>(2'000'000 / took.count()));
  EXPECT_LT(took.count(), 20.0);
}

// Unbuffered lines: one write, one wake-up each, from both streams at once.
TEST_F(KeeperTest, KeepsUpWithSmallWrites) {
  EXPECT_EQ(run_to_end("(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i >&2; done) & "
                       "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done; wait")
                .wait_status,
            0);
  EXPECT_EQ(output(), count_to(20'000));
  EXPECT_EQ(output("stderr.log"), count_to(20'000));
}

}  // namespace
}  // namespace machine
