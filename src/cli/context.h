// What every command has: where the daemon is, where output goes, and how one asks the daemon.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/connection.h"
#include "cli/screen.h"
#include "control/paths.h"
#include "control/report.h"
#include "control/request.h"
#include "control/response.h"

namespace CLI {
class App;
}

namespace cli {

inline constexpr int kUsageExit = static_cast<int>(control::Exit::kUsage);

struct Context {
  const Hooks& hooks;
  control::Environment environment;
  std::optional<std::string> state;        // --state
  bool json = false;                       // --json, of the command that runs
  control::Paths paths;                    // set before a command runs
  std::vector<std::string> behind_dashes;  // what stood behind -- of tern run
  Screen out{1};
  Screen err{2};
};

struct Command {
  CLI::App* app;
  std::function<int()> run;  // the exit code
};
using Commands = std::vector<Command>;

// Each adds its group of commands; `context` outlives them.
void add_mesh_commands(CLI::App& root, Context& context, Commands& commands);
void add_job_commands(CLI::App& root, Context& context, Commands& commands);
void add_move_commands(CLI::App& root, Context& context, Commands& commands);
void add_share_commands(CLI::App& root, Context& context, Commands& commands);
void add_throttle_command(CLI::App& root, Context& context, Commands& commands);
void add_rest_commands(CLI::App& root, Context& context, Commands& commands);
void add_adopt_command(CLI::App& root, Context& context, Commands& commands);
void add_look_commands(CLI::App& root, Context& context, Commands& commands);
void add_doctor_command(CLI::App& root, Context& context, Commands& commands);
void add_daemon_commands(CLI::App& root, Context& context, Commands& commands);

// A subcommand with --state, and --json where it shows something; its help ends with `example`.
struct CommandText {
  const char* name;
  const char* summary;
  const char* example;
  bool shows = true;
};
CLI::App* add_command(CLI::App& root, Context& context, const CommandText& text);

// ---- asking

// To the daemon at context.paths.socket or, where none answers there, to the system's
// (control/paths.h); context.paths says from then on which one it is.
base::Result<Connection> connect(Context& context);
// It is the system's daemon that answered, to somebody who is not root.
[[nodiscard]] bool is_systems(const Context& context);

inline constexpr std::chrono::seconds kPatience{30};

struct Ask {
  // Patience between two lines; absent for what may rightly take long.
  std::optional<std::chrono::milliseconds> patience = kPatience;
  // False ends the asking, with an empty final answer.
  std::function<base::Status(const control::Event&)> on_event;
};
// The final answer, whether ok or not. kUnreachable: no daemon.
base::Result<control::Final> ask(Context& context, const control::Request& request,
                                 const Ask& how = {});

// The same on a connection that is open already.
base::Result<control::Final> ask_on(Context& context, Connection& connection,
                                    const control::Request& request, const Ask& how);

// Says what went wrong and what to do next; returns the exit code.
int report(Context& context, const base::Error& error);
int report(Context& context, const control::Final& final);
// A mistake in how the command was written.
int usage(Context& context, std::string_view sentence);

// Asks, reports trouble, and shows the data: as it came with --json, that of a failure too, else
// with `show`.
template <typename Show>
int ask_and_show(Context& context, const control::Request& request, Show show,
                 const Ask& how = {}) {
  auto final = ask(context, request, how);
  if (!final) return report(context, final.error());
  if (!final->ok) {
    if (context.json && !final->data.empty()) context.out.json(final->data);
    return report(context, *final);
  }
  if (!context.json) return show(final->data);
  context.out.json(final->data);
  return 0;
}

}  // namespace cli
