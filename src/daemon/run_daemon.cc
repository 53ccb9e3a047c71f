#include "daemon/run_daemon.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/crypto.h"
#include "daemon/host.h"
#include "daemon/log_spdlog.h"

namespace ternd {

int run_daemon(const control::DaemonOptions& options) {
  if (base::Status ready = base::crypto::init(); !ready) {
    (void)std::fprintf(stderr, "tern: %s\n", ready.error().detail.c_str());
    return 1;
  }
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
  return host.run();
}

}  // namespace ternd
