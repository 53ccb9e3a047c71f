#include "world.h"

#include <poll.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "criu/leftovers.h"

namespace criu_test {
namespace fs = std::filesystem;

void World::SetUp() {
  std::string why;
  auto found = criu::find_program(criu::search_from_environment());
  if (const char* given = std::getenv("TERN_CRIU"); given != nullptr) {
    found = criu::find_program({given, "", ""});
  }
  auto own = machine::own_cgroup();
  if (::geteuid() != 0) why = "this test needs root";
  if (!found) why = found.error().detail;
  if (!own) why = own.error().detail;
  if (!why.empty()) {
    const char* ci = std::getenv("CI");
    if (ci != nullptr && std::string(ci) == "true") FAIL() << why;
    GTEST_SKIP() << why;
  }
  criu_ = *found;
  owner_ = "tern-test-" + std::to_string(::getpid());
  root_ = *own + (own->ends_with('/') ? "" : "/") + owner_;
  ASSERT_TRUE(machine::Cgroup::create(root_).ok());
  auto dir = criu::WorkDir::create("tern-job-" + std::to_string(::getpid()));
  ASSERT_TRUE(dir.ok()) << dir.error().detail;
  dir_ = std::move(*dir);
  ASSERT_EQ(uv_loop_init(&loop_), 0);
  loop_made_ = true;
}

void World::TearDown() {
  if (!loop_made_) return;
  turn_until([this] { return uv_loop_alive(&loop_) == 0; });  // nothing may keep a loop for ever
  EXPECT_EQ(uv_loop_close(&loop_), 0);
  EXPECT_EQ(criu::stale_work_dirs(owner_), std::vector<std::string>{});
  auto left = criu::kill_leftovers(root_, {});
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->remaining, std::vector<std::string>{});
  for (const std::string& name : left->killed) EXPECT_FALSE(name.starts_with("criu-")) << name;
  EXPECT_EQ(::rmdir(root_.c_str()), 0);
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

void World::start_job(const std::string& name, const std::string& script) {
  auto cgroup = machine::Cgroup::create(path_of(name));
  ASSERT_TRUE(cgroup.ok()) << cgroup.error().detail;
  machine::SpawnSpec spec;
  spec.program = "/usr/bin/setsid";
  spec.argv = {"setsid", "bash", "-c", script};
  spec.env = {"PATH=" + std::string(std::getenv("PATH")), "HOME=/root"};
  spec.dir = dir_.path();
  spec.cgroup = &*cgroup;
  spec.namespaces = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  auto job = machine::spawn(spec);
  ASSERT_TRUE(job.ok()) << job.error().detail;
}

int World::init_of(const std::string& cgroup) {
  auto opened = machine::Cgroup::open(path_of(cgroup));
  if (!opened) return 0;
  auto init = machine::find_init(*opened);
  return init ? init->pid : 0;
}

void World::freeze(const std::string& cgroup) {
  auto opened = machine::Cgroup::open(path_of(cgroup));
  ASSERT_TRUE(opened.ok());
  ASSERT_TRUE(opened->freeze(kLong).ok());
}

void World::thaw(const std::string& cgroup) {
  auto opened = machine::Cgroup::open(path_of(cgroup));
  ASSERT_TRUE(opened.ok());
  ASSERT_TRUE(opened->thaw(kLong).ok());
}

long World::count(const std::string& name) {
  long value = -1;
  std::ifstream(file(name)) >> value;
  return value;
}

void World::wait_beyond(long beyond, const std::string& name) {
  const machine::Fd watch(::inotify_init1(IN_CLOEXEC));
  ASSERT_TRUE(watch.valid());
  ASSERT_GE(::inotify_add_watch(watch.get(), dir_.path().c_str(), IN_CLOSE_WRITE | IN_MOVED_TO), 0);
  while (count(name) <= beyond) {
    pollfd one{watch.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&one, 1, static_cast<int>(kLong.count())), 1) << "stuck at " << count(name);
    char events[4096];
    ASSERT_GT(::read(watch.get(), events, sizeof events), 0);
  }
}

void World::goes_on(const std::string& job) {
  const long before = count();
  thaw(job);
  ASSERT_NO_FATAL_FAILURE(wait_beyond(before + 1));
  std::string wrong;
  std::getline(std::ifstream(file("wrong")), wrong);
  ASSERT_EQ(wrong, "");
}

void World::turn_until(const std::function<bool()>& done) {
  uv_timer_t limit;
  bool late = false;
  ASSERT_EQ(uv_timer_init(&loop_, &limit), 0);
  limit.data = &late;
  uv_timer_start(
      &limit, [](uv_timer_t* timer) { *static_cast<bool*>(timer->data) = true; },
      static_cast<std::uint64_t>(kLong.count()), 0);
  uv_unref(reinterpret_cast<uv_handle_t*>(&limit));
  while (!done() && !late) {
    if (uv_run(&loop_, UV_RUN_ONCE) == 0 && !done()) {
      ADD_FAILURE() << "nothing left to wait for";
      break;
    }
  }
  EXPECT_FALSE(late) << "half a minute passed";
  bool closed = false;
  limit.data = &closed;
  uv_close(reinterpret_cast<uv_handle_t*>(&limit),
           [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
  while (!closed) uv_run(&loop_, UV_RUN_NOWAIT);
}

criu::DumpSpec World::dump_spec(const std::string& cgroup) {
  criu::DumpSpec spec;
  spec.program = criu_.path;
  spec.guard = TERN_BINARY_DIR "/helpers/tern-guard";
  spec.gentle = TERN_BINARY_DIR "/helpers/tern-gentle";
  spec.owner = owner_;
  spec.pid = init_of(cgroup);
  spec.job_cgroup = path_of(cgroup);
  spec.run_cgroup = path_of("criu-" + std::to_string(++runs_));
  spec.deadline = std::chrono::seconds(30);
  return spec;
}

criu::RestoreSpec World::restore_spec(const std::string& cgroup) {
  return {criu_.path, owner_, path_of(cgroup), std::chrono::seconds(30)};
}

base::Result<criu::DumpStats> World::dump(const std::string& cgroup, criu::MemoryImages& images) {
  std::map<std::uint32_t, std::string> names;
  base::Result<criu::DumpStats> result = base::fail(base::Code::kTimeout, "no answer");
  bool over = false;
  criu::DumpCallbacks callbacks;
  callbacks.image = [&](std::uint32_t index, const std::string& name) {
    names[index] = name;
    EXPECT_TRUE(images.add(name).ok());
  };
  callbacks.data = [&](std::uint32_t index, base::ByteView data) {
    EXPECT_TRUE(images.append(names[index], data).ok());
  };
  callbacks.image_end = [&](std::uint32_t index) { EXPECT_EQ(names.count(index), 1U); };
  callbacks.done = [&](base::Result<criu::DumpStats> stats) {
    EXPECT_FALSE(over);
    over = true;
    result = std::move(stats);
  };
  auto session = criu::DumpSession::start(&loop_, dump_spec(cgroup), std::move(callbacks));
  if (!session) return session.error();
  EXPECT_FALSE(over);
  turn_until([&] { return over; });
  return result;
}

base::Result<criu::HeldCopy> World::restore(const std::string& cgroup, criu::MemoryImages& images) {
  base::Result<criu::HeldCopy> result = base::fail(base::Code::kTimeout, "no answer");
  bool over = false;
  auto session = criu::RestoreSession::start(&loop_, restore_spec(cgroup), images,
                                             [&](base::Result<criu::HeldCopy> copy) {
                                               EXPECT_FALSE(over);
                                               over = true;
                                               result = std::move(copy);
                                             });
  if (!session) return session.error();
  turn_until([&] { return over; });
  return result;
}

base::Status World::release(const std::string& cgroup) {
  base::Status result = base::fail(base::Code::kTimeout, "no answer");
  bool over = false;
  auto task = criu::release_copy(&loop_, path_of(cgroup), {}, [&](base::Status status) {
    over = true;
    result = status;
  });
  turn_until([&] { return over; });
  return result;
}

base::Status World::discard(const std::string& cgroup) {
  base::Status result = base::fail(base::Code::kTimeout, "no answer");
  bool over = false;
  auto task = criu::discard_copy(&loop_, path_of(cgroup), [&](base::Status status) {
    over = true;
    result = status;
  });
  turn_until([&] { return over; });
  return result;
}

bool World::exists(const std::string& cgroup) const { return fs::exists(path_of(cgroup)); }

}  // namespace criu_test
