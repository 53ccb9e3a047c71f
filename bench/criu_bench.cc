// A job with much resident memory, dumped into memory and restored from there, without a network:
// what CRIU and its streaming protocol cost. The peer is memcpy of the same size in the same run.
//
//   criu_bench [MiB]      needs root and CRIU; prints milliseconds and the ratio to memcpy
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "criu/dump_session.h"
#include "criu/leftovers.h"
#include "criu/memory_images.h"
#include "criu/program.h"
#include "criu/restore_session.h"
#include "machine/cgroup.h"
#include "machine/spawn.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr machine::Patience kPatience = std::chrono::seconds(30);
constexpr int kRounds = 5;

double millis_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "criu_bench: %s\n", why.c_str());
  std::exit(1);
}

// The job itself (criu_bench --job MiB): fills its memory, says so, waits for ever.
int be_job(std::size_t size) {
  ::setsid();
  auto* data = static_cast<std::uint8_t*>(
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (data == MAP_FAILED) return 1;
  for (std::size_t i = 0; i < size; ++i) data[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
  if (::write(3, "r", 1) != 1) return 1;
  ::close(3);
  for (;;) ::pause();
}

struct Bench {
  criu::Program program;
  std::string root;
  uv_loop_t loop{};
  std::size_t size = 0;

  void turn(const bool& over) {
    while (!over) uv_run(&loop, UV_RUN_ONCE);
  }

  void start_job() {
    auto cgroup = machine::Cgroup::create(root + "/job-e1");
    if (!cgroup) give_up(cgroup.error().detail);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) give_up("no pipe");
    const machine::Fd from(ends[0]);
    machine::Fd to(ends[1]);
    machine::SpawnSpec spec;
    spec.program = "/proc/self/exe";
    spec.argv = {"criu_bench", "--job", std::to_string(size >> 20)};
    spec.fds = {{to.get(), 3}};
    spec.dir = "/";
    spec.cgroup = &*cgroup;
    spec.namespaces = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    auto child = machine::spawn(spec);
    if (!child) give_up(child.error().detail);
    to.reset();
    char byte = 0;
    if (::read(from.get(), &byte, 1) != 1) give_up("the job did not start");
  }

  double dump(criu::MemoryImages& images, bool discard) {
    auto job = machine::Cgroup::open(root + "/job-e1");
    const auto begin = Clock::now();
    if (!job || !job->freeze(kPatience)) give_up("cannot freeze");
    criu::DumpSpec spec;
    spec.program = program.path;
    spec.owner = "tern-bench";
    spec.pid = machine::find_init(*job)->pid;
    spec.job_cgroup = job->path();
    spec.run_cgroup = root + "/criu-1";
    spec.guard = TERN_HELPERS "/tern-guard";
    spec.gentle = TERN_HELPERS "/tern-gentle";
    std::map<std::uint32_t, std::string> names;
    bool over = false;
    criu::DumpCallbacks callbacks;
    callbacks.image = [&](std::uint32_t index, const std::string& name) {
      names[index] = name;
      if (!discard && !images.add(name)) give_up("image twice");
    };
    callbacks.data = [&](std::uint32_t index, base::ByteView data) {
      if (!discard && !images.append(names[index], data)) give_up("no room");
    };
    callbacks.image_end = [](std::uint32_t) {};
    callbacks.done = [&](base::Result<criu::DumpStats> stats) {
      if (!stats) give_up(stats.error().detail);
      over = true;
    };
    auto session = criu::DumpSession::start(&loop, spec, std::move(callbacks));
    if (!session) give_up(session.error().detail);
    turn(over);
    const double took = millis_since(begin);
    if (!job->thaw(kPatience)) give_up("cannot thaw");
    return took;
  }

  double restore(criu::MemoryImages& images) {
    const auto begin = Clock::now();
    bool over = false;
    auto session =
        criu::RestoreSession::start(&loop, {program.path, "tern-bench", root + "/job-e2"}, images,
                                    [&](base::Result<criu::HeldCopy> copy) {
                                      if (!copy) give_up(copy.error().detail);
                                      over = true;
                                    });
    if (!session) give_up(session.error().detail);
    turn(over);
    const double took = millis_since(begin);
    bool gone = false;
    auto task = criu::discard_copy(&loop, root + "/job-e2", [&](base::Status status) {
      if (!status) give_up(status.error().detail);
      gone = true;
    });
    turn(gone);
    return took;
  }
};

double copy_time(std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> from(new std::uint8_t[size]);
  const std::unique_ptr<std::uint8_t[]> to(new std::uint8_t[size]);
  std::memset(from.get(), 1, size);
  std::memset(to.get(), 2, size);
  double best = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    const auto begin = Clock::now();
    std::memcpy(to.get(), from.get(), size);
    best = std::min(best, millis_since(begin));
    if (to[size / 2] != 1) give_up("memcpy");
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string last = argc > 1 ? argv[argc - 1] : "512";
  const std::size_t size = std::strtoul(last.c_str(), nullptr, 10) << 20;
  if (argc == 3 && std::string(argv[1]) == "--job") return be_job(size);
  if (size == 0) give_up("usage: criu_bench [MiB]");
  Bench bench;
  auto program = criu::find_program(criu::search_from_environment());
  if (!program) give_up(program.error().detail);
  auto own = machine::own_cgroup();
  if (!own) give_up(own.error().detail);
  bench.program = *program;
  bench.root = *own + (own->ends_with('/') ? "" : "/") + "tern-bench-" + std::to_string(::getpid());
  bench.size = size;
  if (auto root = machine::Cgroup::create(bench.root); !root) give_up(root.error().detail);
  uv_loop_init(&bench.loop);
  bench.start_job();
  const double copied = copy_time(size);
  std::printf("memcpy of %zu MiB: %.0f ms\n", size >> 20, copied);
  for (int i = 0; i < kRounds; ++i) {
    criu::MemoryImages images(size + (64 << 20));
    const double drained = bench.dump(images, true);
    if (!images.reserve(size + (16 << 20))) give_up("no memory");
    const double dumped = bench.dump(images, false);
    const double restored = bench.restore(images);
    std::printf(
        "dump, thrown away %.0f ms (%.1f x memcpy); kept %.0f ms (%.1f x); "
        "restore to held %.0f ms (%.1f x)\n",
        drained, drained / copied, dumped, dumped / copied, restored, restored / copied);
  }
  auto left = criu::kill_leftovers(bench.root, {});
  ::rmdir(bench.root.c_str());
  return left && left->remaining.empty() ? 0 : 1;
}
