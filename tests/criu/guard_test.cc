// CRIU is killed at moments spread over a whole dump, and the job is whole each time. Rules:
// src/init/guard_main.cc, criu/run.h. TERN_GUARD_KILLS: how many, for longer sweeps.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "criu/leftovers.h"
#include "criu/loop_watch.h"
#include "criu/run.h"
#include "init/contract.h"
#include "init/proc_text.h"
#include "world.h"

namespace criu_test {
namespace {

namespace fs = std::filesystem;
using std::chrono::nanoseconds;

constexpr std::uint64_t kRoom = 1ULL << 30;
constexpr const char* kShell =
    "n=0; while :; do n=$((n + 1)); echo $n >next; mv next count; sleep 0.002; done";
constexpr const char* kThreads = "exec " TERN_BINARY_DIR "/tests/criu/guarded_job";

// How far before and after the first image of a process CRIU's code may be planted.
constexpr nanoseconds kAround = std::chrono::milliseconds(3);

int kills_of(int ordinary) {
  const char* given = std::getenv("TERN_GUARD_KILLS");
  return given == nullptr ? ordinary : std::atoi(given);
}

class Guard : public World {
 protected:
  enum class Victim { kCriu, kGuard };
  struct Outcome {
    base::Result<criu::DumpStats> stats = base::fail(base::Code::kTimeout, "no answer");
    std::string note;
    nanoseconds took{};
    nanoseconds first_image{};  // of a process, that is: CRIU's code is in it since a moment
  };
  // Dumps the frozen job; after `after` the victim is killed, if it is still there.
  Outcome dump_with_a_kill(const std::string& job, nanoseconds after, Victim victim);
  // Kills at `kills` moments of a dump and looks at the job after each.
  void sweep(const std::string& job, int kills, Victim victim);
  void goes_on(const std::string& job);
};

Guard::Outcome Guard::dump_with_a_kill(const std::string& job, nanoseconds after, Victim victim) {
  Outcome outcome;
  bool over = false;
  criu::DumpCallbacks callbacks;
  const std::uint64_t began = uv_hrtime();
  callbacks.image = [&](std::uint32_t, const std::string& name) {
    if (outcome.first_image.count() != 0 || !name.starts_with("fdinfo")) return;
    outcome.first_image = nanoseconds(uv_hrtime() - began);
  };
  callbacks.data = [](std::uint32_t, base::ByteView) {};
  callbacks.image_end = [](std::uint32_t) {};
  std::unique_ptr<criu::DumpSession> session;
  callbacks.done = [&](base::Result<criu::DumpStats> stats) {
    over = true;
    outcome.note = session->guard_note();
    outcome.stats = std::move(stats);
  };
  const criu::DumpSpec spec = dump_spec(job);
  auto started = criu::DumpSession::start(&loop_, spec, std::move(callbacks));
  EXPECT_TRUE(started.ok()) << started.error().detail;
  if (!started) return outcome;
  session = std::move(*started);
  const machine::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec at{{}, {after.count() / 1'000'000'000, after.count() % 1'000'000'000}};
  EXPECT_EQ(::timerfd_settime(timer.get(), 0, &at, nullptr), 0);
  criu::FdWatch watch;
  const auto kill = [&] {
    watch.stop();
    const std::string cgroup =
        victim == Victim::kCriu ? spec.run_cgroup : criu::guard_cgroup_of(spec.run_cgroup);
    std::ofstream(cgroup + "/cgroup.kill") << "1";
  };
  EXPECT_TRUE(watch.start(&loop_, timer.get(), criu::Wants::kRead, kill).ok());
  turn_until([&] { return over; });
  watch.stop();
  outcome.took = nanoseconds(uv_hrtime() - began);
  EXPECT_FALSE(fs::exists(spec.run_cgroup));
  EXPECT_FALSE(fs::exists(criu::guard_cgroup_of(spec.run_cgroup)));
  return outcome;
}

// World's jobs have no /proc of their own namespace (machine/init_root.h says what tern's have), so
// CRIU's code mounts one in the job's working folder: a kill there leaves it.
void remove_stray_proc(const std::string& path) {
  (void)::umount2(path.c_str(), MNT_DETACH);
  (void)::rmdir(path.c_str());
}

void Guard::goes_on(const std::string& job) {
  remove_stray_proc(file("proc.crtools"));
  World::goes_on(job);
}

void Guard::sweep(const std::string& job, int kills, Victim victim) {
  nanoseconds whole{};
  nanoseconds planting{};
  for (int i = 0; i < 2; ++i) {  // the first one warms the page cache
    freeze(job);
    const Outcome undisturbed = dump_with_a_kill(job, std::chrono::minutes(1), victim);
    ASSERT_TRUE(undisturbed.stats.ok()) << undisturbed.stats.error().detail;
    EXPECT_EQ(undisturbed.note, "");
    whole = undisturbed.took;
    planting = undisturbed.first_image;
    ASSERT_NO_FATAL_FAILURE(goes_on(job));
  }
  int repaired = 0;
  for (int i = 0; i < kills; ++i) {
    // Half of them over the whole dump, half where CRIU plants its code.
    const nanoseconds evenly = whole * i / kills;
    const nanoseconds there = planting - kAround + 2 * kAround * i / kills;
    const nanoseconds after = std::max(nanoseconds(1), i % 2 == 0 ? evenly : there);
    SCOPED_TRACE(testing::Message() << "kill " << i << " after " << after.count() << " ns");
    freeze(job);
    const Outcome outcome = dump_with_a_kill(job, after, victim);
    if (!outcome.note.empty()) {
      ASSERT_THAT(outcome.note, testing::StartsWith(init::kNoteRepaired));
      ++repaired;
    }
    ASSERT_NO_FATAL_FAILURE(goes_on(job));
  }
  RecordProperty("repaired", repaired);
  std::printf("%d kills, %d repairs\n", kills, repaired);
  if (victim != Victim::kCriu) return;
  EXPECT_GT(repaired, kills / 4);
}

class GuardOf : public Guard {
 protected:
  // After all that, the job can still be moved, and nothing of CRIU is in it.
  void can_be_moved(const std::string& job) {
    const std::string maps = "/proc/" + std::to_string(init_of(job)) + "/maps";
    for (std::ifstream file(maps); file;) {
      std::string line;
      std::getline(file, line);
      EXPECT_THAT(line, testing::Not(testing::HasSubstr("CRIU")));
    }
    freeze(job);
    const long frozen_at = count();
    criu::MemoryImages images(kRoom);
    auto stats = dump(job, images);
    ASSERT_TRUE(stats.ok()) << stats.error().detail;
    ASSERT_TRUE(discard(job).ok());
    auto copy = restore("job-copy-e2", images);
    ASSERT_TRUE(copy.ok()) << copy.error().detail;
    ASSERT_TRUE(release("job-copy-e2").ok());
    ASSERT_NO_FATAL_FAILURE(wait_beyond(frozen_at + 2));
    ASSERT_TRUE(discard("job-copy-e2").ok());
  }
};

TEST_F(GuardOf, AShellLoopIsWholeWheneverCriuIsKilled) {
  start_job("job-s-e1", kShell);
  wait_beyond(3);
  ASSERT_NO_FATAL_FAILURE(sweep("job-s-e1", kills_of(60), Victim::kCriu));
  can_be_moved("job-s-e1");
}

TEST_F(GuardOf, ThreadsAreWholeWheneverCriuIsKilled) {
  start_job("job-t-e1", kThreads);
  wait_beyond(3);
  ASSERT_NO_FATAL_FAILURE(sweep("job-t-e1", kills_of(60), Victim::kCriu));
  can_be_moved("job-t-e1");
}

// CRIU exits at once then, its code still in the process that it was at.
TEST_F(GuardOf, AProcessThatDiesDuringADumpLeavesTheOthersWhole) {
  start_job("job-d-e1", std::string("sleep 1000 & ") + kShell);
  wait_beyond(3);
  freeze("job-d-e1");
  auto cgroup = machine::Cgroup::open(path_of("job-d-e1"));
  ASSERT_TRUE(cgroup.ok());
  auto pids = cgroup->processes();
  ASSERT_TRUE(pids.ok());
  bool over = false;
  bool failed = false;
  std::string note;
  std::unique_ptr<criu::DumpSession> session;
  criu::DumpCallbacks callbacks;
  callbacks.image = [&](std::uint32_t, const std::string& name) {
    if (!name.starts_with("fdinfo")) return;
    for (const int pid : *pids) {
      std::string words;
      std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/cmdline"), words);
      if (words.starts_with("sleep") && words.find("1000") != words.npos) ::kill(pid, SIGKILL);
    }
  };
  callbacks.data = [](std::uint32_t, base::ByteView) {};
  callbacks.image_end = [](std::uint32_t) {};
  callbacks.done = [&](const base::Result<criu::DumpStats>& stats) {
    over = true;
    failed = !stats.ok();
    note = session->guard_note();
  };
  auto started = criu::DumpSession::start(&loop_, dump_spec("job-d-e1"), std::move(callbacks));
  ASSERT_TRUE(started.ok()) << started.error().detail;
  session = std::move(*started);
  turn_until([&] { return over; });
  EXPECT_TRUE(failed);
  EXPECT_THAT(note, testing::StartsWith(init::kNoteRepaired));
  ASSERT_NO_FATAL_FAILURE(goes_on("job-d-e1"));
  can_be_moved("job-d-e1");
}

// CRIU goes on without it and lets go of the job as always.
TEST_F(GuardOf, AKilledGuardHarmsNobody) {
  start_job("job-g-e1", kThreads);
  wait_beyond(3);
  ASSERT_NO_FATAL_FAILURE(sweep("job-g-e1", kills_of(60) / 3, Victim::kGuard));
  can_be_moved("job-g-e1");
}

// A daemon that starts after another was killed in the middle of a dump: when it goes on, nobody of
// the dump is left and the job may be thawed.
TEST_F(GuardOf, ARestartedDaemonWaitsForTheGuard) {
  start_job("job-l-e1", kThreads);
  wait_beyond(3);
  for (const std::size_t after : {std::size_t{1}, std::size_t{300'000}}) {
    SCOPED_TRACE(after);
    freeze("job-l-e1");
    bool over = false;
    std::size_t bytes = 0;
    criu::DumpCallbacks callbacks;
    callbacks.image = [](std::uint32_t, const std::string&) {};
    callbacks.data = [&](std::uint32_t, base::ByteView data) { bytes += data.size(); };
    callbacks.image_end = [](std::uint32_t) {};
    callbacks.done = [&](const base::Result<criu::DumpStats>&) { over = true; };
    const criu::DumpSpec spec = dump_spec("job-l-e1");
    auto session = criu::DumpSession::start(&loop_, spec, std::move(callbacks));
    ASSERT_TRUE(session.ok()) << session.error().detail;
    turn_until([&] { return bytes >= after || over; });
    ASSERT_FALSE(over);
    // Nobody reads the pipes from here on, so CRIU is killed when its time for ending is over.
    auto left = criu::kill_leftovers(root_, {"job-l-e1"});
    ASSERT_TRUE(left.ok());
    EXPECT_EQ(left->remaining, std::vector<std::string>{});
    EXPECT_FALSE(fs::exists(spec.run_cgroup));
    EXPECT_FALSE(fs::exists(criu::guard_cgroup_of(spec.run_cgroup)));
    turn_until([&] { return over; });
    ASSERT_NO_FATAL_FAILURE(goes_on("job-l-e1"));
  }
  can_be_moved("job-l-e1");
}

TEST(ProcText, MapsLinesAreReadAndOthersRefused) {
  init::MapsLine line;
  ASSERT_TRUE(init::parse_maps_line("55d0-56d0 r-xp 00002000 fe:01 1234 /usr/bin/x\n", &line));
  EXPECT_EQ(line.begin, 0x55d0U);
  EXPECT_EQ(line.end, 0x56d0U);
  EXPECT_EQ(line.rights, PROT_READ | PROT_EXEC);
  EXPECT_FALSE(line.shared);
  ASSERT_TRUE(init::parse_maps_line("ffffffffff600000-ffffffffff601000 rw-s 0 00:00 0", &line));
  EXPECT_EQ(line.rights, PROT_READ | PROT_WRITE);
  EXPECT_TRUE(line.shared);
  ASSERT_TRUE(init::parse_maps_line("7f00-7f01 ---p 00000000 00:00 0\n", &line));
  EXPECT_EQ(line.rights, PROT_NONE);
  for (const char* text : {"", "55d0", "55d0-", "55d0-55d0 r-xp 0 0 0", "2-1 r-xp 0 0 0", "1-2 r-x",
                           "1-2 r-xpp 0", "-2 r-xp 0"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(init::parse_maps_line(text, &line));
  }
}

TEST(ProcText, AStartIsFoundBehindAnyName) {
  const std::string fields = " S 1 2 3 0 -1 4194304 5 6 7 8 9 10 11 12 20 0 1 0 4711 99";
  EXPECT_EQ(init::parse_start_ticks(("12 (cat)" + fields).c_str()), 4711U);
  EXPECT_EQ(init::parse_start_ticks(("12 (a) b) (c)" + fields).c_str()), 4711U);
  for (const char* text : {"", "12 (cat", "12 (cat) S 1 2 3"}) {
    EXPECT_EQ(init::parse_start_ticks(text), 0U) << text;
  }
}

TEST(ProcText, TheDeadAndTheTracedAreKnown) {
  EXPECT_TRUE(init::parse_dead("12 (cat) Z 1"));
  EXPECT_TRUE(init::parse_dead("12 (a) S) X 1"));
  EXPECT_FALSE(init::parse_dead("12 (Z Z) S 1"));
  EXPECT_FALSE(init::parse_dead(""));
  EXPECT_TRUE(init::parse_traced("Name:\tcat\nTracerPid:\t12\nUid:"));
  EXPECT_FALSE(init::parse_traced("Name:\tcat\nTracerPid:\t0\nUid:"));
  EXPECT_FALSE(init::parse_traced(""));
}

TEST(ProcText, AnUmaskIsOctal) {
  EXPECT_EQ(init::parse_umask("Name:\tcat\nUmask:\t0022\nState:\tS"), 022);
  EXPECT_EQ(init::parse_umask("Name:\tcat\nUmask:\t0000\n"), 0);
  for (const char* text : {"", "Umask:\t0022", "\nUmask:\t", "\nUmask:\tx", "\nUmask:\t7777"}) {
    EXPECT_EQ(init::parse_umask(text), -1) << text;
  }
}

TEST(ProcText, FrozenIsFrozenOnly) {
  EXPECT_TRUE(init::parse_frozen("populated 1\nfrozen 1\n"));
  EXPECT_FALSE(init::parse_frozen("populated 1\nfrozen 0\n"));
  EXPECT_FALSE(init::parse_frozen("populated 1\n"));
}

}  // namespace
}  // namespace criu_test
