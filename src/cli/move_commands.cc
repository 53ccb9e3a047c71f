// tern migrate, resolve, drain: where a job runs.
#include <CLI/CLI.hpp>

#include "cli/adopt_text.h"
#include "cli/context.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr std::chrono::seconds kTrialPatience{60};  // both ends may have to hash large files

// The obstacles are what was asked for: data, one a line.
int show_trial(Context& context, const control::MigrateRequest& request, const std::string& data) {
  if (data.starts_with("{\"pid\":")) return show_adopt_trial(context, data, "migrate");
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

// A process that was meant by its PID is a job now.
std::string name_of(const std::string& reference, const control::Handover& handover) {
  const bool number = reference.find_first_not_of("0123456789") == std::string::npos;
  return number && !handover.job.starts_with(reference) ? handover.job.substr(0, 8) : reference;
}

int show_handover(Context& context, const std::string& reference, const std::string& data) {
  const auto handover = control::parse_handover(data);
  if (!handover) return report(context, handover.error());
  const std::string job = name_of(reference, *handover);
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
  how.on_event = [&](const control::Event& event) { return show_adopt_notes(context, event); };
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
  Ask how;
  how.patience = std::nullopt;  // what rests there is woken, which takes as long as it is large
  return ask_and_show(
      context, control::ResolveRequest{job},
      [&](const std::string& data) {
        const auto node = control::parse_kill(data);
        if (!node) return report(context, node.error());
        context.err.notice(job + " runs on " + node->node + " again; see it: tern ps");
        return 0;
      },
      how);
}

void tell_files_wait(Context& context, const control::DrainReport& drain) {
  for (const auto& wait : drain.files_wait) {
    const std::string why = wait.why.empty() ? "it is on its way" : wait.why;
    context.err.notice(escape_line(wait.name + " (" + wait.job.substr(0, 8) +
                                   ") has ended here, and what it changed of its files is not on " +
                                   wait.home + " yet: " + why +
                                   "; this node goes on trying, and a drain does not wait for it"));
  }
}

// What is now, and what of the plan is not to be any more.
int show_drain_off(Context& context, bool dry_run, const control::DrainReport& drain) {
  for (const auto& job : drain.jobs) {
    const std::string now = job.to.empty()
                                ? "stays: " + job.why
                                : "goes on to " + job.to + ": its move has begun already";
    context.out.write(escape_line(job.name + " (" + job.job.substr(0, 8) + ") " + now) + "\n");
  }
  const bool was_on = drain.was_draining.value_or(true);
  if (dry_run) {
    context.err.notice(was_on ? "would end the drain; do it: tern drain --off" : "no drain is on");
    return 0;
  }
  context.err.notice(std::string(was_on ? "the drain is off; " : "no drain was on; ") +
                     (drain.no_guests.empty()
                          ? "this node takes guests, and nothing sends away the jobs here"
                          : "this node takes no guests all the same: " + drain.no_guests));
  return 0;
}

int show_drain(Context& context, const control::DrainRequest& request, const std::string& data) {
  const auto drain = control::parse_drain(data);
  if (!drain) return report(context, drain.error());
  if (request.off) return show_drain_off(context, request.dry_run, *drain);
  for (const auto& job : drain->jobs) {
    const std::string way = job.to.empty() ? "stays: " + job.why : "leaves for " + job.to;
    context.out.write(escape_line(job.name + " (" + job.job.substr(0, 8) + ") " + way) + "\n");
  }
  tell_files_wait(context, *drain);
  if (request.dry_run) {
    const std::string how = request.park ? "do it: tern drain --park" : "do it: tern drain";
    context.err.notice(drain->jobs.empty() ? "no job is here" : how);
  } else if (drain->jobs.empty()) {
    context.err.notice("no job is left here, and none comes until: tern drain --off" +
                       std::string(request.park ? "; what is parked here: tern ps" : ""));
  } else {
    context.err.notice(
        "this node is being drained and takes no guests; watch: tern ps, end it: "
        "tern drain --off");
  }
  return 0;
}

int drain(Context& context, const control::DrainRequest& request) {
  Ask how;
  how.patience = std::nullopt;  // as long as its jobs need; progress tells
  return ask_and_show(
      context, request, [&](const std::string& data) { return show_drain(context, request, data); },
      how);
}

}  // namespace

void add_move_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* migrate_app = add_command(
      root, context, {"migrate", "Move a running job now", "tern migrate encode laptop"});
  auto request = std::make_shared<control::MigrateRequest>();
  auto to = std::make_shared<std::string>();
  migrate_app
      ->add_option("JOB", request->job,
                   "Id, its first digits, or name; or the PID of a process, which is adopted first")
      ->required();
  migrate_app->add_option("NODE", *to, "Name or id, best or home (default: best)");
  migrate_app->add_flag("--tcp-close", request->tcp_close,
                        "This move may close the job's TCP connections, at both ends");
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

  auto* drain_app = add_command(
      root, context,
      {"drain", "Take no guests and send away the jobs that are here", "tern drain --no-wait"});
  auto drained = std::make_shared<control::DrainRequest>();
  drain_app->add_flag(
      "--off", drained->off,
      "End the drain: take guests again; until then the drain lasts, also over a restart");
  drain_app->add_flag(
      "--wait,!--no-wait", drained->wait,
      "Until nobody is left, saying for whom (default), or not; Ctrl-C ends the waiting alone");
  drain_app
      ->add_flag("--park", drained->park,
                 "Park jobs of this node that no other has room for, once the rest has left")
      ->excludes("--off");
  drain_app->add_flag("--dry-run", drained->dry_run, "Only say where each job would go");
  commands.push_back({drain_app, [drained, &context] { return drain(context, *drained); }});
}

}  // namespace cli
