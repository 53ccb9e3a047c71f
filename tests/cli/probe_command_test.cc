// `tern probe` against `uptime`, `nproc` and `ps` of the same machine, and on a recorded one.
#include "cli/probe_command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string output_of(const std::string& command) {
  FILE* const pipe = ::popen(("LC_ALL=C " + command).c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  char chunk[512];
  while (std::fgets(chunk, sizeof(chunk), pipe) != nullptr) text += chunk;
  ::pclose(pipe);
  return text;
}

json probe_json(const ProbeOptions& options, const machine::ProcSource& source) {
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(run_probe_command(options, source, out, err), 0) << err.str();
  return json::parse(out.str());
}

ProbeOptions json_options(machine::LoadSource source) {
  ProbeOptions options;
  options.json = true;
  options.load_source = source;
  return options;
}

double uptime_load1() {
  const std::string text = output_of("uptime");
  const std::string label = "load average: ";
  return std::atof(text.c_str() + text.find(label) + label.size());
}

// The load may be computed anew between two readings: a reading counts only if `uptime` said the
// same before and after it, and then the figures must be the same but for nothing.
TEST(ProbeCommand, LoadIsWhatUptimePrints) {
  for (int i = 0; i < 50; ++i) {
    const double before = uptime_load1();
    const json probe =
        probe_json(json_options(machine::LoadSource::kSystem), machine::ProcSource());
    if (uptime_load1() != before) continue;
    EXPECT_NEAR(probe["load1"].get<double>(), before, 1e-9);
    EXPECT_NEAR(probe["ratio"].get<double>(), before / probe["cpus"].get<double>(), 1e-6);
    return;
  }
  FAIL() << "uptime never said the same twice";
}

TEST(ProbeCommand, CpusAreWhatNprocPrintsWhereNoQuotaIsSet) {
  const auto view = machine::ProcSource().cpus();
  ASSERT_TRUE(view.ok()) << view.error().detail;
  const int nproc =
      std::atoi(output_of("env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc").c_str());
  EXPECT_EQ(static_cast<int>(view->affinity_cpus), nproc);
  if (!view->quotas.empty()) GTEST_SKIP() << "this machine sets a quota";
  const json probe = probe_json(json_options(machine::LoadSource::kSystem), machine::ProcSource());
  EXPECT_EQ(probe["cpus"].get<double>(), nproc);
}

class Spinner {  // a busy child, gone with its owner
 public:
  Spinner() : pid_(::fork()) {
    if (pid_ != 0) return;
    volatile unsigned turns = 0;
    for (;;) turns = turns + 1;
  }
  ~Spinner() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Spinner(const Spinner&) = delete;
  Spinner& operator=(const Spinner&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// Tolerances: the two `ps` calls around the probe bound it; one count of the last printed digit
// (0.1 %; 1 s) on either side, and for cpu% what a second of age makes of so young a process.
TEST(ProbeCommand, ProcessFiguresAreWhatPsPrints) {
  const Spinner spinner;
  ASSERT_GT(spinner.pid(), 0);
  const std::string ps = "ps -o pcpu=,pmem=,etimes= -p " + std::to_string(spinner.pid());
  struct Figures {
    double cpu = 0, memory = 0, seconds = 0;
  };
  const auto figures_of_ps = [&] {
    Figures figures;
    std::istringstream(output_of(ps)) >> figures.cpu >> figures.memory >> figures.seconds;
    return figures;
  };
  Figures before = figures_of_ps();
  // Until it is old enough that ps's whole seconds do not dominate cpu%.
  for (int i = 0; i < 20'000 && before.seconds < 3; ++i) before = figures_of_ps();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < deadline) {
    before = figures_of_ps();
    const json probe =
        probe_json(json_options(machine::LoadSource::kSystem), machine::ProcSource());
    const Figures after = figures_of_ps();
    const json* found = nullptr;
    for (const json& process : probe["processes"]) {
      if (process["pid"] == spinner.pid()) found = &process;
    }
    if (found == nullptr) continue;  // starved below 30 % by other work on this machine
    const double seconds = (*found)["runtime_seconds"].get<double>();
    EXPECT_GE(seconds, before.seconds - 1);
    EXPECT_LE(seconds, after.seconds + 1);
    const double slack = 0.2 + 100.0 / before.seconds;
    EXPECT_GE((*found)["cpu_percent"].get<double>(), std::min(before.cpu, after.cpu) - slack);
    EXPECT_LE((*found)["cpu_percent"].get<double>(), std::max(before.cpu, after.cpu) + slack);
    EXPECT_NEAR((*found)["mem_percent"].get<double>(), before.memory, 0.11);
    return;
  }
  GTEST_SKIP() << "other work starves every process here below 30 % CPU";
}

class RecordedMachine : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "tern-probe-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    put("/proc/loadavg", "1.62 0.14 0.08 1/94 25838\n");
    put("/proc/uptime", "87400.00 5.00\n");
    put("/proc/stat", "cpu 1\ncpu0 1\ncpu1 1\nbtime 1795000000\n");
    put("/proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 100 kB\nMemAvailable: 900 kB\n");
    put("/proc/self/cgroup", "0::/node\n");
    put("/proc/self/mountinfo", "1 2 0:3 / /cg rw - cgroup2 c rw\n");
    process(50, "hog", 'R', 8'640'000);   // started at 1000 s: 86,400 s of CPU in 86,400 s
    process(60, "edge", 'S', 3'600'000);  // 41.7 %: shown; 0.25 + 0.1 = 0.35: no hog
    process(70, "calm", 'S', 100);
    put("/proc/50/cmdline", std::string("./hog\0\xff", 7));
    put("/cg/node/cgroup.threads", "50\n60\n70\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path, std::ios::binary) << text;
  }
  void process(int pid, const std::string& name, char state, int ticks) const {
    put("/proc/" + std::to_string(pid) + "/stat",
        std::to_string(pid) + " (" + name + ") " + state + " 1 1 1 0 -1 0 0 0 0 0 " +
            std::to_string(ticks) + " 0 0 0 20 0 1 0 100000 1 0 1\n");
  }
  [[nodiscard]] machine::ProcSource source() const { return machine::ProcSource({root_, 2}); }
  std::string root_;
};

TEST_F(RecordedMachine, JsonIsAsDocumented) {
  const json probe = probe_json(json_options(machine::LoadSource::kAuto), source());
  EXPECT_EQ(probe["load1"], 1.62);
  EXPECT_EQ(probe["cpus"], 2.0);
  EXPECT_EQ(probe["ratio"], 0.81);
  EXPECT_EQ(probe["trit"], 1);
  EXPECT_EQ(probe["load_source"], "system");
  ASSERT_EQ(probe["processes"].size(), 2U);
  const json& hog = probe["processes"][0];
  EXPECT_EQ(hog["pid"], 50);
  EXPECT_EQ(hog["command"], "./hog \xEF\xBF\xBD") << "no valid UTF-8 in the command line";
  EXPECT_EQ(hog["cpu_percent"], 100.0);
  EXPECT_EQ(hog["mem_percent"], 0.0);
  EXPECT_EQ(hog["runtime_seconds"], 86400);
  EXPECT_EQ(hog["scum"], 0.7);
  EXPECT_EQ(hog["action"], "migrate");
  const json& edge = probe["processes"][1];
  EXPECT_LE(edge["scum"].get<double>(), 0.35);
  EXPECT_EQ(edge["action"], "none") << "exactly 0.35 is no hog";
}

TEST_F(RecordedMachine, TextIsAligned) {
  std::ostringstream out;
  std::ostringstream err;
  ASSERT_EQ(run_probe_command({}, source(), out, err), 0);
  EXPECT_EQ(out.str().substr(0, out.str().find("./hog")),
            "load   1.62  (1-minute average)\ncpus   2\nratio  0.81\ntrit   +1 PLUS\n\n"
            "     PID    %CPU   %MEM      RUNTIME   SCUM  ACTION   COMMAND\n"
            "      50   100.0    0.0   1-00:00:00  0.700  migrate  ");
  EXPECT_EQ(err.str(), "");
}

TEST_F(RecordedMachine, CgroupLoadIsTheMeanOfSamples) {
  ProbeOptions options = json_options(machine::LoadSource::kCgroup);
  options.samples = 3;
  options.sample_spacing = std::chrono::milliseconds(0);
  json probe = probe_json(options, source());
  EXPECT_EQ(probe["load1"], 1.0);
  EXPECT_EQ(probe["trit"], 0);
  EXPECT_EQ(probe["processes"][0]["action"], "throttle");
  options.cgroup = "/cg/gone";
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(run_probe_command(options, source(), out, err), 1);
  EXPECT_EQ(out.str(), "");
  EXPECT_NE(err.str().find("/cg/gone"), std::string::npos);
}

}  // namespace
}  // namespace cli
