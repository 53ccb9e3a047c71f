// tern up, down, invite, join: belonging to a mesh.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "cli/daemon_flags.h"
#include "cli/starter.h"
#include "cli/text.h"
#include "cli/ticket_input.h"

namespace cli {
namespace {

constexpr std::chrono::seconds kStopPatience{60};

std::string minutes(std::uint64_t seconds) {
  return seconds % 60 == 0 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
}

// What a person would else find out when a job does not start or move.
void say_what_is_missing(Context& context, const control::Ping& ping) {
  if (!ping.no_jobs.empty()) {
    context.err.notice("no jobs run here: " + ping.no_jobs);
  } else if (!ping.no_criu.empty()) {
    context.err.notice("jobs run here but move neither away nor to here: " + ping.no_criu);
  }
}

int show_up(Context& context, const std::optional<std::string>& name, const std::string& data) {
  const auto ping = control::parse_ping(data);
  if (!ping) return report(context, ping.error());
  if (name && *name != ping->name && !ping->created.value_or(false)) {
    context.err.notice("its name stays " + ping->name + ": it is in its certificate");
  }
  const std::string mesh = ping->mesh ? ping->mesh->name : "?";
  context.err.notice(ping->created.value_or(false)
                         ? "made the mesh " + mesh + "; this node is " + ping->name
                         : "this node is " + ping->name + " in the mesh " + mesh);
  say_what_is_missing(context, *ping);
  context.err.notice("Invite another machine: tern invite");
  return 0;
}

// Whoever is not root uses the machine's daemon, and cannot change what it belongs to.
int show_systems(Context& context, const control::Ping& ping) {
  if (!ping.member) {
    context.err.notice("this machine's daemon runs but belongs to no mesh yet");
    context.err.notice("Make one: sudo tern up, or join one: sudo tern join");
    return static_cast<int>(control::Exit::kRefused);
  }
  if (context.json) context.out.json(control::to_json(ping));
  context.err.notice("this machine's daemon runs: " + ping.name + " in the mesh " +
                     (ping.mesh ? ping.mesh->name : "?"));
  say_what_is_missing(context, ping);
  context.err.notice("Run a job: tern run -- COMMAND. A node of your own: tern up --state DIR");
  return 0;
}

int up(Context& context, const DaemonFlags& flags) {
  const auto options = daemon_options(flags, context);
  if (!options) return report_options(context, options.error());
  const auto started = ensure_daemon(context, *options);
  if (!started) return report(context, started.error());
  if (is_systems(context)) return show_systems(context, started->ping);
  if (started->started) {
    context.err.notice("started the daemon (pid " + std::to_string(started->ping.pid) +
                       "); its log is " + context.paths.log_file());
  } else if (options->given.size() > options->given.count("name")) {
    context.err.notice("the daemon ran already, with its own options; tern down stops it");
  }
  return ask_and_show(context, control::UpRequest{options->name}, [&](const std::string& data) {
    return show_up(context, options->name, data);
  });
}

// Until the process that answered is gone, so that `tern down && tern up` never meets it.
void wait_for_end(pid_t pid) {
  if (pid <= 0) return;
  const machine::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  if (!process.valid()) return;
  pollfd ended{process.get(), POLLIN, 0};
  const auto patience = std::chrono::milliseconds(kStopPatience).count();
  (void)::poll(&ended, 1, static_cast<int>(patience));
}

int down(Context& context) {
  auto connection = connect(context);
  if (!connection) return report(context, connection.error());
  const pid_t daemon = connection->peer_pid();
  Ask how;
  how.patience = kStopPatience;
  auto final = ask_on(context, *connection, control::DownRequest{}, how);
  if (!final) return report(context, final.error());
  if (!final->ok) return report(context, *final);
  const auto left = control::parse_down(final->data);
  if (!left) return report(context, left.error());
  wait_for_end(daemon);
  if (context.json) context.out.json(final->data);
  const std::uint64_t jobs = left->jobs_left_running;
  context.err.notice(jobs == 0 ? "stopped; no jobs were left running here"
                               : "stopped; jobs that go on without it: " + std::to_string(jobs));
  if (const std::uint64_t wait = left->files_wait; wait > 0) {
    context.err.notice("what " + (wait == 1 ? "a job" : std::to_string(wait) + " jobs") +
                       " that ended here changed of its files waits here for its home, until this "
                       "daemon runs again");
  }
  context.err.notice("Start it again: tern up");
  return 0;
}

int show_ticket(Context& context, const std::string& data) {
  const auto invite = control::parse_invite(data);
  if (!invite) return report(context, invite.error());
  context.out.write((context.out.is_terminal() ? escape_line(invite->ticket) : invite->ticket) +
                    "\n");
  context.err.notice("this ticket lets one machine in, once, within " +
                     minutes(invite->expires_in_seconds));
  context.err.notice("On the other machine: tern join, then paste it");
  return 0;
}

int show_joined(Context& context, const std::string& data) {
  const auto join = control::parse_join(data);
  if (!join) return report(context, join.error());
  context.err.notice("joined the mesh " + join->mesh.name + "; this node is " + join->name);
  if (join->trusted_uid) {
    context.err.notice(
        *join->trusted_uid == 0
            ? "--trust is for users: root's jobs run here only with allow-root-jobs = true in " +
                  context.paths.settings_file()
            : "jobs of uid " + std::to_string(*join->trusted_uid) +
                  " on the other nodes may run here");
  }
  context.err.notice("See who is there: tern status");
  return 0;
}

int join(Context& context, const std::vector<std::string>& arguments, bool trust) {
  if (!(arguments.empty() || (arguments.size() == 1 && arguments[0] == "-"))) {
    return usage(context,
                 "a ticket is never an argument, where others on this machine can read it: type "
                 "tern join and paste it, or pipe it into tern join -");
  }
  const auto options = stored_options(context);
  if (!options) return report_options(context, options.error());
  auto ticket = read_ticket(context.err);
  if (!ticket) {
    if (ticket.error().code == base::Code::kStale) return 128 + SIGINT;
    return usage(context, ticket.error().detail);
  }
  const auto started = ensure_daemon(context, *options);
  if (!started) return report(context, started.error());
  control::JoinRequest request;
  request.ticket = *std::move(ticket);
  request.trust = trust;
  if (trust) request.trust_uid = context.environment.sudo_uid;
  Ask how;
  how.patience = kStopPatience;  // the inviter may be far
  return ask_and_show(
      context, control::Request(std::move(request)),
      [&](const std::string& data) { return show_joined(context, data); }, how);
}

}  // namespace

void add_mesh_commands(CLI::App& root, Context& context, Commands& commands) {
  auto* up_app = add_command(
      root, context,
      {"up", "Start the daemon if none runs; make a mesh on first use", "tern up --name desk"});
  const auto flags = add_daemon_flags(up_app);
  commands.push_back({up_app, [flags, &context] { return up(context, *flags); }});

  auto* down_app =
      add_command(root, context, {"down", "Stop the daemon; jobs go on without it", "tern down"});
  commands.push_back({down_app, [&context] { return down(context); }});

  auto* invite_app =
      add_command(root, context,
                  {"invite", "Print a ticket that lets one machine in", "tern invite --minutes 5"});
  auto wanted = std::make_shared<control::InviteRequest>();
  auto minutes_wanted = std::make_shared<std::uint32_t>(control::kInviteSecondsDefault / 60);
  invite_app->add_option("--minutes", *minutes_wanted, "How long it is good for (default: 15)")
      ->check(CLI::Range(1U, control::kInviteSecondsMax / 60));
  invite_app->add_flag("--inviter", wanted->inviter, "The new member may invite others itself");
  commands.push_back({invite_app, [wanted, minutes_wanted, &context] {
                        wanted->seconds = *minutes_wanted * 60;
                        return ask_and_show(context, *wanted, [&](const std::string& data) {
                          return show_ticket(context, data);
                        });
                      }});

  auto* join_app = add_command(
      root, context,
      {"join", "Join a mesh with a ticket, which is asked for or read from standard input",
       "ssh desk tern invite | tern join --trust -"});
  auto arguments = std::make_shared<std::vector<std::string>>();
  auto trust = std::make_shared<bool>(false);
  join_app->add_option("STDIN", *arguments, "-: read the ticket from standard input");
  join_app->add_flag("--trust", *trust,
                     "You are the same person on the other nodes: your jobs there may run here");
  commands.push_back(
      {join_app, [arguments, trust, &context] { return join(context, *arguments, *trust); }});
}

}  // namespace cli
