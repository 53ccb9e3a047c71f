#include "control/daemon_options.h"

#include <algorithm>
#include <charconv>

namespace control {
namespace {

using base::Code;
using base::Endpoint;
using base::fail;

constexpr std::int64_t kCpusMillisMax = 4096 * 1000;

constexpr std::string_view kSizeUnits = "MGT";  // MiB, GiB, TiB
constexpr std::uint64_t kOutputLimitMin = std::uint64_t{8} << 20;
constexpr std::uint64_t kOutputLimitMax = std::uint64_t{1024} << 40;

constexpr std::string_view kLoadSources[] = {"auto", "system", "cgroup"};
constexpr std::string_view kYields[] = {"nothing", "refuse",    "throttle",
                                        "pause",   "send-home", "drain"};
constexpr std::string_view kSharePolicies[] = {"yes", "no", "ask"};
constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};

std::string load_source_text(LoadSource source) {
  return std::string(kLoadSources[static_cast<std::size_t>(source)]);
}
std::string log_level_text(base::LogLevel level) {
  return std::string(kLogLevels[static_cast<std::size_t>(level)]);
}

std::string output_limit_text(std::uint64_t bytes) {
  if (bytes == 0) return "none";
  std::uint64_t units = bytes >> 20;
  std::size_t unit = 0;
  for (; units % 1024 == 0 && unit + 1 < kSizeUnits.size(); ++unit) units /= 1024;
  return std::to_string(units) + kSizeUnits[unit];
}

std::string cpus_text(std::int64_t millis) {
  std::string text = std::to_string(millis / 1000);
  if (millis % 1000 != 0) text += "." + std::to_string(millis % 1000 + 1000).substr(1);
  return text;
}

base::Result<Endpoint> parse_address(std::string_view text) {
  auto whole = Endpoint::parse(text);
  if (whole) return whole;
  // An address without a port: IPv6 as people write it has no brackets then.
  const std::string port = ":" + std::to_string(kDefaultPort);
  auto plain = Endpoint::parse(std::string(text) + port);
  if (plain) return plain;
  auto bracketed = Endpoint::parse("[" + std::string(text) + "]" + port);
  if (bracketed) return bracketed;
  return whole;
}

// One option: its name without dashes, its values as arguments (none of a flag that is off), and
// what `tern config` shows.
struct Option {
  std::string name;
  std::vector<std::string> values;
  std::string shown;
};

std::string joined(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : ",") + value;
  return out;
}

Option optional_text(std::string name, const std::optional<std::string>& value) {
  Option option{std::move(name), {}, value.value_or("")};
  if (value) option.values.push_back(*value);
  return option;
}

Option always(std::string name, const std::string& value) {
  return {std::move(name), {value}, value};
}

std::vector<Option> options_with_values(const DaemonOptions& options) {
  std::vector<std::string> peers;
  for (const Endpoint& peer : options.peers) peers.push_back(peer.text());
  std::vector<std::string> uids;
  for (const std::uint32_t uid : options.policy_uids) uids.push_back(std::to_string(uid));
  std::optional<std::string> cpus;
  if (options.cpus_millis) cpus = cpus_text(*options.cpus_millis);
  Option inbox = optional_text("inbox", options.inbox);
  inbox.shown = options.inbox_path();
  return {optional_text("name", options.name),
          always("listen", options.listen.text()),
          {"peer", peers, joined(peers)},
          always("load-source", load_source_text(options.load_source)),
          always("load-window", std::to_string(options.load_window_seconds)),
          optional_text("cgroup", options.cgroup),
          optional_text("criu", options.criu),
          {"policy-uids", uids, joined(uids)},
          always("owner-active", options.owner_active),
          always("on-battery", options.on_battery),
          always("battery-low", options.battery_low),
          always("on-metered", options.on_metered),
          always("on-sleep", options.on_sleep),
          always("share", share_policy_text(options.share)),
          inbox,
          always("output-limit", output_limit_text(options.output_limit_bytes)),
          always("log-level", log_level_text(options.log_level)),
          optional_text("log-file", options.log_file),
          optional_text("cpus", cpus)};
}

}  // namespace

base::Result<Endpoint> parse_listen(std::string_view text) {
  const bool any = text.starts_with(':') && !text.starts_with("::");
  auto endpoint = any ? Endpoint::parse("[::]" + std::string(text)) : parse_address(text);
  if (!endpoint) return fail(Code::kInvalid, "--listen: " + endpoint.error().detail);
  return endpoint;
}

base::Result<Endpoint> parse_peer(std::string_view text) {
  auto endpoint = parse_address(text);
  if (!endpoint) return fail(Code::kInvalid, "--peer: " + endpoint.error().detail);
  const Endpoint any_v4 = Endpoint::v4({0, 0, 0, 0}, endpoint->port);
  const Endpoint any_v6{{}, endpoint->port};
  if (endpoint->port == 0 || *endpoint == any_v4 || *endpoint == any_v6) {
    return fail(Code::kInvalid, "--peer: nobody can be reached at that address and port");
  }
  return endpoint;
}

base::Result<LoadSource> parse_load_source(std::string_view text) {
  const auto* const at = std::find(std::begin(kLoadSources), std::end(kLoadSources), text);
  if (at == std::end(kLoadSources)) {
    return fail(Code::kInvalid, "--load-source is auto, system or cgroup");
  }
  return static_cast<LoadSource>(at - std::begin(kLoadSources));
}

base::Result<std::string> parse_yield_word(std::string_view text) {
  if (std::find(std::begin(kYields), std::end(kYields), text) == std::end(kYields)) {
    return fail(Code::kInvalid, "nothing, refuse, throttle, pause, send-home or drain is meant");
  }
  return std::string(text);
}

base::Result<SharePolicy> parse_share_policy(std::string_view text) {
  const auto* const at = std::find(std::begin(kSharePolicies), std::end(kSharePolicies), text);
  if (at == std::end(kSharePolicies)) return fail(Code::kInvalid, "--share is yes, no or ask");
  return static_cast<SharePolicy>(at - std::begin(kSharePolicies));
}

std::string share_policy_text(SharePolicy policy) {
  return std::string(kSharePolicies[static_cast<std::size_t>(policy)]);
}

base::Result<base::LogLevel> parse_log_level(std::string_view text) {
  const auto* const at = std::find(std::begin(kLogLevels), std::end(kLogLevels), text);
  if (at == std::end(kLogLevels)) {
    return fail(Code::kInvalid, "--log-level is debug, info, warn or error");
  }
  return static_cast<base::LogLevel>(at - std::begin(kLogLevels));
}

base::Result<std::int64_t> parse_cpus(std::string_view text) {
  const auto bad = [] {
    return fail(Code::kInvalid, "--cpus is a number from 0.001 to 4096, such as 2 or 1.5");
  };
  const std::size_t point = text.find('.');
  const std::string whole(text.substr(0, point));
  std::string part(point == std::string_view::npos ? "" : text.substr(point + 1));
  const auto digits = [](const std::string& s) {
    return std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (whole.empty() || whole.size() > 4 || part.size() > 3 || !digits(whole) || !digits(part) ||
      (point != std::string_view::npos && part.empty())) {
    return bad();
  }
  part.resize(3, '0');
  std::int64_t millis = 0;
  for (const char c : whole + part) millis = millis * 10 + (c - '0');
  if (millis < 1 || millis > kCpusMillisMax) return bad();
  return millis;
}

base::Result<std::uint64_t> parse_output_limit(std::string_view text) {
  if (text == "none") return std::uint64_t{0};
  std::uint64_t units = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), units);
  const auto unit = kSizeUnits.find(end != text.data() + text.size() ? *end : '?');
  const bool good =
      code == std::errc() && end + 1 == text.data() + text.size() && unit != std::string_view::npos;
  const std::size_t shift = good ? 20 + 10 * unit : 0;
  if (!good || units > kOutputLimitMax >> shift || units << shift < kOutputLimitMin) {
    return fail(Code::kInvalid,
                "--output-limit is a size from 8M to 1024T, such as 64M or 1G, or none");
  }
  return units << shift;
}

std::vector<std::string> daemon_arguments(const DaemonOptions& options) {
  std::vector<std::string> out = {"daemon"};
  if (options.paths.state_given) out.insert(out.end(), {"--state", options.paths.state_dir});
  for (const Option& option : options_with_values(options)) {
    if (!options.given.contains(option.name)) continue;
    for (const std::string& value : option.values) out.push_back("--" + option.name + "=" + value);
  }
  const auto flag = [&](const std::string& name, bool on) {
    if (options.given.contains(name)) out.push_back((on ? "--" : "--no-") + name);
  };
  flag("discovery", options.discovery);
  flag("allow-root-jobs", options.allow_root_jobs);
  return out;
}

std::vector<Setting> settings_of(const DaemonOptions& options) {
  const auto from = [&](const std::string& name) {
    if (options.given.contains(name)) return "command line";
    return options.from_file.contains(name) ? "tern.toml" : "default";
  };
  std::vector<Setting> out;
  out.push_back(
      {"state", options.paths.state_dir, options.paths.state_given ? "command line" : "default"});
  for (const Option& option : options_with_values(options)) {
    out.push_back({option.name, option.shown, from(option.name)});
  }
  out.push_back({"discovery", options.discovery ? "on" : "off", from("discovery")});
  out.push_back(
      {"allow-root-jobs", options.allow_root_jobs ? "on" : "off", from("allow-root-jobs")});
  return out;
}

}  // namespace control
