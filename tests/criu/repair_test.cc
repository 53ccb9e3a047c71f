// What the guard puts right, one thing after another, with meddler.cc in CRIU's place. Rules:
// src/init/job_record.h, src/init/guard_main.cc.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>

#include "criu/leftovers.h"
#include "criu/run.h"
#include "init/contract.h"
#include "init/tracee.h"
#include "stuck_fs.h"
#include "world.h"

namespace criu_test {
namespace {

constexpr const char* kThreads = "exec " TERN_BINARY_DIR "/tests/criu/guarded_job";

constexpr base::Duration kShort = std::chrono::milliseconds(300);

class Repair : public World {
 protected:
  // Has the meddler work on process `pid` of the frozen job: the guard's note.
  std::string meddle(const std::string& job, int pid, const std::string& end) {
    return run(job, TERN_BINARY_DIR "/tests/criu/meddler", {std::to_string(pid), path_of(job), end},
               [](criu::Run&) {});
  }
  // Any program in CRIU's place; `meanwhile` is called once the guard runs.
  std::string run(const std::string& job, const std::string& program,
                  std::vector<std::string> arguments,
                  const std::function<void(criu::Run&)>& meanwhile);
  base::Duration patience_ = criu::kGuardPatience;
};

std::string Repair::run(const std::string& job, const std::string& program,
                        std::vector<std::string> arguments,
                        const std::function<void(criu::Run&)>& meanwhile) {
  auto dir = criu::WorkDir::create(owner_);
  EXPECT_TRUE(dir.ok());
  const criu::DumpSpec dump = dump_spec(job);
  criu::RunSpec spec;
  spec.program = program;
  spec.arguments = std::move(arguments);
  spec.cgroup = dump.run_cgroup;
  spec.guard = criu::RunGuard{dump.guard, dump.gentle, dump.job_cgroup, patience_};
  bool over = false;
  std::string note;
  auto started = criu::Run::start(&loop_, std::move(spec), std::move(*dir),
                                  [&](const criu::RunResult& result, const criu::WorkDir&) {
                                    over = true;
                                    note = result.guard_note;
                                    EXPECT_THAT(result.error.detail,
                                                testing::Not(testing::HasSubstr("status 3")));
                                  });
  EXPECT_TRUE(started.ok()) << started.error().detail;
  meanwhile(**started);
  turn_until([&] { return over; });
  return note;
}

TEST_F(Repair, WhatMayNotBeReadStaysSoAndTheUmaskToo) {
  start_job("job-p-e1", kThreads);
  wait_beyond(3);
  freeze("job-p-e1");
  EXPECT_EQ(meddle("job-p-e1", init_of("job-p-e1"), "killed"), "repaired: everything\n");
  goes_on("job-p-e1");
}

TEST_F(Repair, ACriuThatFailsByItselfLeavesNothingEither) {
  start_job("job-f-e1", kThreads);
  wait_beyond(3);
  freeze("job-f-e1");
  EXPECT_EQ(meddle("job-f-e1", init_of("job-f-e1"), "failed"), "repaired: everything\n");
  goes_on("job-f-e1");
}

// What was recorded is old then.
TEST_F(Repair, AJobThatRanIsLeftAsItIs) {
  start_job("job-r-e1", kThreads);
  wait_beyond(3);
  freeze("job-r-e1");
  EXPECT_EQ(meddle("job-r-e1", init_of("job-r-e1"), "ran"),
            "damaged: it ran before CRIU had ended\n");
  goes_on("job-r-e1");
}

TEST_F(Repair, ProcessesThatDieWhileItIsRecordedDoNotUnguardIt) {
  const auto sleepers = std::string("for i in {1..40}; do sleep 1000 & done; ");
  for (int round = 1; round <= 5; ++round) {
    const std::string job = "job-k" + std::to_string(round) + "-e1";
    start_job(job, sleepers + "echo 1 >up; mv up count; " + kThreads);
    wait_beyond(0);
    freeze(job);
    const int init = init_of(job);
    auto pids = machine::Cgroup::open(path_of(job))->processes();
    ASSERT_TRUE(pids.ok());
    EXPECT_EQ(run(job, "/bin/true", {},
                  [&](criu::Run&) {
                    for (const int pid : *pids) {
                      if (pid != init) ::kill(pid, SIGKILL);
                    }
                  }),
              "");
    goes_on(job);
    ASSERT_TRUE(discard(job).ok());
    ASSERT_EQ(::unlink(file("count").c_str()), 0);
  }
}

TEST_F(Repair, CgroupsBelowTheJobsBelongToIt) {
  start_job("job-b-e1", kThreads);
  wait_beyond(3);
  auto below = machine::Cgroup::create(path_of("job-b-e1") + "/below");
  ASSERT_TRUE(below.ok());
  const int init = init_of("job-b-e1");
  ASSERT_TRUE(below->add(init).ok());
  freeze("job-b-e1");
  EXPECT_EQ(meddle("job-b-e1", init, "killed"), "repaired: everything\n");
  goes_on("job-b-e1");
}

// It keeps a descriptor for each; CRIU has the limit that it would have without a guard.
TEST_F(Repair, ManyProcessesAreRecordedWithFewDescriptorsToHave) {
  constexpr rlim_t kFew = 100;
  start_job("job-m-e1", "for i in {1..120}; do sleep 1000 & done; " + std::string(kThreads));
  wait_beyond(3);
  freeze("job-m-e1");
  rlimit ours{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &ours), 0);
  const rlimit few{kFew, ours.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const std::string shown = file("limit");
  EXPECT_EQ(run("job-m-e1", "/bin/sh", {"-c", "ulimit -Sn >" + shown}, [](criu::Run&) {}), "");
  EXPECT_EQ(meddle("job-m-e1", init_of("job-m-e1"), "killed"), "repaired: everything\n");
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &ours), 0);
  EXPECT_EQ(count("limit"), static_cast<long>(kFew));
  goes_on("job-m-e1");
}

// The calls that put it right are not among those that it may make.
TEST_F(Repair, AJobUnderSeccompSurvivesIt) {
  start_job("job-s-e1", kThreads + std::string(" strict"));
  wait_beyond(3);
  freeze("job-s-e1");
  EXPECT_EQ(meddle("job-s-e1", init_of("job-s-e1"), "killed"), "repaired: everything\n");
  goes_on("job-s-e1");
}

// This one waits for a job that is not frozen.
TEST_F(Repair, AGuardThatHasNotRecordedYetDiesWithItsCriu) {
  start_job("job-w-e1", kThreads);
  wait_beyond(3);
  EXPECT_EQ(run("job-w-e1", "/bin/true", {}, [](criu::Run& run) { run.kill(); }), "");
  goes_on("job-w-e1");
}

// Counts, with a page of code mapped that was never read: at an address, 0 for anywhere.
std::string with_code_of_a_dead_server(const std::string& address) {
  return "exec \"$(python3 -c 'import sys; print(sys.executable)')\" -c '\n"
         "import ctypes, os, time\n"
         "map = ctypes.CDLL(None).mmap\n"
         "map.restype = ctypes.c_long\n"
         "map.argtypes = [ctypes.c_long] * 6\n"
         "READ_EXEC, PRIVATE = 5, 2\n"
         "assert map(" +
         address +
         ", 4096, READ_EXEC, PRIVATE, os.open(\"stuck/file\", os.O_RDONLY), 0) > 0\n"
         "n = 0\n"
         "while True:\n"
         "  n += 1\n"
         "  open(\"next\", \"w\").write(str(n))\n"
         "  os.rename(\"next\", \"count\")\n"
         "  time.sleep(0.002)\n'";
}

TEST_F(Repair, CodeOfADeadServerThatCriuDoesNotNeedIsNotRead) {
  const StuckFs fs(file("stuck"));
  if (!fs.valid()) GTEST_SKIP() << "no FUSE: " << std::strerror(errno);
  start_job("job-u-e1", with_code_of_a_dead_server("0"));
  wait_beyond(3);
  freeze("job-u-e1");
  EXPECT_EQ(run("job-u-e1", "/bin/true", {}, [](criu::Run&) {}), "");
  goes_on("job-u-e1");
  ASSERT_TRUE(discard("job-u-e1").ok());
}

// Where CRIU would begin it has to read, and no signal ends that. It holds nothing of the job.
TEST_F(Repair, AGuardThatWaitsForADeadServerIsLeftBehindAndTheJobGoesOn) {
  std::optional<StuckFs> fs(file("stuck"));
  if (!fs->valid()) GTEST_SKIP() << "no FUSE: " << std::strerror(errno);
  start_job("job-x-e1", with_code_of_a_dead_server("0x100000"));
  wait_beyond(3);
  freeze("job-x-e1");
  patience_ = kShort;
  EXPECT_EQ(run("job-x-e1", "/bin/true", {},
                [&](criu::Run& run) {
                  EXPECT_TRUE(fs->await_read());
                  run.kill();
                }),
            "");
  goes_on("job-x-e1");
  ASSERT_TRUE(discard("job-x-e1").ok());
  fs.reset();
  EXPECT_EQ(criu::kill_leftovers(root_, {})->remaining, std::vector<std::string>{});
}

// What hinders it is not the job's: a process that came later, and waits for a dead server.
TEST_F(Repair, AJobThatDoesNotFreezeIsPutBackNevertheless) {
  const StuckFs fs(file("stuck"));
  if (!fs.valid()) GTEST_SKIP() << "no FUSE: " << std::strerror(errno);
  start_job("job-y-e1", kThreads);
  wait_beyond(3);
  freeze("job-y-e1");
  start_job("job-z-e1", "exec cat stuck/file");
  ASSERT_TRUE(fs.await_read());
  const int stuck = init_of("job-z-e1");
  const std::vector<std::string> words{std::to_string(init_of("job-y-e1")), path_of("job-y-e1"),
                                       file("meddled")};
  EXPECT_EQ(run("job-y-e1", TERN_BINARY_DIR "/tests/criu/meddler", words,
                [&](criu::Run& run) {
                  wait_beyond(0, "meddled");
                  ASSERT_TRUE(machine::Cgroup::open(path_of("job-y-e1"))->add(stuck).ok());
                  run.kill();
                }),
            "damaged: the job does not freeze: Connection timed out\n");
  goes_on("job-y-e1");
}

TEST_F(Repair, AGuardThatDoesNotEndIsKilledAndThatIsTold) {
  start_job("job-e-e1", kThreads);
  wait_beyond(3);
  freeze("job-e-e1");
  patience_ = kShort;
  const std::vector<std::string> words{std::to_string(init_of("job-e-e1")), path_of("job-e-e1"),
                                       file("meddled")};
  EXPECT_EQ(run("job-e-e1", TERN_BINARY_DIR "/tests/criu/meddler", words,
                [&](criu::Run& run) {
                  wait_beyond(0, "meddled");
                  freeze("guard-criu-" + std::to_string(runs_));
                  run.kill();
                }),
            "damaged: it did not end in time\n");
  ASSERT_TRUE(discard("job-e-e1").ok());
}

TEST_F(Repair, ALeftGuardThatDoesNotEndIsKilled) {
  start_job("guard-criu-9", "sleep 1000");
  auto left = criu::kill_leftovers(root_, {}, {kLong, base::Duration::zero()});
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->remaining, std::vector<std::string>{});
  EXPECT_EQ(left->killed, std::vector<std::string>{"guard-criu-9"});
  EXPECT_FALSE(exists("guard-criu-9"));
}

// Where /proc/PID/mem gives nothing that is not to be read, and takes nothing.
TEST(Tracee, CodeIsReadAndWrittenByPtraceToo) {
  void* const page =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  std::strcpy(static_cast<char*>(page), "as it was before");
  ASSERT_EQ(::mprotect(page, 4096, PROT_EXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  while (child == 0) ::pause();
  const auto at = reinterpret_cast<std::uintptr_t>(page);
  char text[24] = {};
  if (!init::stop_thread(child)) {
    EXPECT_EQ(errno, EPERM);
  } else {
    EXPECT_TRUE(init::peek(child, at, text, sizeof text));
    EXPECT_STREQ(text, "as it was before");
    EXPECT_TRUE(init::poke(child, at + 8, "otherwise 12345", 16));
    EXPECT_TRUE(init::peek(child, at, text, sizeof text));
    EXPECT_STREQ(text, "as it waotherwise 12345");
    EXPECT_FALSE(init::peek(child, 8, text, sizeof text));
    EXPECT_FALSE(init::poke(child, 8, text, sizeof text));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, __WALL);
  ::munmap(page, 4096);
}

}  // namespace
}  // namespace criu_test
