// Which means of throttling a machine has, by recorded trees; and version 2's file. Quotas of
// version 1 and nice values are tried on real jobs in tests/e2e/test_throttle.py, and here where
// this is root.
#include "machine/cpu_limit.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace machine {
namespace {

namespace fs = std::filesystem;

class Tree : public testing::Test {
 protected:
  Tree() : root_(fs::temp_directory_path() / ("tern-limit-" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~Tree() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  [[nodiscard]] std::string read(const std::string& path) const {
    std::ifstream in(root_ / path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // A machine with version 2 alone, as of now: the daemon's own group, and in it the node's.
  void only_v2(const std::string& controllers, const std::string& offered) {
    write("proc/self/mountinfo", "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    write("proc/self/cgroup", "0::/own\n");
    write("cg/own/cgroup.controllers", controllers);
    write("cg/own/cgroup.subtree_control", offered);
    write("cg/own/tern-x/cgroup.controllers", offered);
    write("cg/own/tern-x/cgroup.subtree_control", "");
  }
  // The cpu controller in version 1, beside version 2 without one.
  void mixed() {
    write("proc/self/mountinfo",
          "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n31 1 0:27 / /cpu rw - cgroup cgroup rw,cpu\n");
    write("proc/self/cgroup", "1:cpu:/own\n0::/own\n");
    write("cg/own/cgroup.controllers", "memory\n");
    write("cpu/own/cpu.cfs_period_us", "100000\n");
  }
  [[nodiscard]] LimitTools find(bool may_renice = true) const {
    return find_limit_tools((root_ / "cg/own/tern-x").string(), "x", root_.string(), may_renice);
  }
  fs::path root_;
};

TEST_F(Tree, Version2IsUsedWhereItIsOffered) {
  only_v2("cpuset cpu io memory\n", "cpu memory\n");
  EXPECT_EQ(find().means, LimitMeans::kCpuMax);
  EXPECT_EQ(read("cg/own/tern-x/cgroup.subtree_control"), "+cpu");
}

TEST_F(Tree, AskedForVersion2MayRefuse) {
  only_v2("cpuset cpu io memory\n", "memory\n");
  fs::remove(root_ / "cg/own/cgroup.subtree_control");  // EBUSY in truth
  EXPECT_EQ(find().means, LimitMeans::kNice);
  EXPECT_NE(find().why.find("not offered"), std::string::npos);
}

TEST_F(Tree, ElseAGroupOfVersion1) {
  mixed();
  const LimitTools tools = find();
  EXPECT_EQ(tools.means, LimitMeans::kQuota);
  EXPECT_EQ(tools.quota_home, (root_ / "cpu/own").string());
  EXPECT_EQ(tools.quota_root, (root_ / "cpu/own/tern-x").string());
}

TEST_F(Tree, ElseNiceAndForOthersThanRootNothing) {
  only_v2("memory\n", "memory\n");
  EXPECT_EQ(find().means, LimitMeans::kNice);
  const LimitTools none = find(/*may_renice=*/false);
  EXPECT_EQ(none.means, LimitMeans::kNone);
  EXPECT_FALSE(none.why.empty());
}

TEST_F(Tree, CpuMaxIsWrittenAndLifted) {
  only_v2("cpu\n", "cpu\n");
  write("cg/own/tern-x/job-1-e1/cgroup.procs", "");
  write("cg/own/tern-x/job-1-e1/cpu.max", "max 100000\n");
  const LimitTools tools = find();
  auto job = Cgroup::open((root_ / "cg/own/tern-x/job-1-e1").string());
  ASSERT_TRUE(job.ok());
  const std::string file = "cg/own/tern-x/job-1-e1/cpu.max";
  const auto limit = [&](std::int64_t micros) {
    write(file, "");
    EXPECT_TRUE(limit_cpu(tools, *job, root_.string(), micros).ok());
    return read(file);
  };
  EXPECT_EQ(limit(500'000), "50000 100000");
  EXPECT_EQ(limit(2'500'000), "250000 100000");
  EXPECT_EQ(limit(1), "1000 100000") << "the kernel's least";
  EXPECT_EQ(limit(0), "max 100000");
  write(file, "");
  EXPECT_TRUE(suspend_limit(tools, *job, root_.string()).ok());
  EXPECT_EQ(read(file), "max 100000");
}

// A process of ours, in a folder that looks like its job's group.
class Process : public Tree {
 protected:
  Process() : pid_(::fork()) {
    if (pid_ == 0) {
      for (;;) ::pause();
    }
    write("job/cgroup.threads", std::to_string(pid_) + "\n");
    write("job/cgroup.procs", std::to_string(pid_) + "\n");
  }
  ~Process() override {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] int nice() const { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(pid_)); }
  pid_t pid_;
};

TEST_F(Process, NiceGoesDownAndBackAlsoAfterARestart) {
  if (!may_renice()) GTEST_SKIP() << "it takes root to set a nice value back";
  LimitTools tools;
  tools.means = LimitMeans::kNice;
  auto job = Cgroup::open((root_ / "job").string());
  ASSERT_TRUE(job.ok());
  const std::string dir = root_.string();
  const int before = nice();
  ASSERT_TRUE(limit_cpu(tools, *job, dir, 500'000).ok());
  EXPECT_EQ(nice(), before + 10);
  ASSERT_TRUE(limit_cpu(tools, *job, dir, 250'000).ok());
  EXPECT_EQ(nice(), before + 10) << "once is enough";
  ASSERT_TRUE(suspend_limit(tools, *job, dir).ok());
  EXPECT_EQ(nice(), before) << "nothing of it travels";
  ASSERT_TRUE(limit_cpu(tools, *job, dir, 250'000).ok());
  tools.means = LimitMeans::kNone;  // the next daemon has other means
  ASSERT_TRUE(limit_cpu(tools, *job, dir, 0).ok());
  EXPECT_EQ(nice(), before);
  EXPECT_FALSE(fs::exists(root_ / "nice"));
}

TEST_F(Process, WhoYieldsAlreadyIsLeftAlone) {
  if (!may_renice()) GTEST_SKIP() << "it takes root to set a nice value back";
  LimitTools tools;
  tools.means = LimitMeans::kNice;
  auto job = Cgroup::open((root_ / "job").string());
  ASSERT_TRUE(job.ok());
  ASSERT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(pid_), 19), 0);
  ASSERT_TRUE(limit_cpu(tools, *job, root_.string(), 500'000).ok());
  EXPECT_EQ(nice(), 19);
  ASSERT_TRUE(limit_cpu(tools, *job, root_.string(), 0).ok());
  EXPECT_EQ(nice(), 19);
}

TEST_F(Process, ADamagedFileOfNiceValuesSetsNothing) {
  LimitTools tools;
  auto job = Cgroup::open((root_ / "job").string());
  ASSERT_TRUE(job.ok());
  const int before = nice();
  for (const char* text : {"x", "-99 99\n", "0 19\n", "0", "99999999999999 1"}) {
    SCOPED_TRACE(text);
    write("nice", text);
    EXPECT_TRUE(limit_cpu(tools, *job, root_.string(), 0).ok());
    EXPECT_EQ(nice(), before);
  }
}

}  // namespace
}  // namespace machine
