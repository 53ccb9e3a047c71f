// tern migrate, resolve: where a job runs.
#include <CLI/CLI.hpp>

#include "cli/context.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr std::chrono::seconds kTrialPatience{60};  // both ends may have to hash large files

// The obstacles are what was asked for: data, one a line.
int show_trial(Context& context, const control::MigrateRequest& request, const std::string& data) {
  const auto trial = control::parse_trial(data);
  if (!trial) return report(context, trial.error());
  const std::string to = trial->to_name.empty() ? "another node" : trial->to_name;
  const std::string way = request.job + " from " + trial->from_name + " to " + to;
  if (context.json) context.out.json(data);
  if (trial->obstacles.empty()) {
    context.err.notice("would move " + way + "; do it: tern migrate " + request.job + " " + to);
    return 0;
  }
  for (const std::string& obstacle : trial->obstacles) {
    if (!context.json) context.out.write(escape_line(obstacle) + "\n");
  }
  context.err.notice("would not move " + way + "; it runs on where it is");
  return static_cast<int>(control::Exit::kRefused);
}

int try_migrate(Context& context, const control::MigrateRequest& request) {
  Ask how;
  how.patience = kTrialPatience;
  auto final = ask(context, request, how);
  if (!final) return report(context, final.error());
  return final->ok ? show_trial(context, request, final->data) : report(context, *final);
}

// What people call a node; of an older daemon's answer the beginning of its id.
std::string called(const std::string& name, const std::string& id) {
  return name.empty() ? id.substr(0, 8) : name;
}

int show_handover(Context& context, const std::string& job, const std::string& data) {
  const auto handover = control::parse_handover(data);
  if (!handover) return report(context, handover.error());
  const std::string from = called(handover->from_name, handover->from);
  const std::string way = job + " from " + from + " to " + called(handover->to_name, handover->to);
  context.err.notice("moved " + way + ": " + bytes_text(handover->bytes) + ", frozen for " +
                     seconds_text(handover->frozen_micros));
  context.err.notice("Its output goes on where it was; move it back: tern migrate " + job + " " +
                     from);
  return 0;
}

int migrate(Context& context, const control::MigrateRequest& request) {
  const auto job = control::check_reference(request.job);
  if (!job) return usage(context, job.error().detail);
  const auto node = request.to ? control::check_reference(*request.to) : base::Status();
  if (!node) return usage(context, node.error().detail);
  if (request.dry_run) return try_migrate(context, request);
  Ask how;
  how.patience = std::nullopt;  // as long as the job is large; progress tells
  return ask_and_show(
      context, request,
      [&](const std::string& data) { return show_handover(context, request.job, data); }, how);
}

int resolve(Context& context, const std::string& job, bool run_here) {
  const auto checked = control::check_reference(job);
  if (!checked) return usage(context, checked.error().detail);
  if (!run_here) {
    return usage(context,
                 "only you can know that the other copy is gone for good; if it is, say so with: "
                 "tern resolve " +
                     job + " --run-here");
  }
  return ask_and_show(context, control::ResolveRequest{job}, [&](const std::string& data) {
    const auto node = control::parse_kill(data);
    if (!node) return report(context, node.error());
    context.err.notice(job + " runs on " + node->node + " again; see it: tern ps");
    return 0;
  });
}

}  // namespace

void add_move_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* migrate_app = add_command(
      root, context, {"migrate", "Move a running job now", "tern migrate encode laptop"});
  auto request = std::make_shared<control::MigrateRequest>();
  auto to = std::make_shared<std::string>();
  migrate_app->add_option("JOB", request->job, "Id, its first digits, or name")->required();
  migrate_app->add_option("NODE", *to, "Name or id, best or home (default: best)");
  migrate_app->add_flag("--dry-run", request->dry_run,
                        "Only ask whether it could move: freezes nothing; says what is in the way");
  commands.push_back({migrate_app, [request, to, &context] {
                        if (!to->empty()) request->to = *to;
                        return migrate(context, *request);
                      }});

  auto* resolve_app =
      add_command(root, context,
                  {"resolve", "Run a job in doubt here: your word that its other copy is gone",
                   "tern resolve encode --run-here"});
  auto job = std::make_shared<std::string>();
  auto run_here = std::make_shared<bool>(false);
  resolve_app->add_option("JOB", *job, "Id, its first digits, or name")->required();
  resolve_app->add_flag("--run-here", *run_here, "The other copy is gone for good");
  commands.push_back(
      {resolve_app, [job, run_here, &context] { return resolve(context, *job, *run_here); }});
}

}  // namespace cli
