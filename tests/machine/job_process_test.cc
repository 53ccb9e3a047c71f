// What init promises a job (src/init/init_main.cc, src/machine/job_process.h).
#include "machine/job_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>

#include "job_fixture.h"
#include "machine/init_root.h"

namespace machine {
namespace {

using JobProcess = JobTest;
using ::testing::HasSubstr;

std::string line_of(const std::string& text, const std::string& key) {
  const std::size_t at = text.find("\n" + key);
  return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
}

// Init enters its folder some time after it was started.
void wait_for_link(const std::string& link, const std::string& target) {
  const auto begin = std::chrono::steady_clock::now();
  std::error_code error;
  while (std::filesystem::read_symlink(link, error) != target) {
    ASSERT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  }
}

class JobExit : public JobTest {};

TEST_F(JobExit, CodeOfMain) { EXPECT_EQ(run_to_end("exit 7").wait_status, W_EXITCODE(7, 0)); }
TEST_F(JobExit, Success) { EXPECT_EQ(run_to_end("true").wait_status, 0); }
TEST_F(JobExit, SignalOfMain) {
  EXPECT_EQ(WTERMSIG(run_to_end("kill -KILL $$").wait_status), SIGKILL);
  EXPECT_EQ(read_exit(job_dir_)->source, init::ExitSource::kInit);
}

// The shell's convention: 127 when there is no such command, 126 when it cannot be run.
TEST_F(JobExit, CommandNotFoundIs127WithALineOnStderr) {
  start(spec_of({"no-such-command-here"}));
  start_keeper_running();
  auto client = connect();
  EXPECT_EQ(await_exit(client).wait_status, W_EXITCODE(127, 0));
  EXPECT_EQ(output("stderr.log"), "tern: no-such-command-here: No such file or directory\n");
}

TEST_F(JobExit, CommandNotExecutableIs126) {
  start(spec_of({"/etc/passwd"}));
  start_keeper_running();
  auto client = connect();
  EXPECT_EQ(await_exit(client).wait_status, W_EXITCODE(126, 0));
  EXPECT_EQ(output("stderr.log"), "tern: /etc/passwd: Permission denied\n");
}

TEST_F(JobExit, FolderThatIsNotThereIs126) {
  JobSpec spec = spec_of({"true"});
  spec.dir = "/nonexistent/folder";
  start(spec);
  start_keeper_running();
  auto client = connect();
  EXPECT_EQ(await_exit(client).wait_status, W_EXITCODE(126, 0));
  EXPECT_THAT(output("stderr.log"), HasSubstr("/nonexistent/folder: No such file"));
}

// A list of PIDs is of the moment: who has one of them by now may be anybody.
TEST_F(JobExit, ASignalToAllReachesTheWholeJobAndNobodyElse) {
  start("sleep 1000 & sleep 1000 & echo on; wait");
  start_keeper_running();
  auto client = connect();
  await_output(client, 3);
  const base::Status outside = signal_member(*cgroup_, ::getpid(), SIGKILL);
  ASSERT_FALSE(outside.ok());
  EXPECT_EQ(outside.error().code, base::Code::kNotFound);
  ASSERT_TRUE(signal_members(*cgroup_, job_->init.pid, SIGKILL).ok());
  EXPECT_EQ(WTERMSIG(await_exit(client).wait_status), SIGKILL);
  EXPECT_EQ(read_exit(job_dir_)->source, init::ExitSource::kInit) << "init itself was spared";
}

TEST_F(JobExit, OfAKilledInitIsSignal9) {
  start("echo before; exec sleep 1000");
  start_keeper_running();
  auto client = connect();
  await_output(client, 7);
  ASSERT_TRUE(signal_process(job_->init, SIGKILL).ok());
  const init::ExitRecord record = await_exit(client);
  EXPECT_EQ(record.wait_status, SIGKILL);
  EXPECT_EQ(record.source, init::ExitSource::kVanished);
  EXPECT_EQ(record.stdout_end, 7U);
  EXPECT_EQ(output(), "before\n");
}

TEST_F(JobExit, OfAKilledGroupIsSignal9AndNobodyIsLeft) {
  start("sleep 1000 & sleep 1000 & echo before; wait");
  start_keeper_running();
  auto client = connect();
  await_output(client, 7);
  ASSERT_TRUE(cgroup_->freeze(kPatience).ok());
  ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
  EXPECT_EQ(await_exit(client).source, init::ExitSource::kVanished);
  EXPECT_TRUE(cgroup_->processes()->empty());
}

// A job ends with its main, even if children of it hold the pipes.
TEST_F(JobExit, EndsChildrenThatHoldStdout) {
  EXPECT_EQ(run_to_end("sleep 1000 & (setsid sleep 1000 &) ; echo done; exit 3").wait_status,
            W_EXITCODE(3, 0));
  EXPECT_EQ(output(), "done\n");
  EXPECT_TRUE(cgroup_->processes()->empty());
}

TEST_F(JobExit, AnEarlyAcknowledgementByTheJobCountsForNothing) {
  EXPECT_EQ(run_to_end("kill -34 1; kill -34 1; exit 3").wait_status, W_EXITCODE(3, 0));
  EXPECT_EQ(read_exit(job_dir_)->source, init::ExitSource::kInit);
}

// Nothing is lost when nobody holds the job yet.
TEST_F(JobExit, WaitsForAKeeperThatComesLater) {
  start("echo out; echo err >&2; exit 4");
  // Init has nothing left to do and blocks; its record is in the pipe whenever the keeper looks.
  start_keeper_running();
  auto client = connect();
  EXPECT_EQ(await_exit(client).wait_status, W_EXITCODE(4, 0));
  EXPECT_EQ(output(), "out\n");
  EXPECT_EQ(output("stderr.log"), "err\n");
}

TEST_F(JobProcess, MainSeesOnlyItsThreeDescriptors) {
  start(spec_of({"ls", "-l", "/proc/self/fd"}));
  start_keeper_running();
  auto client = connect();
  (void)await_exit(client);
  EXPECT_THAT(output(), HasSubstr(" 0 -> /dev/null\n"));
  EXPECT_THAT(output(), HasSubstr(" 1 -> pipe:"));
  EXPECT_THAT(output(), HasSubstr(" 2 -> pipe:"));
  EXPECT_THAT(output(), HasSubstr(" 3 -> /proc/"));  // the folder that ls itself reads
  const std::string text = output();
  EXPECT_EQ(std::count(text.begin(), text.end(), '>'), 4);
}

TEST_F(JobProcess, LivesInNamespacesOfItsOwn) {
  (void)run_to_end("echo $$; hostname tern-inside; hostname");
  EXPECT_EQ(output(), "2\ntern-inside\n");
  EXPECT_EQ(read_file("/proc/sys/kernel/hostname").find("tern-inside"), std::string::npos);
}

TEST_F(JobProcess, IsFoundByItsGroup) {
  start("echo ready; exec sleep 1000");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  auto init = find_init(*cgroup_);
  ASSERT_TRUE(init.ok()) << init.error().detail;
  EXPECT_EQ(*init, job_->init);
  EXPECT_EQ(find_init(*keepers_).error().code, base::Code::kNotFound);
  EXPECT_EQ(cgroup_->processes()->size(), 2U);
}

// A PID 1 without handlers would ignore them; init takes them and main gets what it is sent.
TEST_F(JobProcess, SignalsToInitReachMain) {
  const std::pair<int, const char*> signals[] = {
      {SIGHUP, "HUP"},   {SIGINT, "INT"},   {SIGQUIT, "QUIT"},   {SIGTERM, "TERM"},
      {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGWINCH, "WINCH"}, {SIGCONT, "CONT"}};
  std::string traps;
  for (const auto& [number, name] : signals) {
    traps += std::string("trap 'echo ") + name + "' " + name + "; ";
  }
  start(traps + "echo ready; sleep 1000 & while :; do wait; done");
  start_keeper_running();
  auto client = connect();
  std::string expected = "ready\n";
  await_output(client, expected.size());
  for (const auto& [number, name] : signals) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(signal_process(job_->init, number).ok());
    expected += std::string(name) + "\n";
    await_output(client, expected.size());
  }
  EXPECT_EQ(output(), expected);
}

TEST_F(JobProcess, SignalsReachTheWholeGroupOfMain) {
  start("sleep 1000 | sleep 1000; echo unreachable");
  start_keeper_running();
  auto client = connect();
  ASSERT_TRUE(signal_process(job_->init, SIGINT).ok());
  EXPECT_EQ(WTERMSIG(await_exit(client).wait_status), SIGINT);
}

TEST_F(JobProcess, AUserIsNotRootAnyMoreAndNeverAgain) {
  JobSpec spec =
      spec_of({"/bin/sh", "-c", "id -u; id -g; id -G; umask; pwd; cat /proc/self/status"});
  spec.change_user = true;
  spec.uid = 12345;
  spec.gid = 23456;
  spec.groups = {23456, 34567};
  spec.mask = 027;
  start(spec);
  // Init too: a checkpoint of the job holds no root credentials.
  start_keeper_running();
  const std::string init_status = read_file("/proc/" + std::to_string(job_->init.pid) + "/status");
  auto client = connect();
  EXPECT_EQ(await_exit(client).wait_status, 0) << output("stderr.log");
  EXPECT_THAT(output(), HasSubstr("12345\n23456\n23456 34567\n0027\n" + dir_ + "\n"));
  EXPECT_EQ(line_of(output(), "NoNewPrivs:"), "NoNewPrivs:\t1");
  EXPECT_EQ(line_of(output(), "CapEff:"), "CapEff:\t0000000000000000");
  EXPECT_EQ(line_of(output(), "CapPrm:"), "CapPrm:\t0000000000000000");
  EXPECT_EQ(line_of(init_status, "SigBlk:").substr(0, 8), "SigBlk:\t");
}

TEST_F(JobProcess, InitOfAUserHoldsNoRootCredentials) {
  JobSpec spec = spec_of({"/bin/sh", "-c", "echo ready; exec sleep 1000"});
  spec.change_user = true;
  spec.uid = 12345;
  spec.gid = 23456;
  start(spec);
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  const std::string status = read_file("/proc/" + std::to_string(job_->init.pid) + "/status");
  EXPECT_EQ(line_of(status, "Uid:"), "Uid:\t12345\t12345\t12345\t12345");
  EXPECT_EQ(line_of(status, "Gid:"), "Gid:\t23456\t23456\t23456\t23456");
  EXPECT_EQ(line_of(status, "CapPrm:"), "CapPrm:\t0000000000000000");
  EXPECT_EQ(line_of(status, "NoNewPrivs:"), "NoNewPrivs:\t1");
  ASSERT_TRUE(signal_process(job_->init, SIGTERM).ok());
  EXPECT_EQ(WTERMSIG(await_exit(client).wait_status), SIGTERM);
}

// Nodes on one machine share the folder: whoever forgets the job first must not take it away.
TEST_F(JobProcess, InitsRootFolderStaysWhileItIsUsed) {
  start("exec sleep 1000");
  const std::string seen = "/proc/" + std::to_string(job_->init.pid) + "/root";
  const std::string inner = init_root_ + "/proc";
  wait_for_link(seen, init_root_);
  ASSERT_TRUE(show_proc(job_->init, init_root_).ok());
  EXPECT_EQ(std::filesystem::read_symlink(inner + "/1/root"), init_root_);
  EXPECT_TRUE(remove_init_root(init_root_).ok());
  EXPECT_TRUE(std::filesystem::exists(inner + "/1")) << "and so does what a dump needs";
  ASSERT_TRUE(make_init_root(dir_ + "/helpers/root-left").ok());
  remove_unused_init_roots(dir_ + "/helpers");
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/helpers/root-left")) << "somebody may be about to";
  std::filesystem::last_write_time(
      dir_ + "/helpers/root-left",
      std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  remove_unused_init_roots(dir_ + "/helpers");
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/helpers/root-left"));
  EXPECT_TRUE(std::filesystem::exists(inner + "/1")) << "used, so it stays";
  ASSERT_TRUE(hide_proc(init_root_).ok());
  EXPECT_FALSE(std::filesystem::exists(inner + "/1"));
  ASSERT_TRUE(show_proc(job_->init, init_root_).ok());  // left by a crash
  ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
  EXPECT_TRUE(remove_init_root(init_root_).ok());
  EXPECT_FALSE(std::filesystem::exists(init_root_));
  EXPECT_TRUE(remove_init_root(init_root_).ok()) << "again";
}

TEST_F(JobProcess, ContradictionsAreRefused) {
  EXPECT_EQ(start_job(spec_of({}), *cgroup_).error().code, base::Code::kInvalid);
  EXPECT_EQ(start_job(spec_of({std::string("a\0b", 3)}), *cgroup_).error().code,
            base::Code::kInvalid);
  JobSpec many = spec_of({"true"});
  many.groups.resize(init::kGroupsMax + 1);
  EXPECT_EQ(start_job(many, *cgroup_).error().code, base::Code::kInvalid);
  JobSpec lost = spec_of({"true"});
  lost.init_path = "/nonexistent/tern-init";
  EXPECT_EQ(start_job(lost, *cgroup_).error().code, base::Code::kNotFound);
  EXPECT_TRUE(cgroup_->processes()->empty());
}

// A shell's posix_spawn, over and over: half of the time it is inside vfork(2).
TEST_F(JobProcess, NobodyIsInsideVforkWhenFrozenForADump) {
  start("while :; do /bin/true; done");
  for (int round = 0; round < 50; ++round) {
    auto frozen = cgroup_->freeze_for_dump(kPatience);
    ASSERT_TRUE(frozen.ok()) << frozen.error().detail;
    const auto tasks = cgroup_->threads();
    ASSERT_TRUE(tasks.ok());
    for (const pid_t task : *tasks) {
      auto state = task_state(task);
      EXPECT_TRUE(!state || state->state != 'D');
    }
    ASSERT_TRUE(cgroup_->thaw(kPatience).ok());
  }
}

// A move brings them back stopped: by their own PIDs, since those outside change.
TEST_F(JobProcess, WhoWasStoppedBeforeTheFreezeIsKnownByItsOwnPid) {
  start("sleep 100 & kill -STOP $!; echo $!; wait");
  start_keeper_running();
  auto client = connect();
  await_output(client, 2);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;  // the stop takes a moment
  while (stopped_members(cgroup_->path()).empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  ASSERT_TRUE(cgroup_->freeze(kPatience).ok());
  EXPECT_EQ(stopped_members(cgroup_->path()), std::vector<std::int32_t>{std::stoi(output())});
  EXPECT_TRUE(stopped_members(cgroup_->path() + "-nowhere").empty());
  ASSERT_TRUE(cgroup_->thaw(kPatience).ok());
}

TEST_F(JobProcess, FreezeThawAndKillAreWaitedFor) {
  start("echo ready; while :; do :; done");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  ASSERT_TRUE(cgroup_->freeze(kPatience).ok());
  EXPECT_TRUE(cgroup_->events()->frozen);
  EXPECT_EQ(check_held(*cgroup_).error().code, base::Code::kRefused) << "frozen but not stopped";
  ASSERT_TRUE(cgroup_->thaw(kPatience).ok());
  EXPECT_FALSE(cgroup_->events()->frozen);
  EXPECT_FALSE(cgroup_->remove().ok()) << "somebody lives in it";
  ASSERT_TRUE(cgroup_->kill_all(kPatience).ok());
  EXPECT_FALSE(cgroup_->events()->populated);
  ASSERT_TRUE(wait_for_end(job_->process, kPatience).ok());
  EXPECT_EQ(find_init(*cgroup_).error().code, base::Code::kNotFound);
}

TEST_F(JobProcess, InitAndKeeperAreSmall) {
  start("echo ready; exec sleep 1000");
  start_keeper_running();
  auto client = connect();
  await_output(client, 6);
  for (const pid_t pid : {job_->init.pid, **find_keeper(job_dir_)}) {
    const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
    const long rss_kb = std::stol(line_of(status, "VmRSS:").substr(6));
    EXPECT_LT(rss_kb, 1024) << line_of(status, "VmRSS:");
    RecordProperty("rss_kb_" + std::to_string(pid), static_cast<int>(rss_kb));
  }
}

}  // namespace
}  // namespace machine
