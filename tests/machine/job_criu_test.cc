// That a job can be dumped and restored with its pipes, and both outcomes of a handover.
//
// The claim: since both ends of a job's pipes lie inside the dumped tree, CRIU carries their
// unread content along, although a keeper outside reads them too; nothing is lost, nothing comes
// twice, provided that the keeper is paused between freeze and outcome. Needs the CRIU that
// scripts/install-criu installs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/rng.h"
#include "input_feeder.h"
#include "job_fixture.h"
#include "machine/init_root.h"

namespace machine {
namespace {

using init::Op;

std::string find_criu() {
  const char* dir = std::getenv("TERN_CRIU_DIR");
  const char* home = std::getenv("HOME");
  for (const std::string& path :
       {std::string(dir != nullptr ? dir : "/opt/tern/criu") + "/criu",
        std::string(home != nullptr ? home : "") + "/.local/share/tern/criu/criu"}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

class JobCriu : public JobTest {
 protected:
  void SetUp() override {
    JobTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    criu_ = find_criu();
    if (criu_.empty() && in_ci()) FAIL() << "CRIU is not here";
    if (criu_.empty()) GTEST_SKIP() << "CRIU is not here";
    images_ = dir_ + "/images";
    ASSERT_EQ(::mkdir(images_.c_str(), 0700), 0);
    copy_dir_ = dir_ + "/copy";
    ASSERT_EQ(::mkdir(copy_dir_.c_str(), 0755), 0);
    auto runs = Cgroup::create(root_->path() + "/criu");
    ASSERT_TRUE(runs.ok());
    runs_ = std::move(*runs);
    auto copy = Cgroup::create(root_->path() + "/copy");
    ASSERT_TRUE(copy.ok());
    copy_ = std::move(*copy);
  }

  ::testing::AssertionResult run_criu(std::vector<std::string> arguments, const Cgroup& cgroup) {
    const std::string log = images_ + "/" + arguments.front() + ".log";
    arguments.insert(arguments.begin(), "criu");
    for (const char* more :
         {"-D", images_.c_str(), "-o", log.c_str(), "-v4", "--manage-cgroups=ignore"}) {
      arguments.emplace_back(more);
    }
    SpawnSpec spec;
    spec.program = criu_;
    spec.argv = arguments;
    spec.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    spec.dir = "/";
    spec.cgroup = &cgroup;
    if (job_user_ && arguments[1] == "dump") run_as_user(&spec);
    auto process = spawn(spec);
    if (!process) return ::testing::AssertionFailure() << process.error().detail;
    auto status = wait_for_end(*process, Patience(60'000));
    if (status && *status == 0) return ::testing::AssertionSuccess();
    const std::string text = read_file(log);
    return ::testing::AssertionFailure()
           << log << "\n"
           << text.substr(text.size() - std::min<std::size_t>(text.size(), 4000));
  }

  // Reading another user's limits (prlimit) takes CAP_SYS_RESOURCE, which root of a container may
  // lack: then the dump is taken as the job's own user with the capabilities that it needs.
  void run_as_user(SpawnSpec* spec) const {
    SpawnUser user{12345, 23456, 0};
    for (const int capability : {CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SETPCAP,
                                 CAP_NET_ADMIN, CAP_KILL, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH}) {
      user.capabilities |= std::uint64_t{1} << capability;
    }
    spec->user = user;
    spec->argv.insert(spec->argv.begin() + 1, "--unprivileged");
  }

  // Freeze, pause, dump: the original stays frozen. Returns the keeper's last word.
  init::Message checkpoint(KeeperClient& keeper, std::vector<std::string> options = {}) {
    EXPECT_TRUE(cgroup_->freeze_for_dump(kPatience).ok());
    auto paused = keeper.call(Op::kPause, kPatience);
    EXPECT_TRUE(paused.ok());
    std::vector<std::string> arguments{
        "dump", "-t", std::to_string(job_->init.pid), "-R", "--freeze-cgroup", cgroup_->path()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    EXPECT_TRUE(show_proc(job_->init, init_root_).ok());
    EXPECT_TRUE(run_criu(arguments, *runs_));
    EXPECT_TRUE(hide_proc(init_root_).ok());
    EXPECT_TRUE(cgroup_->events()->frozen);
    EXPECT_TRUE(runs_->processes()->empty()) << "no part of CRIU is left";
    return paused ? *paused : init::Message{};
  }

  void commit_source(KeeperClient& keeper) {
    ASSERT_TRUE(keeper.call(Op::kRetire, kPatience).ok());
    ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
    ASSERT_TRUE(wait_for_end(job_->process, kPatience).ok());
  }

  // Restored, stopped and then frozen: held.
  void restore(std::vector<std::string> options = {}) {
    std::vector<std::string> arguments{"restore", "-s", "-d"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    ASSERT_TRUE(run_criu(arguments, *copy_));
    ASSERT_TRUE(copy_->freeze(kPatience).ok());
    auto held = check_held(*copy_);
    ASSERT_TRUE(held.ok()) << held.error().detail;
  }

  KeeperClient keep_copy(const init::Message& last) {
    auto init = find_init(*copy_);
    EXPECT_TRUE(init.ok());
    KeeperSpec spec = keeper_spec();
    spec.job_dir = copy_dir_;
    spec.init = *init;
    spec.stdout_base = last.stdout_end;
    spec.stderr_base = last.stderr_end;
    auto started = start_keeper(spec, kPatience);
    EXPECT_TRUE(started.ok()) << (started.ok() ? "" : started.error().detail);
    auto client = KeeperClient::connect(copy_dir_);
    EXPECT_TRUE(client.ok());
    return std::move(*client);
  }

  // The whole count, from both stays, each number once.
  void expect_count(const std::string& text) {
    std::size_t at = 0;
    std::uint64_t number = 1;
    for (; at < text.size(); ++number) {
      const std::string line = std::to_string(number) + "\n";
      ASSERT_EQ(text.compare(at, line.size(), line), 0)
          << "expected " << number << ", found " << text.substr(at, 30);
      at += line.size();
    }
  }

  std::string criu_;
  bool job_user_ = false;
  std::string images_;
  std::string copy_dir_;
  std::optional<Cgroup> runs_;
  std::optional<Cgroup> copy_;
};

constexpr char kCounter[] =
    "trap 'echo $i; exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; done";
// TERM ends it in mid-count; the number of the trap's line is either just printed or not yet.
std::string without_last_line(const std::string& text) {
  const std::size_t end = text.rfind('\n', text.size() - 2);
  return text.substr(0, end == std::string::npos ? 0 : end + 1);
}

TEST_F(JobCriu, CommitCarriesUnreadOutputAlong) {
  start(kCounter);
  start_keeper_running();
  auto keeper = connect();
  await_output(keeper, 20'000);
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  EXPECT_EQ(output().size(), last.stdout_end);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto grown = client.call(Op::kStatus, kPatience);
  ASSERT_TRUE(grown.ok());
  while (grown->stdout_end < last.stdout_end + 200'000) {
    grown = client.wait_for(init::MessageKind::kGrew, kPatience);
    ASSERT_TRUE(grown.ok()) << grown.error().detail;
  }
  auto init = find_init(*copy_);
  ASSERT_TRUE(init.ok());
  ASSERT_TRUE(signal_process(*init, SIGTERM).ok());
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(exited->wait_status, 0);
  const std::string second = read_file(copy_dir_ + "/stdout.log");
  EXPECT_EQ(exited->stdout_end, last.stdout_end + second.size());
  expect_count(without_last_line(output() + second));
  EXPECT_EQ(read_file(copy_dir_ + "/stderr.log"), "");
}

TEST_F(JobCriu, AbortLetsTheOriginalGoOn) {
  start(kCounter);
  start_keeper_running();
  auto keeper = connect();
  for (int attempt = 0; attempt < 3; ++attempt) {
    SCOPED_TRACE(attempt);
    auto now = keeper.call(Op::kStatus, kPatience);
    ASSERT_TRUE(now.ok());
    await_output(keeper, now->stdout_end + 20'000);
    const init::Message last = checkpoint(keeper);
    EXPECT_EQ(keeper.call(Op::kStatus, kPatience)->stdout_end, last.stdout_end);
    // The sink had its copy held already; it goes without having run. Both may exist at once.
    restore();
    ASSERT_TRUE(copy_->kill_all(kPatience).ok());
    ASSERT_TRUE(copy_->remove().ok());  // never used again: see Cgroup::kill_all
    auto fresh = Cgroup::create(root_->path() + "/copy");
    ASSERT_TRUE(fresh.ok());
    copy_ = std::move(*fresh);
    std::filesystem::remove_all(images_);
    ASSERT_EQ(::mkdir(images_.c_str(), 0700), 0);
    ASSERT_TRUE(cgroup_->thaw(kPatience).ok());
    ASSERT_TRUE(keeper.call(Op::kResume, kPatience).ok());
  }
  ASSERT_TRUE(signal_process(job_->init, SIGTERM).ok());
  EXPECT_EQ(await_exit(keeper).wait_status, 0);
  expect_count(without_last_line(output()));
}

// The pipes full, the job blocked in write(2): 64 KiB each go along, to the byte.
TEST_F(JobCriu, FullPipesGoAlong) {
  start("(seq 1 100000; echo end) & seq 1 100000 >&2; wait; exit 3");
  ASSERT_TRUE(start_keeper(keeper_spec(true), kPatience).ok());
  auto keeper = connect();
  const std::string fd = "/proc/" + std::to_string(job_->init.pid) + "/fd/";
  for (const char* number : {"1", "2"}) {  // wait until no page is free: both writers block
    const Fd write_end(::open((fd + number).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    ASSERT_TRUE(write_end.valid());
    const auto begin = std::chrono::steady_clock::now();
    pollfd one{write_end.get(), POLLOUT, 0};
    while (::poll(&one, 1, 0) > 0) {
      ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    }
  }
  const init::Message last = checkpoint(keeper);
  EXPECT_EQ(last.stdout_end, 0U);
  commit_source(keeper);
  EXPECT_EQ(output(), "");
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(exited->wait_status, W_EXITCODE(3, 0));
  expect_count(read_file(copy_dir_ + "/stderr.log"));
  const std::string text = read_file(copy_dir_ + "/stdout.log");
  ASSERT_TRUE(text.ends_with("100000\nend\n"));
  expect_count(text.substr(0, text.size() - 4));
}

// A job that has ended while nobody looked moves with its status unread.
TEST_F(JobCriu, AnUnreadExitStatusGoesAlong) {
  start("echo bye; exit 11");
  const Fd status(::open(("/proc/" + std::to_string(job_->init.pid) + "/fd/12").c_str(),
                         O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(status.valid());
  pollfd one{status.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&one, 1, 20'000), 1);
  ASSERT_TRUE(start_keeper(keeper_spec(true), kPatience).ok());
  auto keeper = connect();
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(exited->wait_status, W_EXITCODE(11, 0));
  EXPECT_EQ(read_file(copy_dir_ + "/stdout.log"), "bye\n");
}

// Somebody's `| head` went away before the move: SIGPIPE after it.
TEST_F(JobCriu, AClosedReaderStaysClosed) {
  start("trap 'exec yes' USR1; echo ready; sleep 1000 & while :; do wait; done");
  start_keeper_running();
  auto keeper = connect();
  await_output(keeper, 6);
  ASSERT_TRUE(keeper.call(Op::kCloseReader, kPatience, 0).ok());
  // Once init has dropped its spare, or as soon as the keeper has closed: both travel.
  const std::string spare = "/proc/" + std::to_string(job_->init.pid) + "/fd/10";
  const auto begin = std::chrono::steady_clock::now();
  while (std::filesystem::is_symlink(spare)) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  }
  const init::Message last = checkpoint(keeper);
  EXPECT_NE(last.flags & init::kFlagStdoutClosed, 0U);
  commit_source(keeper);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto init = find_init(*copy_);
  ASSERT_TRUE(init.ok());
  ASSERT_TRUE(signal_process(*init, SIGUSR1).ok());
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(WTERMSIG(exited->wait_status), SIGPIPE);
}

// The job's stdin full, frames waiting in the feed, one in init's hand: nothing missing, nothing
// twice, whatever is sent again.
TEST_F(JobCriu, InputThatWaitsGoesAlong) {
  JobSpec spec = spec_of({"/bin/sh", "-c", "trap : USR1; sleep 1000 & wait; exec cat"});
  spec.input = JobInput::kPipe;
  start(spec);
  start_keeper_running();
  auto keeper = connect();
  base::Rng rng(4);
  Feeder feeder(job_->init, random_text(rng, 300'000));
  feeder.claim(1);
  feeder.feed_until_full();
  EXPECT_GE(feeder.taken(), 16 * init::kInputPieceMax);
  EXPECT_GT(feeder.sent(), feeder.taken());
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto init = find_init(*copy_);
  ASSERT_TRUE(init.ok());
  ASSERT_TRUE(signal_process(*init, SIGUSR1).ok());
  feeder.move_to(*init);
  feeder.feed_all();
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(exited->wait_status, 0);
  EXPECT_EQ(read_file(copy_dir_ + "/stdout.log"), feeder.text());
}

// Both ends of a terminal lie in the tree, too: its size, its modes, and the lines that
// were typed ahead. Of a line that is not finished CRIU sees nothing: it has to be typed again.
TEST_F(JobCriu, ATerminalGoesAlong) {
  JobSpec spec = spec_of({"/bin/sh", "-c",
                          "stty -echo -onlcr; trap : USR1; echo ready; sleep 1000 & wait; "
                          "read x; read y; stty size; stty -a | grep -o -e '-echo '; tty; "
                          "echo got $x $y; kill -INT 0; sleep 1000"});
  spec.input = JobInput::kTerminal;
  start(spec);
  start_keeper_running();
  auto keeper = connect();
  await_output(keeper, 6);
  Feeder feeder(job_->init, "");
  feeder.claim(1);
  struct winsize window = {};
  window.ws_row = 33;
  window.ws_col = 101;
  feeder.put(init::InputKind::kWindow, 0,
             std::string(reinterpret_cast<char*>(&window), sizeof window));
  feeder.put(init::InputKind::kBytes, 0, "one\n");
  while (feeder.taken() < 4) feeder.ask();
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto init = find_init(*copy_);
  ASSERT_TRUE(init.ok());
  ASSERT_TRUE(signal_process(*init, SIGUSR1).ok());
  feeder.move_to(*init);
  EXPECT_EQ(feeder.taken(), 4U);
  feeder.put(init::InputKind::kBytes, 4, "two\n");
  auto exited = client.wait_for(init::MessageKind::kExited, kPatience);
  ASSERT_TRUE(exited.ok()) << exited.error().detail;
  EXPECT_EQ(WTERMSIG(exited->wait_status), SIGINT);
  const std::string shown = read_file(copy_dir_ + "/stdout.log");
  EXPECT_EQ(shown.substr(0, 14), "33 101\n-echo \n");
  EXPECT_TRUE(shown.ends_with("got one two\n")) << shown;
}

// A copy that a stray SIGCONT woke between CRIU's end and the freeze is not held.
TEST_F(JobCriu, AStrayContinueIsSeen) {
  start("exec sleep 1000");
  start_keeper_running();
  auto keeper = connect();
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  EXPECT_EQ(last.stdout_end, 0U);
  ASSERT_TRUE(run_criu({"restore", "-s", "-d"}, *copy_));
  const auto pids = copy_->processes();
  ASSERT_TRUE(pids.ok());
  for (const pid_t pid : *pids) ASSERT_EQ(::kill(pid, SIGCONT), 0);
  ASSERT_TRUE(copy_->freeze(kPatience).ok());
  EXPECT_EQ(check_held(*copy_).error().code, base::Code::kRefused);
}

TEST_F(JobCriu, AUsersJobMoves) {
  JobSpec spec = spec_of({"/bin/sh", "-c", std::string("cd /; ") + kCounter});
  spec.change_user = true;
  spec.uid = 12345;
  spec.gid = 23456;
  job_user_ = true;
  start(spec);
  start_keeper_running();
  auto keeper = connect();
  await_output(keeper, 20'000);
  const init::Message last = checkpoint(keeper);
  commit_source(keeper);
  restore();
  auto client = keep_copy(last);
  ASSERT_TRUE(release_held(*copy_, kPatience).ok());
  auto grown = client.wait_for(init::MessageKind::kGrew, kPatience);
  ASSERT_TRUE(grown.ok());
  auto init = find_init(*copy_);
  ASSERT_TRUE(init.ok());
  const std::string status = read_file("/proc/" + std::to_string(init->pid) + "/status");
  EXPECT_NE(status.find("\nUid:\t12345\t12345\t12345\t12345\n"), std::string::npos);
  EXPECT_NE(status.find("\nNoNewPrivs:\t1\n"), std::string::npos);
  ASSERT_TRUE(signal_process(*init, SIGTERM).ok());
  ASSERT_TRUE(client.wait_for(init::MessageKind::kExited, kPatience).ok());
  expect_count(without_last_line(output() + read_file(copy_dir_ + "/stdout.log")));
}

}  // namespace
}  // namespace machine
