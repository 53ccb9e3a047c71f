// A checkpoint streamed from a frozen job into memory and from there into a held copy, with real
// CRIU. Rules: criu/dump_session.h, criu/restore_session.h.
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "base/rng.h"
#include "criu/leftovers.h"
#include "world.h"

namespace criu_test {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kRoom = 1ULL << 30;
constexpr const char* kCounter =
    "n=0; while :; do n=$((n + 1)); echo $n >next; mv next count; sleep 0.002; done";

using Handover = World;

TEST_F(Handover, ACounterGoesOnWhereItWasAndNowhereElse) {
  start_job("job-a-e1", kCounter);
  wait_beyond(3);
  freeze("job-a-e1");
  const long frozen_at = count();
  criu::MemoryImages images(kRoom);
  auto stats = dump("job-a-e1", images);
  ASSERT_TRUE(stats.ok()) << stats.error().detail;
  EXPECT_EQ(stats->bytes, images.bytes());
  EXPECT_TRUE(images.exists("inventory.img"));
  EXPECT_TRUE(machine::Cgroup::open(path_of("job-a-e1"))->events()->frozen);
  auto copy = restore("job-a-e2", images);
  ASSERT_TRUE(copy.ok()) << copy.error().detail;
  EXPECT_EQ(copy->bytes, stats->bytes);
  EXPECT_EQ(copy->init.pid, init_of("job-a-e2"));
  EXPECT_EQ(count(), frozen_at);
  ASSERT_TRUE(discard("job-a-e1").ok());
  ASSERT_TRUE(release("job-a-e2").ok());
  wait_beyond(frozen_at + 3);
  EXPECT_FALSE(exists("job-a-e1"));
}

TEST_F(Handover, AStraySigcontWakesNoHeldCopy) {
  start_job("job-b-e1", kCounter);
  wait_beyond(3);
  freeze("job-b-e1");
  criu::MemoryImages images(kRoom);
  ASSERT_TRUE(dump("job-b-e1", images).ok());
  ASSERT_TRUE(restore("job-b-e2", images).ok());
  auto copy = machine::Cgroup::open(path_of("job-b-e2"));
  ASSERT_TRUE(copy.ok());
  ASSERT_TRUE(machine::check_held(*copy).ok());
  const long before = count();
  auto pids = copy->processes();
  ASSERT_TRUE(pids.ok());
  for (const pid_t pid : *pids) ASSERT_EQ(::kill(pid, SIGCONT), 0);
  EXPECT_TRUE(copy->events()->frozen);
  ASSERT_TRUE(discard("job-b-e2").ok());  // had it run, it would have counted
  EXPECT_EQ(count(), before);
  EXPECT_FALSE(exists("job-b-e2"));
  thaw("job-b-e1");  // aborted: the original runs on
  wait_beyond(before + 3);
}

struct Workload {
  const char* name;
  const char* script;
};

TEST_F(Handover, WorkloadsOfManyKindsGoOn) {
  const Workload rows[] = {
      {"a tree with pipes",
       "(n=0; while :; do n=$((n + 1)); echo $n; sleep 0.002; done) | (while read -r n; do echo $n "
       ">next; mv next count; done) & wait"},
      {"python with memory",
       "exec \"$(python3 -c 'import sys; print(sys.executable)')\" -c '\n"
       "import os, zlib, time\n"
       "data = os.urandom(1 << 20) * 32\n"
       "sum = zlib.crc32(data)\n"
       "n = 0\n"
       "while zlib.crc32(data) == sum:\n"
       "  n += 1\n"
       "  open(\"next\", \"w\").write(str(n))\n"
       "  os.rename(\"next\", \"count\")\n'"},
      {"threads",
       "exec \"$(python3 -c 'import sys; print(sys.executable)')\" -c '\n"
       "import os, threading, time\n"
       "turn = [threading.Semaphore(1), threading.Semaphore(0)]\n"
       "n = 0\n"
       "def work(me):\n"
       "  global n\n"
       "  while True:\n"
       "    turn[me].acquire()\n"
       "    n += 1\n"
       "    open(\"next\", \"w\").write(str(n))\n"
       "    os.rename(\"next\", \"count\")\n"
       "    turn[1 - me].release()\n"
       "for me in (0, 1): threading.Thread(target=work, args=(me,)).start()\n'"},
  };
  int number = 0;
  for (const Workload& row : rows) {
    SCOPED_TRACE(row.name);
    fs::remove(file("count"));
    const std::string job = "job-w" + std::to_string(++number);
    start_job(job + "-e1", row.script);
    wait_beyond(2);
    freeze(job + "-e1");
    const long frozen_at = count();
    criu::MemoryImages images(kRoom);
    auto stats = dump(job + "-e1", images);
    ASSERT_TRUE(stats.ok()) << stats.error().detail;
    ASSERT_TRUE(discard(job + "-e1").ok());
    auto copy = restore(job + "-e2", images);
    ASSERT_TRUE(copy.ok()) << copy.error().detail;
    EXPECT_EQ(count(), frozen_at);
    ASSERT_TRUE(release(job + "-e2").ok());
    wait_beyond(frozen_at + 2);
    ASSERT_TRUE(discard(job + "-e2").ok());
  }
}

// Dumps `cgroup` and does `meddle` after `after` bytes.
base::Result<criu::DumpStats> dump_meddled(
    uv_loop_t* loop, criu::DumpSpec spec, std::uint64_t after,
    const std::function<void(std::unique_ptr<criu::DumpSession>&)>& meddle,
    const std::function<void(const std::function<bool()>&)>& turn) {
  base::Result<criu::DumpStats> result = base::fail(base::Code::kStale, "destroyed");
  bool over = false;
  bool meddled = false;
  std::uint64_t bytes = 0;
  std::unique_ptr<criu::DumpSession> session;
  criu::DumpCallbacks callbacks;
  callbacks.image = [](std::uint32_t, const std::string&) {};
  callbacks.image_end = [](std::uint32_t) {};
  callbacks.data = [&](std::uint32_t, base::ByteView data) {
    bytes += data.size();
    if (bytes < after || meddled) return;
    meddled = true;
    meddle(session);
    over = over || !session;
  };
  callbacks.done = [&](base::Result<criu::DumpStats> stats) {
    over = true;
    result = std::move(stats);
  };
  auto started = criu::DumpSession::start(loop, std::move(spec), std::move(callbacks));
  if (!started) return started.error();
  session = std::move(*started);
  turn([&] { return over; });
  return result;
}

constexpr const char* kPython =
    "exec \"$(python3 -c 'import sys; print(sys.executable)')\" -c '\n"
    "import os, time\n"
    "data = os.urandom(1 << 20) * 32\n"
    "n = 0\n"
    "while True:\n"
    "  n += 1\n"
    "  open(\"next\", \"w\").write(str(n))\n"
    "  os.rename(\"next\", \"count\")\n"
    "  time.sleep(0.001)\n'";

// While pages flow, CRIU's code in the job waits at a socket and undoes itself when CRIU is gone.
// (guard_test.cc kills it where it plants and removes that code.)
TEST_F(Handover, CriuKilledWhileItSendsPagesLeavesTheJobRunning) {
  start_job("job-k-e1", kPython);
  wait_beyond(3);
  base::Rng rng(1);
  const auto turn = [this](const std::function<bool()>& done) { turn_until(done); };
  for (int i = 0; i < 6; ++i) {
    const std::uint64_t after = (4 << 20) + rng.below(16 << 20);
    SCOPED_TRACE(after);
    freeze("job-k-e1");
    auto result = dump_meddled(
        &loop_, dump_spec("job-k-e1"), after,
        [](auto& session) { ::kill(session->criu_pid(), SIGKILL); }, turn);
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().detail, testing::HasSubstr("killed by signal 9"));
    EXPECT_FALSE(exists("criu-" + std::to_string(runs_)));
    const long before = count();
    thaw("job-k-e1");
    wait_beyond(before + 2);
  }
}

TEST_F(Handover, ADumpCanBeCancelledOrForgottenAtAnyTime) {
  start_job("job-c-e1", kCounter);
  wait_beyond(3);
  base::Rng rng(3);
  const auto turn = [this](const std::function<bool()>& done) { turn_until(done); };
  for (int i = 0; i < 16; ++i) {
    const bool forget = i % 2 == 0;
    const std::uint64_t after = i < 2 ? 1 : 1 + rng.below(150'000);
    SCOPED_TRACE(testing::Message() << forget << " " << after);
    freeze("job-c-e1");
    auto result = dump_meddled(
        &loop_, dump_spec("job-c-e1"), after,
        [forget](auto& session) { forget ? session.reset() : session->cancel(); }, turn);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().detail, forget ? "destroyed" : "cancelled");
    turn_until([this] { return uv_loop_alive(&loop_) == 0; });
    EXPECT_FALSE(exists("criu-" + std::to_string(runs_)));
    const long before = count();
    thaw("job-c-e1");
    wait_beyond(before + 2);
  }
}

TEST_F(Handover, ASlowConsumerHoldsCriuBackAndLosesNothing) {
  start_job("job-s-e1", kCounter);
  wait_beyond(3);
  freeze("job-s-e1");
  const long frozen_at = count();
  criu::MemoryImages images(kRoom);
  std::map<std::uint32_t, std::string> names;
  std::unique_ptr<criu::DumpSession> session;
  base::Result<criu::DumpStats> result = base::fail(base::Code::kTimeout, "no answer");
  bool over = false;
  bool paused = false;
  uv_timer_t resume;
  ASSERT_EQ(uv_timer_init(&loop_, &resume), 0);
  std::function<void()> go_on = [&] {
    paused = false;
    session->resume();
  };
  resume.data = &go_on;
  criu::DumpCallbacks callbacks;
  callbacks.image = [&](std::uint32_t index, const std::string& name) {
    names[index] = name;
    EXPECT_TRUE(images.add(name).ok());
  };
  callbacks.data = [&](std::uint32_t index, base::ByteView data) {
    EXPECT_FALSE(paused);
    EXPECT_TRUE(images.append(names[index], data).ok());
    paused = true;
    session->pause();
    uv_timer_start(
        &resume, [](uv_timer_t* t) { (*static_cast<std::function<void()>*>(t->data))(); }, 1, 0);
  };
  callbacks.image_end = [&](std::uint32_t) { EXPECT_FALSE(paused); };
  callbacks.done = [&](base::Result<criu::DumpStats> stats) {
    over = true;
    result = std::move(stats);
  };
  auto started = criu::DumpSession::start(&loop_, dump_spec("job-s-e1"), std::move(callbacks));
  ASSERT_TRUE(started.ok()) << started.error().detail;
  session = std::move(*started);
  turn_until([&] { return over; });
  uv_close(reinterpret_cast<uv_handle_t*>(&resume), nullptr);
  ASSERT_TRUE(result.ok()) << result.error().detail;
  ASSERT_TRUE(discard("job-s-e1").ok());
  auto copy = restore("job-s-e2", images);
  ASSERT_TRUE(copy.ok()) << copy.error().detail;
  ASSERT_TRUE(release("job-s-e2").ok());
  wait_beyond(frozen_at + 3);
}

// Serves from memory and does something after so many bytes.
class Meddling : public criu::ImageSource {
 public:
  Meddling(criu::MemoryImages& images, std::uint64_t after, std::function<void()> meddle)
      : images_(images), after_(after), meddle_(std::move(meddle)) {}
  bool exists(std::string_view name) override { return images_.exists(name); }
  base::ByteView peek(std::string_view name) override { return images_.peek(name); }
  void consume(std::string_view name, std::size_t count) override {
    images_.consume(name, count);
    served_ += count;
    if (served_ >= after_ && meddle_) std::exchange(meddle_, nullptr)();
  }

 private:
  criu::MemoryImages& images_;
  std::uint64_t after_;
  std::uint64_t served_ = 0;
  std::function<void()> meddle_;
};

TEST_F(Handover, ARestoreThatEndsEarlyLeavesNothingOfTheCopy) {
  start_job("job-r-e1", kCounter);
  wait_beyond(3);
  base::Rng rng(2);
  for (int i = 0; i < 6; ++i) {
    const std::uint64_t after = 1 + rng.below(60'000);  // well before the end of the images
    const bool kill = i % 2 == 0;
    SCOPED_TRACE(after);
    freeze("job-r-e1");
    criu::MemoryImages images(kRoom);
    ASSERT_TRUE(dump("job-r-e1", images).ok());
    const std::string copy = "job-r-e" + std::to_string(i + 2);
    std::unique_ptr<criu::RestoreSession> session;
    Meddling source(images, after, [&] {
      kill ? static_cast<void>(::kill(session->criu_pid(), SIGKILL)) : session->cancel();
    });
    bool over = false;
    base::Result<criu::HeldCopy> result = base::fail(base::Code::kTimeout, "no answer");
    auto started = criu::RestoreSession::start(&loop_, restore_spec(copy), source,
                                               [&](base::Result<criu::HeldCopy> held) {
                                                 over = true;
                                                 result = std::move(held);
                                               });
    ASSERT_TRUE(started.ok()) << started.error().detail;
    session = std::move(*started);
    turn_until([&] { return over; });
    ASSERT_FALSE(result.ok());
    EXPECT_FALSE(exists(copy));
    const long before = count();
    thaw("job-r-e1");
    wait_beyond(before + 2);
  }
}

TEST_F(Handover, AForgottenRestoreCleansUpAfterItselfButAHeldCopyStays) {
  start_job("job-f-e1", kCounter);
  wait_beyond(3);
  freeze("job-f-e1");
  criu::MemoryImages images(kRoom);
  ASSERT_TRUE(dump("job-f-e1", images).ok());
  std::unique_ptr<criu::RestoreSession> session;
  bool forgotten = false;
  Meddling source(images, 1, [&] { forgotten = true; });
  auto started = criu::RestoreSession::start(&loop_, restore_spec("job-f-e2"), source,
                                             [](auto) { ADD_FAILURE() << "done() after the end"; });
  ASSERT_TRUE(started.ok());
  session = std::move(*started);
  turn_until([&] { return forgotten; });
  session.reset();
  turn_until([this] { return uv_loop_alive(&loop_) == 0; });
  EXPECT_FALSE(exists("job-f-e2"));

  criu::MemoryImages again(kRoom);
  ASSERT_TRUE(dump("job-f-e1", again).ok());
  ASSERT_TRUE(restore("job-f-e3", again).ok());  // whose session is gone when it returns
  auto held = machine::Cgroup::open(path_of("job-f-e3"));
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE(machine::check_held(*held).ok());
  // A restarted daemon keeps what its store names and nothing else.
  auto left = criu::kill_leftovers(root_, {"job-f-e1"});
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->killed, std::vector<std::string>{"job-f-e3"});
  EXPECT_TRUE(exists("job-f-e1"));
}

TEST_F(Handover, ProgramsThatAreNoCriuAreNamedAndLeaveNothing) {
  start_job("job-p-e1", kCounter);
  wait_beyond(3);
  freeze("job-p-e1");
  struct Row {
    const char* name;
    const char* body;
    const char* says;
  };
  const Row rows[] = {
      {"fails", "echo 'my own words' >&2; exit 3", "CRIU failed with status 3: my own words"},
      {"hangs", "while :; do read -r x <>/dev/ptmx; done", "did not finish the checkpoint in time"},
      {"does nothing", "exit 0", "did not finish the checkpoint in time"},
  };
  criu::MemoryImages images(kRoom);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string path = file("program");
    std::ofstream(path) << "#!/bin/bash\n" << row.body << "\n";
    fs::permissions(path, fs::perms::owner_all);
    criu::DumpSpec spec = dump_spec("job-p-e1");
    spec.program = path;
    spec.deadline = std::chrono::milliseconds(300);
    auto result = dump_meddled(
        &loop_, spec, 1, [](auto&) {},
        [this](const std::function<bool()>& done) { turn_until(done); });
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().detail, testing::HasSubstr(row.says));
    EXPECT_FALSE(fs::exists(spec.run_cgroup));
  }
  criu::DumpSpec spec = dump_spec("job-p-e1");
  spec.program = file("none");
  auto missing = criu::DumpSession::start(&loop_, spec, {});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().detail, testing::HasSubstr("CRIU could not be started"));
  EXPECT_FALSE(fs::exists(spec.run_cgroup));
}

}  // namespace
}  // namespace criu_test
