// How a daemon is to run, as the command line and DIR/tern.toml (control/settings_file.h) say it:
// checked values that the host takes as they are. `tern up` passes what its command line said on to
// the daemon that it starts, which reads the file itself.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/log.h"
#include "base/result.h"
#include "control/paths.h"
#include "control/report.h"

namespace control {

inline constexpr std::uint16_t kDefaultPort = 7333;  // UDP and TCP
inline constexpr std::int64_t kLoadWindowSecondsMax = 24 * 3600;

enum class LoadSource { kAuto, kSystem, kCgroup };

struct DaemonOptions {
  Paths paths;
  std::optional<std::string> name;          // of this node; the host name where absent
  base::Endpoint listen{{}, kDefaultPort};  // "::", which takes IPv4 too; port 0 picks one
  std::vector<base::Endpoint> peers;
  bool discovery = true;
  LoadSource load_source = LoadSource::kAuto;
  std::int64_t load_window_seconds = 60;
  std::optional<std::string> cgroup;       // name of this node's own subtree below its cgroup
  std::optional<std::string> criu;         // absolute path; looked for where absent
  bool allow_root_jobs = false;            // foreign jobs may run as root (design.md §6: off)
  std::vector<std::uint32_t> policy_uids;  // foreign jobs of these uids may run here
  base::LogLevel log_level = base::LogLevel::kInfo;
  std::optional<std::string> log_file;      // absolute; standard error where absent
  std::optional<std::int64_t> cpus_millis;  // instead of what the machine shows

  std::set<std::string> given;      // names of the options that were on the command line
  std::set<std::string> from_file;  // and of those that the settings file chose
};

// ADDR:PORT, :PORT (any address), or ADDR alone (the default port). kInvalid with a sentence.
[[nodiscard]] base::Result<base::Endpoint> parse_listen(std::string_view text);
// ADDR:PORT or ADDR; neither the unspecified address nor port 0.
[[nodiscard]] base::Result<base::Endpoint> parse_peer(std::string_view text);
[[nodiscard]] base::Result<LoadSource> parse_load_source(std::string_view text);
[[nodiscard]] base::Result<base::LogLevel> parse_log_level(std::string_view text);
// "2", "1.5", "0.25": thousandths of a CPU, from 0.001 to 4096.
[[nodiscard]] base::Result<std::int64_t> parse_cpus(std::string_view text);

// The arguments, after "tern", that make a daemon run with these options.
[[nodiscard]] std::vector<std::string> daemon_arguments(const DaemonOptions& options);
// For `tern config`: each option, its value, and whether the command line, tern.toml or a default
// chose it.
[[nodiscard]] std::vector<Setting> settings_of(const DaemonOptions& options);

}  // namespace control
