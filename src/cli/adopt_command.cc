// tern adopt: a job of what somebody else started.
#include <CLI/CLI.hpp>

#include "cli/adopt_text.h"
#include "cli/context.h"
#include "cli/text.h"
#include "control/adopt_notes.h"

namespace cli {
namespace {

constexpr std::chrono::seconds kTrialPatience{60};  // large files may have to be hashed

void notice_all(Context& context, const std::string& before,
                const std::vector<std::string>& sentences) {
  for (const std::string& sentence : sentences) {
    context.err.notice(before + escape_line(sentence));
  }
}

int show_adopted(Context& context, const std::string& data) {
  const auto report = control::parse_adopt(data);
  if (!report) return cli::report(context, report.error());
  notice_all(context, "it cannot move now: ", report->moving);
  context.out.write(report->job + "\n");
  context.err.notice("adopted " + std::to_string(report->pid) + " as the job " + report->name +
                     "; see it: tern ps, move it: tern migrate " + report->name);
  return 0;
}

int adopt(Context& context, const control::AdoptRequest& request) {
  const auto name = request.name ? control::check_name(*request.name) : base::Status();
  if (!name) return usage(context, name.error().detail);
  Ask how;
  if (!request.dry_run) {
    how.patience = std::nullopt;  // as long as it is large
    how.on_event = [&](const control::Event& event) { return show_adopt_notes(context, event); };
    return ask_and_show(
        context, request, [&](const std::string& data) { return show_adopted(context, data); },
        how);
  }
  how.patience = kTrialPatience;
  auto final = ask(context, request, how);
  if (!final) return report(context, final.error());
  return final->ok ? show_adopt_trial(context, final->data, "adopt") : report(context, *final);
}

}  // namespace

base::Status show_adopt_notes(Context& context, const control::Event& event) {
  const auto notes = control::parse_notes(event.json);
  if (!notes) return notes.error();
  if (!context.json) notice_all(context, "", *notes);
  return {};
}

int show_adopt_trial(Context& context, const std::string& data, const std::string& what) {
  const auto trial = control::parse_adopt(data);
  if (!trial) return report(context, trial.error());
  if (context.json) context.out.json(data);
  const std::string who = trial->command + " (" + std::to_string(trial->pid) + ")";
  std::vector<std::string> obstacles = trial->obstacles;
  const bool moves = what == "migrate";
  if (moves) obstacles.insert(obstacles.end(), trial->moving.begin(), trial->moving.end());
  for (const std::string& obstacle : obstacles) {
    if (!context.json) context.out.write(escape_line(obstacle) + "\n");
  }
  if (!obstacles.empty()) {
    context.err.notice("would not " + what + " " + who + "; it runs on as it does");
    return static_cast<int>(control::Exit::kRefused);
  }
  notice_all(context, "", trial->notes);
  if (!moves) notice_all(context, "it could not move then: ", trial->moving);
  context.err.notice("would adopt " + who +
                     (moves ? " first; which node takes it is asked then" : "") + "; do it: tern " +
                     what + " " + std::to_string(trial->pid));
  return 0;
}

void add_adopt_command(CLI::App& root, Context& context, Commands& commands) {
  auto* app = add_command(root, context,
                          {"adopt", "Make a job of a running process and its descendants",
                           "tern adopt 4711 --name encode"});
  auto request = std::make_shared<control::AdoptRequest>();
  auto name = std::make_shared<std::string>();
  app->add_option("PID", request->pid, "A process of the daemon's machine")
      ->required()
      ->check(CLI::Range(1, INT32_MAX));
  app->add_option("--name", *name, "What to call the job (default: its program's name)");
  app->add_flag("--leave-terminal", request->leave_terminal,
                "Of a program at a terminal: its input ends, what it shows goes to tern logs");
  app->add_flag("--dry-run", request->dry_run,
                "Only look: says what is in the way and what would change");
  commands.push_back({app, [request, name, &context] {
                        if (!name->empty()) request->name = *name;
                        return adopt(context, *request);
                      }});
}

}  // namespace cli
