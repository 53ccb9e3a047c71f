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
// Whether files come in from other nodes. Yes by default: a member was let in by a person, what it
// sends replaces nothing, is not run and leaves the disk its reserve; and a board without a screen
// has nobody to ask.
enum class SharePolicy { kYes, kNo, kAsk };

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
  // What guests do when the owner needs the machine (node/owner.h): nothing, refuse, throttle,
  // pause, send-home or drain.
  std::string owner_active = "nothing";
  std::string on_battery = "refuse";
  std::string battery_low = "drain";
  std::string on_metered = "refuse";
  std::string on_sleep = "send-home";
  base::LogLevel log_level = base::LogLevel::kInfo;
  SharePolicy share = SharePolicy::kYes;
  std::optional<std::string> inbox;     // absolute; DIR/inbox where absent
  std::optional<std::string> log_file;  // absolute; standard error where absent
  // Of each job's output, and as much of its error output, that is kept here; 0: all.
  std::uint64_t output_limit_bytes = std::uint64_t{1} << 30;
  std::optional<std::int64_t> cpus_millis;  // instead of what the machine shows

  std::set<std::string> given;      // names of the options that were on the command line
  std::set<std::string> from_file;  // and of those that the settings file chose

  [[nodiscard]] std::string inbox_path() const {
    return inbox.value_or(paths.state_dir + "/inbox");
  }
};

// ADDR:PORT, :PORT (any address), or ADDR alone (the default port). kInvalid with a sentence.
[[nodiscard]] base::Result<base::Endpoint> parse_listen(std::string_view text);
// ADDR:PORT or ADDR; neither the unspecified address nor port 0.
[[nodiscard]] base::Result<base::Endpoint> parse_peer(std::string_view text);
[[nodiscard]] base::Result<LoadSource> parse_load_source(std::string_view text);
[[nodiscard]] base::Result<std::string> parse_yield_word(std::string_view text);
[[nodiscard]] base::Result<base::LogLevel> parse_log_level(std::string_view text);
[[nodiscard]] base::Result<SharePolicy> parse_share_policy(std::string_view text);
[[nodiscard]] std::string share_policy_text(SharePolicy policy);
// "2", "1.5", "0.25": thousandths of a CPU, from 0.001 to 4096.
[[nodiscard]] base::Result<std::int64_t> parse_cpus(std::string_view text);

// "64M", "1G", "1.5" is none: a whole number of MiB, GiB or TiB, from 8M to 1024T, or "none".
[[nodiscard]] base::Result<std::uint64_t> parse_output_limit(std::string_view text);

// The arguments, after "tern", that make a daemon run with these options.
[[nodiscard]] std::vector<std::string> daemon_arguments(const DaemonOptions& options);
// For `tern config`: each option, its value, and whether the command line, tern.toml or a default
// chose it.
[[nodiscard]] std::vector<Setting> settings_of(const DaemonOptions& options);

}  // namespace control
