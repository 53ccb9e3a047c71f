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
  std::string name, listen, load_source, cgroup, criu, share, inbox, log_level, log_file, cpus,
      output_limit;
  std::string owner_active, on_battery, battery_low, on_metered, on_sleep;
  std::vector<std::string> peers;
  std::vector<std::uint32_t> policy_uids;
  std::int64_t load_window_seconds = 60;
  bool discovery = true;
  bool allow_root_jobs = false;
};

[[nodiscard]] std::shared_ptr<DaemonFlags> add_daemon_flags(CLI::App* app);
// Checked: the command line, over DIR/tern.toml, over defaults. kInvalid is a mistake of usage or
// in the file, kIo a file that cannot be read.
[[nodiscard]] base::Result<control::DaemonOptions> daemon_options(const DaemonFlags& flags,
                                                                  const Context& context);
// The same without a command line: DIR/tern.toml over defaults.
[[nodiscard]] base::Result<control::DaemonOptions> stored_options(const Context& context);
// Fills what the command line left open from DIR/tern.toml, if there is one.
[[nodiscard]] base::Status add_settings(control::DaemonOptions& options);
// Says what is wrong with the options; the exit code.
int report_options(Context& context, const base::Error& error);

}  // namespace cli
