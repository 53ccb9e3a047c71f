// tern park, wake: jobs that rest on a disk.
#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr std::chrono::seconds kTrialPatience{60};  // large files may have to be hashed

std::string called(const control::Rest& rest) {
  return rest.node_name.empty() ? rest.node.substr(0, 8) : rest.node_name;
}

int show_parked(Context& context, const std::string& job, const std::string& data) {
  const auto rest = control::parse_rest(data);
  if (!rest) return report(context, rest.error());
  context.err.notice("parked " + job + " on " + called(*rest) + ": " + bytes_text(rest->bytes) +
                     ", " + bytes_text(rest->stored_bytes) + " on its disk, in " +
                     seconds_text(rest->frozen_micros));
  context.err.notice("It uses no memory now and survives a reboot; wake it: tern wake " + job);
  return 0;
}

int show_woken(Context& context, const std::string& job, const std::string& data) {
  const auto rest = control::parse_rest(data);
  if (!rest) return report(context, rest.error());
  if (rest->what.empty()) {  // it moved to wake there
    const auto handover = control::parse_handover(data);
    if (!handover) return report(context, handover.error());
    const std::string to = handover->to_name.empty() ? handover->to : handover->to_name;
    context.err.notice(job + " runs on " + to + " now; see it: tern ps");
    return 0;
  }
  context.err.notice(job + " runs on " + called(*rest) + " again; see it: tern ps");
  return 0;
}

int show_trial(Context& context, const std::string& job, const std::string& data,
               const std::string& what) {
  const auto trial = control::parse_trial(data);
  if (!trial) return report(context, trial.error());
  if (context.json) context.out.json(data);
  if (trial->obstacles.empty()) {
    context.err.notice("would " + what + " " + job + " on " + trial->from_name + "; do it: tern " +
                       what + " " + job);
    return 0;
  }
  for (const std::string& obstacle : trial->obstacles) {
    if (!context.json) context.out.write(escape_line(obstacle) + "\n");
  }
  context.err.notice("would not " + what + " " + job + "; it stays as it is");
  return static_cast<int>(control::Exit::kRefused);
}

int park(Context& context, const control::ParkRequest& request) {
  const auto job = control::check_reference(request.job);
  if (!job) return usage(context, job.error().detail);
  Ask how;
  if (request.dry_run) {
    how.patience = kTrialPatience;
    auto final = ask(context, request, how);
    if (!final) return report(context, final.error());
    return final->ok ? show_trial(context, request.job, final->data, "park")
                     : report(context, *final);
  }
  how.patience = std::nullopt;  // as long as the job is large
  return ask_and_show(
      context, request,
      [&](const std::string& data) { return show_parked(context, request.job, data); }, how);
}

int wake(Context& context, const control::WakeRequest& request) {
  const auto job = control::check_reference(request.job);
  if (!job) return usage(context, job.error().detail);
  const auto node = request.on ? control::check_reference(*request.on) : base::Status();
  if (!node) return usage(context, node.error().detail);
  Ask how;
  how.patience = std::nullopt;
  if (!request.dry_run) {
    return ask_and_show(
        context, request,
        [&](const std::string& data) { return show_woken(context, request.job, data); }, how);
  }
  how.patience = kTrialPatience;
  auto final = ask(context, request, how);
  if (!final) return report(context, final.error());
  if (!final->ok) return report(context, *final);
  const auto here = control::parse_kill(final->data);
  if (!here || here->node.empty()) return show_trial(context, request.job, final->data, "wake");
  if (context.json) context.out.json(final->data);
  context.err.notice("would wake " + request.job + " on " + here->node + "; do it: tern wake " +
                     request.job);
  return 0;
}

}  // namespace

void add_rest_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* park_app = add_command(
      root, context,
      {"park", "Put a running job to rest on its node's disk; frees its memory, survives a reboot",
       "tern park encode"});
  auto to_park = std::make_shared<control::ParkRequest>();
  park_app->add_option("JOB", to_park->job, "Id, its first digits, or name")->required();
  park_app->add_flag("--dry-run", to_park->dry_run,
                     "Only ask whether it could be parked: freezes nothing");
  commands.push_back({park_app, [to_park, &context] { return park(context, *to_park); }});

  auto* wake_app =
      add_command(root, context,
                  {"wake", "Run a parked or queued job now, where it rests or on another node",
                   "tern wake encode desktop"});
  auto to_wake = std::make_shared<control::WakeRequest>();
  auto on = std::make_shared<std::string>();
  wake_app->add_option("JOB", to_wake->job, "Id, its first digits, or name")->required();
  wake_app->add_option("NODE", *on, "Name or id (default: where it rests)");
  wake_app->add_flag("--dry-run", to_wake->dry_run, "Only say where it would run");
  commands.push_back({wake_app, [to_wake, on, &context] {
                        if (!on->empty()) to_wake->on = *on;
                        return wake(context, *to_wake);
                      }});
}

}  // namespace cli
