#include "cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/text.h"

namespace cli {
namespace {

control::Environment read_environment() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  control::Environment out;
  out.uid = ::geteuid();
  out.home = variable("HOME");
  out.xdg_state_home = variable("XDG_STATE_HOME");
  out.xdg_runtime_dir = variable("XDG_RUNTIME_DIR");
  std::error_code error;
  const std::string sudo = variable("SUDO_UID");
  std::uint32_t uid = 0;
  const auto [end, failed] = std::from_chars(sudo.data(), sudo.data() + sudo.size(), uid);
  const bool whole = failed == std::errc() && end == sudo.data() + sudo.size();
  if (out.uid == 0 && whole && uid != 0 && uid != UINT32_MAX) out.sudo_uid = uid;
  out.current_dir = std::filesystem::current_path(error).string();
  return out;
}

// What the caller closed stays closed to us: were a descriptor of ours to get its number, a job's
// output or a notice would go into that. Reading finds the end, writing fails.
void hold_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)::open("/dev/null", O_RDONLY);
  }
}

// The command's own arguments are not ours to read: everything behind the first "--" of `tern run`.
std::vector<std::string> split_run(std::vector<std::string>& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  const auto run = std::find(arguments.begin(), dashes, "run");
  if (dashes == arguments.end() || run == dashes) return {};
  std::vector<std::string> behind(dashes + 1, arguments.end());
  arguments.erase(dashes, arguments.end());
  return behind;
}

// The first word that is no option: the command that is meant.
std::optional<std::string> command_word(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--state") {
      ++i;
    } else if (!arguments[i].starts_with('-')) {
      return arguments[i];
    }
  }
  return std::nullopt;
}

int unknown_command(Context& context, const std::string& word, const Commands& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  const std::string near = nearest(word, names);
  return usage(context,
               "there is no command \"" + clip(word, 40) + "\"" +
                   (near.empty() ? "; see: tern --help" : "; did you mean: tern " + near + "?"));
}

// What the parser made of a mistake. For join nothing of what was typed is repeated: it may be a
// ticket.
int wrong_usage(Context& context, const CLI::Error& error, const std::string& word) {
  std::string what = error.what();
  while (what.ends_with('\n') || what.ends_with('.')) what.pop_back();
  if (word == "join") what = "tern join takes no arguments but - and its options";
  return usage(context, what + "; see: tern " + (word.empty() ? "" : word + " ") + "--help");
}

int run_command(Context& context, const Command& command) {
  const auto paths = control::find_paths(context.state, context.environment);
  if (!paths) return usage(context, paths.error().detail);
  context.paths = *paths;
  const int exit = command.run();
  context.err.end_progress();
  if (context.out.status().ok()) return exit;
  context.err.notice(context.out.status().error().detail);
  return exit != 0 ? exit : static_cast<int>(control::Exit::kError);
}

// CLI11 leaves out both the program's name and that a command of one's own follows.
std::string help_of(const CLI::App& command) {
  std::string help = command.help("tern");
  constexpr std::string_view kOptions = " [OPTIONS]";
  const auto at = help.find(kOptions);
  if (command.get_prefix_command() && at != std::string::npos) {
    help.insert(at + kOptions.size(), " -- CMD [ARG]...");
  }
  return help;
}

int dispatch(CLI::App& root, Context& context, const Commands& commands,
             std::vector<std::string> arguments) {
  context.behind_dashes = split_run(arguments);
  const std::string word = command_word(arguments).value_or("");
  const auto known = std::find_if(commands.begin(), commands.end(), [&](const Command& command) {
    return command.app->get_name() == word;
  });
  if (!word.empty() && known == commands.end()) return unknown_command(context, word, commands);
  try {
    std::reverse(arguments.begin(), arguments.end());  // as the parser wants them
    root.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    context.out.write(known == commands.end() ? root.help() : help_of(*known->app));
    return 0;
  } catch (const CLI::CallForVersion&) {
    context.out.write("tern " TERN_VERSION "\n");
    return 0;
  } catch (const CLI::Error& error) {
    return wrong_usage(context, error, word);
  }
  if (known == commands.end()) {
    context.err.write(root.help());
    return kUsageExit;
  }
  return run_command(context, *known);
}

}  // namespace

CLI::App* add_command(CLI::App& root, Context& context, const CommandText& text) {
  CLI::App* app = root.add_subcommand(text.name, text.summary);
  app->footer(std::string("Example:\n  ") + text.example);

  app->add_option("--state", context.state, "Folder of the node that is meant");
  if (text.shows) app->add_flag("--json", context.json, "Print JSON, for scripts");
  return app;
}

int run_cli(int argc, char** argv, const Hooks& hooks) {
  hold_standard_descriptors();
  Context context{hooks, read_environment(), {}, false, {}, {}};
  CLI::App root("Work moves from the busy machine to the idle one, live.", "tern");
  root.set_version_flag("--version", std::string("tern ") + TERN_VERSION);
  root.add_option("--state", context.state, "Folder of the node that is meant");
  root.require_subcommand(0, 1);
  root.footer(
      "`tern COMMAND --help` has an example.\n"
      "Example:\n  tern up && tern run -- make -j8\n"
      "Exit codes: 0 done, 1 error, 2 wrong usage, 3 no daemon, 4 peer unreachable, 5 refused, "
      "6 nothing fits.");
  Commands commands;
  add_mesh_commands(root, context, commands);
  add_look_commands(root, context, commands);
  add_job_commands(root, context, commands);
  add_move_commands(root, context, commands);
  add_share_commands(root, context, commands);
  add_throttle_command(root, context, commands);
  add_rest_commands(root, context, commands);
  add_adopt_command(root, context, commands);
  add_doctor_command(root, context, commands);
  add_daemon_commands(root, context, commands);
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  return dispatch(root, context, commands, std::move(arguments));
}

}  // namespace cli
