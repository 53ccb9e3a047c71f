#include "control/daemon_options.h"

#include <algorithm>

namespace control {
namespace {

using base::Code;
using base::Endpoint;
using base::fail;

constexpr std::int64_t kCpusMillisMax = 4096 * 1000;

constexpr std::string_view kLoadSources[] = {"auto", "system", "cgroup"};
constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};

std::string load_source_text(LoadSource source) {
  return std::string(kLoadSources[static_cast<std::size_t>(source)]);
}
std::string log_level_text(base::LogLevel level) {
  return std::string(kLogLevels[static_cast<std::size_t>(level)]);
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
  return {optional_text("name", options.name),
          always("listen", options.listen.text()),
          {"peer", peers, joined(peers)},
          always("load-source", load_source_text(options.load_source)),
          always("load-window", std::to_string(options.load_window_seconds)),
          optional_text("cgroup", options.cgroup),
          optional_text("criu", options.criu),
          {"policy-uids", uids, joined(uids)},
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
