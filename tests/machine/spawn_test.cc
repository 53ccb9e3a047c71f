#include "machine/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <thread>

namespace machine {
namespace {

constexpr Patience kPatience{20'000};

struct Ran {
  int status = -1;
  std::string output;
};

// By /bin/sh, its stdout on a pipe.
Ran run(const std::string& command, std::vector<PassedFd> more = {},
        std::optional<SpawnUser> user = std::nullopt) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  SpawnSpec spec;
  spec.program = "/bin/sh";
  spec.argv = {"sh", "-c", command};
  spec.env = {"PATH=/usr/bin:/bin", "GREETING=hello"};
  spec.user = user;
  spec.fds = std::move(more);
  spec.fds.push_back({write_end.get(), 1});
  auto child = spawn(spec);
  EXPECT_TRUE(child.ok());
  write_end.reset();
  Ran ran;
  char piece[4096];
  for (;;) {
    const ssize_t size = retry([&] { return ::read(read_end.get(), piece, sizeof piece); });
    if (size <= 0) break;
    ran.output.append(piece, static_cast<std::size_t>(size));
  }
  auto status = wait_for_end(*child, kPatience);
  EXPECT_TRUE(status.ok());
  if (status) ran.status = *status;
  return ran;
}

TEST(Spawn, PassesEnvironmentAndExitStatus) {
  const Ran ran = run("echo $GREETING $UNSET; exit 7");
  EXPECT_EQ(ran.output, "hello\n");
  EXPECT_EQ(WEXITSTATUS(ran.status), 7);
}

// What was given arrives in the program, and nothing else of root's.
TEST(Spawn, AnotherUserWithSomeCapabilities) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const SpawnUser user{12345, 23456, std::uint64_t{1} << CAP_KILL | std::uint64_t{1} << CAP_BPF};
  const Ran ran = run("id -u; id -g; id -G; grep ^Cap /proc/self/status | grep -v Bnd", {}, user);
  EXPECT_EQ(ran.output,
            "12345\n23456\n23456\n"
            "CapInh:\t0000008000000020\nCapPrm:\t0000008000000020\n"
            "CapEff:\t0000008000000020\nCapAmb:\t0000008000000020\n");
}

TEST(Spawn, CapabilitiesThatWeLackAreNoneToGive) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  SpawnSpec spec;
  spec.program = "/bin/true";
  spec.argv = {"true"};
  spec.user = SpawnUser{12345, 23456, std::uint64_t{1} << 62};
  EXPECT_FALSE(spawn(spec).ok());
}

TEST(Spawn, OnlyGivenDescriptorsArrive) {
  const Fd low(::open("/dev/null", O_RDONLY));  // without CLOEXEC, and at a number below 64
  ASSERT_TRUE(low.valid());
  const Ran ran = run("ls /proc/self/fd | tr '\\n' ' '", {{low.get(), 20}});
  EXPECT_EQ(ran.output, "0 1 2 20 3 ");  // 3 is the folder that ls itself reads
}

TEST(Spawn, DescriptorsMaySwapNumbers) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Fd a(ends[0]);
  Fd b(ends[1]);
  const std::vector<PassedFd> crossed{{a.get(), b.get()}, {b.get(), a.get()}};
  const Ran ran = run("readlink /proc/$$/fd/" + std::to_string(a.get()) +
                          " >/dev/null && echo x >&" + std::to_string(a.get()),
                      crossed);
  EXPECT_EQ(ran.status, 0);
  char piece[8];
  EXPECT_EQ(::read(a.get(), piece, sizeof piece), 2);
}

TEST(Spawn, SignalsArriveUnblockedAndUnignored) {
  ::signal(SIGPIPE, SIG_IGN);
  const Ran ran = run("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n'");
  ::signal(SIGPIPE, SIG_DFL);
  const std::string none = "\t0000000000000000";
  EXPECT_EQ(ran.output, "SigBlk:" + none + "SigIgn:" + none);
}

TEST(Spawn, FailuresAreToldByTheCall) {
  struct Row {
    const char* name;
    const char* program;
    const char* dir;
    base::Code code;
  };
  const Row rows[] = {
      {"no program", "/nonexistent/program", "/", base::Code::kNotFound},
      {"not executable", "/etc/passwd", "/", base::Code::kRefused},
      {"no folder", "/bin/true", "/nonexistent/folder", base::Code::kNotFound},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    SpawnSpec spec;
    spec.program = row.program;
    spec.argv = {"x"};
    spec.dir = row.dir;
    auto child = spawn(spec);
    ASSERT_FALSE(child.ok());
    EXPECT_EQ(child.error().code, row.code);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a zombie was left";
  }
}

TEST(Spawn, AProgramThatDoesNotEndIsATimeout) {
  SpawnSpec spec;
  spec.program = "/bin/sleep";
  spec.argv = {"sleep", "1000"};
  auto child = spawn(spec);
  ASSERT_TRUE(child.ok());
  auto ended = wait_for_end(*child, Patience(0));
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code, base::Code::kTimeout);
  ::kill(child->pid, SIGKILL);
  EXPECT_TRUE(wait_for_end(*child, kPatience).ok());
}

// Between clone and exec another thread's locks are held for ever; an allocation there would hang.
TEST(Spawn, ChildrenThatNobodyWaitsForAreReaped) {
  Children children;
  SpawnSpec spec;
  spec.program = "/bin/sh";
  spec.argv = {"sh", "-c", "exit 3"};
  auto ends = spawn(spec);
  ASSERT_TRUE(ends.ok());
  spec.argv = {"sh", "-c", "sleep 100"};
  auto stays = spawn(spec);
  ASSERT_TRUE(stays.ok());
  const pid_t ended = ends->pid;
  const pid_t staying = stays->pid;
  pollfd over{ends->pidfd.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&over, 1, static_cast<int>(kPatience.count())), 1);
  children.add(std::move(*ends));
  children.add(std::move(*stays));
  EXPECT_EQ(::kill(ended, 0), 0);  // a zombie
  children.reap();
  EXPECT_EQ(::kill(ended, 0), -1);
  EXPECT_EQ(children.size(), 1U);
  EXPECT_EQ(::kill(staying, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(::waitpid(staying, &status, 0), staying);
  children.reap();  // somebody else has waited
  EXPECT_EQ(children.size(), 0U);
}

TEST(Spawn, WorksWhileOtherThreadsAllocate) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&stop] {
      while (!stop) delete[] new char[4096];
    });
  }
  for (int i = 0; i < 100; ++i) {
    SpawnSpec spec;
    spec.program = "/bin/true";
    spec.argv = {"true"};
    auto child = spawn(spec);
    ASSERT_TRUE(child.ok());
    auto status = wait_for_end(*child, kPatience);
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(*status, 0);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace machine
