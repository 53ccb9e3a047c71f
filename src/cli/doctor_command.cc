// tern doctor: what this machine lacks, and the command that mends it.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/daemon_flags.h"
#include "cli/text.h"

namespace cli {
namespace {

int doctor(Context& context) {
  auto options = stored_options(context);
  std::vector<control::Check> checks;
  const std::string file = context.paths.settings_file();
  if (options) {
    const bool none = options->from_file.empty();
    checks.push_back({"settings", true, none ? "defaults; " + file + " sets others" : file, ""});
  } else {
    checks.push_back({"settings", false, options.error().detail + ": no daemon starts", ""});
    options = control::DaemonOptions{};
    options->paths = context.paths;
  }
  for (control::Check& check : context.hooks.examine(*options)) checks.push_back(std::move(check));
  const auto missing = std::count_if(checks.begin(), checks.end(),
                                     [](const control::Check& check) { return !check.ok; });
  if (context.json) {
    context.out.json(control::checks_to_json(checks));
  } else {
    Table table({{""}, {"NEEDED"}, {"HERE", Align::kLeft, /*shrinks=*/true}});
    for (const control::Check& check : checks) {
      const Cell found = !check.ok    ? Cell("missing", Colour::kRed)
                         : check.note ? Cell("note", Colour::kYellow)
                                      : Cell("ok", Colour::kGreen);
      table.row({found, check.name, check.detail});
    }
    context.out.write(table.render(context.out.style()));
    for (const control::Check& check : checks) {
      if (check.ok || check.mend.empty()) continue;
      context.err.notice(check.name + ": " + check.mend);
    }
  }
  if (missing == 0) return 0;
  context.err.notice(std::to_string(missing) + " of " + std::to_string(checks.size()) +
                     " are missing");
  return static_cast<int>(control::Exit::kError);
}

}  // namespace

void add_doctor_command(CLI::App& root, Context& context, Commands& commands) {
  commands.push_back({add_command(root, context,
                                  {"doctor", "What running and moving jobs needs of this machine",
                                   "sudo tern doctor"}),
                      [&context] { return doctor(context); }});
}

}  // namespace cli
