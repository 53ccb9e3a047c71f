// tern daemon, and the options that it shares with tern up.
#include <CLI/CLI.hpp>
#include <tuple>

#include "cli/daemon_flags.h"

namespace cli {
namespace {

// A path as it is meant from here, since the daemon leaves this folder.
std::string absolute(const std::string& path, const Context& context) {
  return path.starts_with('/') ? path : context.environment.current_dir + "/" + path;
}

base::Status fill_checked(control::DaemonOptions& options, const DaemonFlags& flags) {
  if (options.given.contains("name")) {
    const auto checked = control::check_name(flags.name);
    if (!checked) return base::fail(base::Code::kInvalid, "--name: " + checked.error().detail);
    options.name = flags.name;
  }
  if (options.given.contains("listen")) {
    const auto listen = control::parse_listen(flags.listen);
    if (!listen) return listen.error();
    options.listen = *listen;
  }
  for (const std::string& text : flags.peers) {
    const auto peer = control::parse_peer(text);
    if (!peer) return peer.error();
    options.peers.push_back(*peer);
  }
  if (options.given.contains("load-source")) {
    const auto source = control::parse_load_source(flags.load_source);
    if (!source) return source.error();
    options.load_source = *source;
  }
  for (const auto& [name, said, to] :
       {std::tuple("owner-active", &flags.owner_active, &options.owner_active),
        std::tuple("on-battery", &flags.on_battery, &options.on_battery),
        std::tuple("battery-low", &flags.battery_low, &options.battery_low),
        std::tuple("on-metered", &flags.on_metered, &options.on_metered),
        std::tuple("on-sleep", &flags.on_sleep, &options.on_sleep)}) {
    if (!options.given.contains(name)) continue;
    const auto word = control::parse_yield_word(*said);
    if (!word) {
      return base::fail(base::Code::kInvalid,
                        "--" + std::string(name) + ": " + word.error().detail);
    }
    *to = *word;
  }
  if (options.given.contains("share")) {
    const auto share = control::parse_share_policy(flags.share);
    if (!share) return share.error();
    options.share = *share;
  }
  if (options.given.contains("output-limit")) {
    const auto limit = control::parse_output_limit(flags.output_limit);
    if (!limit) return limit.error();
    options.output_limit_bytes = *limit;
  }
  if (options.given.contains("log-level")) {
    const auto level = control::parse_log_level(flags.log_level);
    if (!level) return level.error();
    options.log_level = *level;
  }
  if (options.given.contains("cpus")) {
    const auto cpus = control::parse_cpus(flags.cpus);
    if (!cpus) return cpus.error();
    options.cpus_millis = *cpus;
  }
  if (options.given.contains("cgroup")) {
    const auto checked = control::check_name(flags.cgroup);
    if (!checked) return base::fail(base::Code::kInvalid, "--cgroup: " + checked.error().detail);
    options.cgroup = flags.cgroup;
  }
  return {};
}

}  // namespace

std::shared_ptr<DaemonFlags> add_daemon_flags(CLI::App* app) {
  auto flags = std::make_shared<DaemonFlags>();
  DaemonFlags& f = *flags;
  f.app = app;
  app->add_option("--name", f.name, "Name of this node (default: the host's)");
  app->add_option("--listen", f.listen, "ADDR:PORT, UDP and TCP (default: :7333; :0 picks one)");
  app->add_option("--peer", f.peers, "ADDR:PORT of another node; may be given several times")
      ->allow_extra_args(false);
  app->add_flag("--discovery,!--no-discovery", f.discovery,
                "Reserved: this version looks for nobody by itself, see --peer and tern join");
  app->add_option(
      "--load-source", f.load_source,
      "system, cgroup (of this node's own subtree), or auto: cgroup where a quota or "
      "affinity takes CPUs away, else system; say cgroup in a container without a quota "
      "and for several nodes on one machine");
  app->add_option("--load-window", f.load_window_seconds, "Seconds that the load is averaged over")
      ->check(CLI::Range(std::int64_t{1}, control::kLoadWindowSecondsMax));
  app->add_option("--cgroup", f.cgroup, "Name of this node's own cgroup subtree");
  app->add_option("--criu", f.criu, "Path of the criu program");
  app->add_flag("--allow-root-jobs,!--no-allow-root-jobs", f.allow_root_jobs,
                "Let foreign jobs run as root here, or not (default: no)");
  app->add_option("--policy-uids", f.policy_uids, "Users, by uid, whose foreign jobs may run here")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--owner-active", f.owner_active,
                  "While somebody types at a terminal of this machine, uses its keyboard, mouse or "
                  "touch screen, or works at its desktop: nothing (default), refuse guests, "
                  "throttle, pause or send-home those here, or drain it of all jobs");
  app->add_option("--on-battery", f.on_battery,
                  "The same while it runs on battery (default: refuse)");
  app->add_option("--battery-low", f.battery_low, "And when that is low (default: drain)");
  app->add_option("--on-metered", f.on_metered,
                  "The same while NetworkManager says that its network is metered (default: "
                  "refuse)");
  app->add_option("--on-sleep", f.on_sleep,
                  "And when it is about to sleep or to shut down, which waits for who leaves as "
                  "long as logind allows, 30 s at most (default: send-home)");
  app->add_option("--share", f.share, "Take files of other nodes: yes, no or ask (default: yes)");
  app->add_option("--inbox", f.inbox, "Folder that they come into (default: inbox in the state)");
  app->add_option("--output-limit", f.output_limit,
                  "Keep so much of each job's output, such as 64M (default: 1G); none: all");
  app->add_option("--log-level", f.log_level, "debug, info, warn or error");
  app->add_option("--log-file", f.log_file, "Log to this file instead of standard error");
  app->add_option("--cpus", f.cpus, "Count this many CPUs instead of those seen, such as 1.5");
  return flags;
}

base::Result<control::DaemonOptions> daemon_options(const DaemonFlags& flags,
                                                    const Context& context) {
  control::DaemonOptions options;
  options.paths = context.paths;
  for (const CLI::Option* option : flags.app->get_options()) {
    if (option->count() > 0) options.given.insert(option->get_single_name());
  }
  options.given.erase("state");
  options.given.erase("json");
  const auto status = fill_checked(options, flags);
  if (!status) return status.error();
  options.discovery = flags.discovery;
  options.load_window_seconds = flags.load_window_seconds;
  options.allow_root_jobs = flags.allow_root_jobs;
  options.policy_uids = flags.policy_uids;
  if (!flags.criu.empty()) options.criu = absolute(flags.criu, context);
  if (!flags.inbox.empty()) options.inbox = absolute(flags.inbox, context);
  if (!flags.log_file.empty()) options.log_file = absolute(flags.log_file, context);
  const auto added = add_settings(options);
  if (!added) return added.error();
  return options;
}

void add_daemon_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* app = add_command(root, context,
                          {"daemon", "The node itself, in the foreground",
                           "tern daemon --state ~/node2 --listen :7444 --peer 192.0.2.7:7333",
                           /*shows=*/false});
  const auto flags = add_daemon_flags(app);
  commands.push_back({app, [flags, &context] {
                        const auto options = daemon_options(*flags, context);
                        if (!options) return report_options(context, options.error());
                        return context.hooks.run_daemon(*options);
                      }});
}

}  // namespace cli
