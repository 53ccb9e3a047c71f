// A job of a script in a control group and namespaces of its own, for preflights: root needed.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "machine/preflight.h"
#include "machine/spawn.h"

namespace machine {

namespace fs = std::filesystem;
inline constexpr Patience kLong = std::chrono::seconds(20);
inline constexpr const char* kPython =
    "coproc \"$(python3 -c 'import sys; print(sys.executable)')\" -c '\nimport socket, time, os\n";

class PreflightTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why = ::geteuid() == 0 ? "" : "this test needs root";
    auto own = own_cgroup();
    if (!own) why = own.error().detail;
    if (!why.empty()) {
      const char* ci = std::getenv("CI");
      if (ci != nullptr && std::string(ci) == "true") FAIL() << why;
      GTEST_SKIP() << why;
    }
    char pattern[] = "/tmp/tern-preflight-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    dir_ = pattern;
    fs::permissions(dir_, fs::perms(0755));
    group_ = *own + "/tern-preflight-" + std::to_string(::getpid());
  }
  void TearDown() override {
    end_job();
    if (!dir_.empty()) fs::remove_all(dir_);
  }
  // A group that was killed is no place to be born in again: Linux 6.18 kills what is cloned there.
  void end_job() {
    if (!job_) return;
    ASSERT_TRUE(job_->kill_all(kLong).ok());
    if (child_.pidfd.valid()) {
      ASSERT_TRUE(wait_for_end(child_, kLong).ok());
    }
    child_ = {};
    ASSERT_TRUE(job_->remove().ok());
    job_.reset();
  }
  // Runs a script that says "ready" on descriptor 9 once it has what it wants, then waits.
  void start(const std::string& script) {
    auto made = Cgroup::create(group_);
    ASSERT_TRUE(made.ok());
    job_.emplace(std::move(*made));
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const Fd from(ends[0]);
    Fd to(ends[1]);
    SpawnSpec spec;
    spec.program = "/usr/bin/setsid";
    spec.argv = {"setsid", "bash", "-c",
                 script + "\nprintf r >&9\nexec 9>&-\nwhile :; do read -r -t 1000 <&8; done"};
    int block[2];
    ASSERT_EQ(::pipe2(block, O_CLOEXEC), 0);
    const Fd block_from(block[0]);
    const Fd block_to(block[1]);
    spec.env = {"PATH=" + std::string(std::getenv("PATH")), "HOME=/root"};
    spec.fds = {{to.get(), 9}, {block_from.get(), 8}, {block_to.get(), 7}};
    spec.dir = dir_;
    spec.cgroup = &*job_;
    spec.namespaces = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    auto child = spawn(spec);
    ASSERT_TRUE(child.ok()) << child.error().detail;
    child_ = std::move(*child);
    to.reset();
    pollfd one{from.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&one, 1, static_cast<int>(kLong.count())), 1);
    char byte = 0;
    ASSERT_EQ(::read(from.get(), &byte, 1), 1) << "the script failed";
  }
  Preflight inspect(const std::string& init_root = "", bool tcp_close = false) {
    InspectOptions options;
    options.criu_version = "4.2.1";
    options.ghost_limit_bytes = 1 << 20;
    options.init_root = init_root;
    options.tcp_close = tcp_close;
    options.dir = named_;
    auto result = inspect_job(*job_, options, hashes_);
    EXPECT_TRUE(result.ok());
    return result ? *result : Preflight{};
  }
  std::string dir_;
  std::string group_;
  std::optional<Cgroup> job_;
  Spawned child_;
  FileHashes hashes_;
  std::string named_;  // with --dir
};

}  // namespace machine
