// The whole daemon: log, host, loop. What `tern daemon` is.
#pragma once

#include "control/daemon_options.h"

namespace ternd {

// Runs until SIGTERM, SIGINT or `tern down`; the process's exit code.
[[nodiscard]] int run_daemon(const control::DaemonOptions& options);

}  // namespace ternd
