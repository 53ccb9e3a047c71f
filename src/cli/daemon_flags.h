// The options of `tern daemon`, which `tern up` takes too and passes on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/context.h"
#include "control/daemon_options.h"

namespace cli {

// The options as text, filled by the parser.
struct DaemonFlags {
  CLI::App* app = nullptr;
  std::string name, listen, load_source, cgroup, criu, log_level, log_file, cpus;
  std::vector<std::string> peers;
  std::vector<std::uint32_t> policy_uids;
  std::int64_t load_window_seconds = 60;
  bool no_discovery = false;
  bool allow_root_jobs = false;
};

[[nodiscard]] std::shared_ptr<DaemonFlags> add_daemon_flags(CLI::App* app);
// Checked; an error is one of usage.
[[nodiscard]] base::Result<control::DaemonOptions> daemon_options(const DaemonFlags& flags,
                                                                  const Context& context);

}  // namespace cli
