// Recorded trees for what this machine is not; the running machine for agreement with `uptime`,
// `nproc` and a live cgroup.
#include "machine/proc_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace machine {
namespace {

using base::Code;
namespace fs = std::filesystem;

class Tree {  // a machine in a folder
 public:
  Tree() {
    std::string pattern = (fs::temp_directory_path() / "tern-tree-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) root_ = pattern;
    put("/proc/loadavg", "1.60 0.14 0.08 1/94 25838\n");
    put("/proc/uptime", "1000.00 5.00\n");
    put("/proc/stat", "cpu 1\ncpu0 1\ncpu1 1\nbtime 1795000000\n");
    put("/proc/meminfo", "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 900 kB\n");
    put("/proc/self/cgroup", "3:memory:/m\n2:freezer:/\n1:cpu:/a/b\n0::/node\n");
    put("/proc/self/mountinfo",
        "1 2 0:3 / /cg/cpu rw - cgroup c rw,cpu\n1 2 0:3 / /cg/freezer rw - cgroup c rw,freezer\n"
        "1 2 0:3 / /cg/memory rw - cgroup c rw,memory\n1 2 0:3 / /cg/v2 rw - cgroup2 c rw\n");
  }
  ~Tree() { fs::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void typed_at(const std::string& path, std::int64_t seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root_ + path).c_str(), times, 0), 0);
  }
  void task(int id, char state) const {
    put("/proc/" + std::to_string(id) + "/stat",
        std::to_string(id) + " (x) " + state +
            " 1 1 1 0 -1 0 0 0 0 0 500 0 0 0 20 0 1 0 50000 1 25 1\n");
    put("/proc/" + std::to_string(id) + "/cgroup", "2:freezer:/f" + std::to_string(id) + "\n");
  }
  [[nodiscard]] ProcSource source(std::uint32_t affinity = 2) const {
    return ProcSource({root_, affinity});
  }

 private:
  std::string root_;
};

TEST(ProcSource, PowerIsThatOfAllSupplies) {
  const Tree tree;
  EXPECT_EQ(tree.source().power(probe::Power::kUnknown).state, probe::Power::kUnknown);
  tree.put("/sys/class/power_supply/AC/uevent", "POWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE=0\n");
  tree.put("/sys/class/power_supply/BAT0/uevent",
           "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_CAPACITY=7\n");
  tree.put("/sys/class/power_supply/odd/uevent", "");
  const probe::PowerSample seen = tree.source().power(probe::Power::kUnknown);
  EXPECT_EQ(seen.state, probe::Power::kBatteryLow);
  EXPECT_EQ(seen.percent, 7);
}

TEST(ProcSource, IdleIsSinceTheLastInputAtAnyTerminalOfAUser) {
  const Tree tree;
  EXPECT_EQ(tree.source().idle(1000), std::nullopt);
  std::string records;
  for (const char* line : {"pts/1", "pts/2", "pts/3"}) {
    utmp one{};
    one.ut_type = USER_PROCESS;
    std::strncpy(one.ut_line, line, sizeof one.ut_line);
    records.append(reinterpret_cast<const char*>(&one), sizeof one);
  }
  tree.put("/run/utmp", records);
  EXPECT_EQ(tree.source().idle(1000), std::nullopt) << "their terminals are gone";
  tree.put("/dev/pts/1", "");
  tree.put("/dev/pts/3", "");
  tree.typed_at("/dev/pts/1", 400);
  tree.typed_at("/dev/pts/3", 700);
  EXPECT_EQ(tree.source().idle(1000), std::chrono::seconds(300));
  EXPECT_EQ(tree.source().idle(600), base::Duration{}) << "the clock was set back";
}

TEST(ProcSource, LimitsOfEveryAncestorAndBothVersionsCount) {
  const Tree tree;
  EXPECT_EQ(tree.source().cpus()->usable_millis, 2000) << "no quota is nproc";
  tree.put("/cg/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  tree.put("/cg/cpu/a/b/cpu.cfs_period_us", "100000\n");
  tree.put("/cg/cpu/a/cpu.cfs_quota_us", "150000\n");
  tree.put("/cg/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(tree.source().cpus()->usable_millis, 1500);
  tree.put("/cg/v2/node/cpu.max", "50000 100000\n");
  EXPECT_EQ(tree.source().cpus()->usable_millis, 500);
  EXPECT_EQ(tree.source().cpus()->quotas.size(), 2U);
  tree.put("/cg/v2/node/cpu.max", "rubbish\n");
  EXPECT_EQ(tree.source().cpus().error().code, Code::kInvalid);
}

TEST(ProcSource, MemoryIsBoundedByTheCgroupButPercentagesAreOfTheMachine) {
  const Tree tree;
  tree.put("/cg/memory/m/memory.limit_in_bytes", "512000\n");
  tree.put("/cg/memory/m/memory.usage_in_bytes", "300000\n");
  tree.put("/cg/memory/m/memory.stat", "cache 5\ntotal_inactive_file 100000\n");
  tree.put("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const auto memory = tree.source().memory();
  ASSERT_TRUE(memory.ok()) << memory.error().detail;
  EXPECT_EQ(memory->machine_total_bytes, 1'024'000);
  EXPECT_EQ(memory->usable.total_bytes, 512'000);
  EXPECT_EQ(memory->usable.available_bytes, 312'000);
}

TEST(ProcSource, AutoMeansSystemExactlyWhereTheNodeHasTheWholeMachine) {
  const Tree tree;
  EXPECT_EQ(*tree.source(2).resolve(LoadSource::kAuto), LoadSource::kSystem);
  EXPECT_EQ(*tree.source(1).resolve(LoadSource::kAuto), LoadSource::kCgroup);
  EXPECT_EQ(*tree.source(1).resolve(LoadSource::kSystem), LoadSource::kSystem);
  EXPECT_EQ(*tree.source(2).resolve(LoadSource::kCgroup), LoadSource::kCgroup);
  tree.put("/cg/v2/node/cpu.max", "50000 100000\n");
  EXPECT_EQ(*tree.source(2).resolve(LoadSource::kAuto), LoadSource::kCgroup);
  tree.put("/proc/self/mountinfo", "1 2 0:3 / /cg/cpu rw - cgroup c rw,cpu\n");
  EXPECT_EQ(*tree.source(1).resolve(LoadSource::kAuto), LoadSource::kSystem) << "nowhere to count";
  EXPECT_EQ(tree.source().own_cgroup().error().code, Code::kUnsupported);
}

TEST(ProcSource, CountsRunningAndUninterruptibleTasksButNoFrozenOnes) {
  const Tree tree;
  for (const auto& [id, state] : {std::pair{11, 'R'},
                                  {12, 'S'},
                                  {13, 'D'},
                                  {14, 'D'},
                                  {15, 'R'},
                                  {16, 'T'},
                                  {17, 'Z'},
                                  {18, 'R'}}) {
    tree.task(id, state);
  }
  tree.put("/cg/freezer/f14/freezer.state", "FROZEN\n");
  tree.put("/cg/freezer/f13/freezer.state", "THAWED\n");
  tree.put("/cg/v2/node/cgroup.events", "populated 1\nfrozen 0\n");
  tree.put("/cg/v2/node/cgroup.threads", "11\n12\n99\n");
  tree.put("/cg/v2/node/job/cgroup.threads", "13\n14\n16\n17\n");
  tree.put("/cg/v2/node/held/cgroup.events", "populated 1\nfrozen 1\n");
  tree.put("/cg/v2/node/held/cgroup.threads", "15\n");
  tree.put("/cg/v2/node/held/deeper/cgroup.threads", "18\n");
  const ProcSource source = tree.source();
  ASSERT_EQ(*source.own_cgroup(), "/cg/v2/node");
  const auto runnable = source.runnable_below("/cg/v2/node");
  ASSERT_TRUE(runnable.ok()) << runnable.error().detail;
  EXPECT_EQ(*runnable, 2U) << "11 runs, 13 waits; 14, 15 and 18 are frozen; 99 has ended";
  EXPECT_EQ(source.runnable_below("/cg/v2/gone").error().code, Code::kNotFound);
  tree.put("/cg/v2/node/job/cgroup.threads", "rubbish\n");
  EXPECT_EQ(source.runnable_below("/cg/v2/node").error().code, Code::kInvalid);
}

TEST(ProcSource, ProcessTableIsOrderedAndLeavesOutWhatIsNoProcess) {
  const Tree tree;
  tree.task(300, 'S');
  tree.task(20, 'R');
  tree.put("/proc/21/stat", "damaged");
  tree.put("/proc/22x/stat", "");
  tree.put("/proc/23/comm", "no stat");
  const auto table = tree.source().processes();
  ASSERT_TRUE(table.ok());
  ASSERT_EQ(table->processes.size(), 2U);
  EXPECT_EQ(table->processes[0].pid, 20);
  EXPECT_EQ(table->processes[1].pid, 300);
  EXPECT_EQ(table->since_boot, std::chrono::seconds(1000));
  EXPECT_FALSE(table->cut_short);
}

TEST(ProcSource, OneProcessInFull) {
  const Tree tree;
  tree.task(20, 'R');
  EXPECT_EQ(tree.source().process(20)->command, "[x]");
  tree.put("/proc/20/statm", "100 50 1\n");
  tree.put("/proc/20/cmdline", std::string("python3\0x.py\0", 13));
  const auto process = tree.source().process(20);
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(process->rss_bytes, 50 * ::sysconf(_SC_PAGESIZE));
  EXPECT_EQ(process->command, "python3 x.py");
  EXPECT_EQ(tree.source().process(21).error().code, Code::kNotFound);
  tree.put("/cg/v2/node/cgroup.procs", "20\n");
  tree.put("/cg/v2/node/job/cgroup.procs", "20\n77\n");
  const auto below = tree.source().processes_below("/cg/v2/node");
  ASSERT_TRUE(below.ok());
  EXPECT_EQ(below->size(), 1U);
}

TEST(LoadSourceNames, RoundTrip) {
  for (const char* name : {"auto", "system", "cgroup"}) {
    EXPECT_STREQ(load_source_name(*parse_load_source(name)), name);
  }
  EXPECT_EQ(parse_load_source("Auto").error().code, Code::kInvalid);
}

TEST(ThisMachine, FindsItselfAmongTheProcesses) {
  const ProcSource source;
  const auto table = source.processes();
  ASSERT_TRUE(table.ok()) << table.error().detail;
  const auto me = std::find_if(table->processes.begin(), table->processes.end(),
                               [](const auto& p) { return p.pid == ::getpid(); });
  ASSERT_NE(me, table->processes.end());
  EXPECT_EQ(me->ppid, ::getppid());
  EXPECT_LE(me->started, table->since_boot + std::chrono::seconds(1));
  const auto full = source.process(::getpid());
  ASSERT_TRUE(full.ok());
  EXPECT_NE(full->command.find("machine_test"), std::string::npos);
  EXPECT_EQ(full->start_ticks, me->start_ticks);
  EXPECT_GT(full->rss_bytes, 0);
  const auto memory = source.memory();
  ASSERT_TRUE(memory.ok()) << memory.error().detail;
  EXPECT_GT(memory->usable.available_bytes, 0);
  EXPECT_LE(memory->usable.total_bytes, memory->machine_total_bytes);
}

// Children that spin and one that waits, in a cgroup of their own; needs leave to make one.
class LiveCgroup : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto own = source_.own_cgroup();
    if (own) folder_ = *own + "/tern-proc-source-test-" + std::to_string(::getpid());
    if (own && ::mkdir(folder_.c_str(), 0755) == 0) return;
    folder_.clear();
    ASSERT_EQ(std::getenv("CI"), nullptr) << "needs root and a writable cgroup v2 hierarchy";
    GTEST_SKIP() << "needs root and a writable cgroup v2 hierarchy";
  }
  void TearDown() override {
    if (folder_.empty()) return;
    write("cgroup.freeze", "0");
    for (const pid_t child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    ::rmdir(folder_.c_str());
  }
  void write(const char* file, const std::string& text) const {
    std::ofstream out(folder_ + "/" + file);
    out << text << std::flush;
    ASSERT_TRUE(out.good()) << file;
  }
  void start(bool spins) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      volatile unsigned turns = 0;
      while (spins) turns = turns + 1;
      for (;;) ::pause();
    }
    children_.push_back(child);
    write("cgroup.procs", std::to_string(child));
  }
  // The count settles once the children have got going, or stand still.
  [[nodiscard]] std::uint32_t settled(std::uint32_t wanted) const {
    std::uint32_t seen = UINT32_MAX;
    for (int i = 0; i < 20'000 && seen != wanted; ++i) {
      const auto now = source_.runnable_below(folder_);
      if (now) seen = *now;
    }
    return seen;
  }
  ProcSource source_;
  std::string folder_;
  std::vector<pid_t> children_;
};

TEST_F(LiveCgroup, CountsSpinnersAndForgetsThemWhenFrozen) {
  start(true);
  start(true);
  start(false);
  EXPECT_EQ(settled(2), 2U);
  const auto processes = source_.processes_below(folder_);
  ASSERT_TRUE(processes.ok());
  EXPECT_EQ(processes->size(), 3U);
  write("cgroup.freeze", "1");
  EXPECT_EQ(settled(0), 0U);
  write("cgroup.freeze", "0");
  EXPECT_EQ(settled(2), 2U);
}

TEST_F(LiveCgroup, TheCallerDoesNotCountItself) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::ofstream(folder_ + "/cgroup.procs") << ::getpid() << std::flush;
    const auto seen = ProcSource().runnable_below(folder_);
    ::_exit(seen ? static_cast<int>(*seen) : 99);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace machine
