#include "daemon/run_daemon.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>

#include "base/crypto.h"
#include "daemon/host.h"
#include "daemon/log_spdlog.h"

// Where the linker put the program's code.
extern "C" {
extern const char __executable_start;
extern const char etext;
}

namespace ternd {
namespace {

// The allocator keeps nothing of what a checkpoint needed once it is gone: fixed thresholds instead
// of ones that grow with what was freed.
void tune_allocator() {
  constexpr int kThreshold = 128 * 1024;
  (void)::mallopt(M_MMAP_THRESHOLD, kThreshold);
  (void)::mallopt(M_TRIM_THRESHOLD, kThreshold);
}

// A daemon is idle most of its life. Memory that only the start needed goes back, and so do the
// mapped pages of code that ran once: what is wanted again comes from the page cache.
void shrink_after_start() {
  (void)::malloc_trim(0);
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(&__executable_start) / page * page;
  const std::uintptr_t last = reinterpret_cast<std::uintptr_t>(&etext) / page * page;
  (void)::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

int run_daemon(const control::DaemonOptions& options) {
  if (base::Status ready = base::crypto::init(); !ready) {
    (void)std::fprintf(stderr, "tern: %s\n", ready.error().detail.c_str());
    return 1;
  }
  tune_allocator();
  // Peers and clients that go away show as errors of the write.
  (void)std::signal(SIGPIPE, SIG_IGN);
  auto log = make_log(options.log_level, options.log_file.value_or(""));
  if (!log) {
    (void)std::fprintf(stderr, "tern: %s\n", log.error().detail.c_str());
    return 1;
  }
  Host host(options, **log);
  if (base::Status started = host.start(); !started) {
    (*log)->error("daemon_cannot_start", {{"why", started.error().detail}});
    (void)std::fprintf(stderr, "tern: %s\n", started.error().detail.c_str());
    return 1;
  }
  shrink_after_start();
  return host.run();
}

}  // namespace ternd
