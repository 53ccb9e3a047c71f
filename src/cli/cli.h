// The program `tern` without its daemon: commands, what they print, and exit codes.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "control/daemon_options.h"
#include "control/doctor.h"

namespace cli {

struct Hooks {
  // Runs a node in the foreground until it is told to stop; returns the exit code.
  std::function<int(const control::DaemonOptions&)> run_daemon;
  // What such a node would find here (tern doctor).
  std::function<std::vector<control::Check>(const control::DaemonOptions&)> examine;
  // How long a daemon that is back may say that it knows no such job, as it has to hear of it anew.
  std::chrono::milliseconds daemon_learns = std::chrono::minutes(1);
};

// What main() does. Data on standard output, all else on standard error.
[[nodiscard]] int run_cli(int argc, char** argv, const Hooks& hooks);

}  // namespace cli
