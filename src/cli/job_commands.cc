// tern run, attach, logs, ps, kill: jobs and what they print.
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <tuple>

#include "cli/session.h"
#include "cli/text.h"

namespace cli {
namespace {

constexpr std::size_t kBesideShown = 3;  // of each job, by tern ps

std::string brief(const std::string& id) { return id.substr(0, 8); }

control::RunRequest run_request(const Context& context) {
  control::RunRequest request;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    // Shells may pass odd entries on; the kernel does not mind them, a job does not miss them.
    const std::string_view entry = *variable;
    const std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos && equals > 0) request.env.emplace_back(entry);
  }
  request.cwd = context.environment.current_dir;
  const mode_t mask = ::umask(022);
  (void)::umask(mask);
  request.umask = mask & 0777U;
  return request;
}

// As the kernel calls it, so that no link is in its way when it is looked for elsewhere.
base::Result<std::string> real_folder(const std::string& named) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(named.c_str(), nullptr),
                                                         &std::free);
  struct stat info {};
  if (!real || ::stat(real.get(), &info) != 0) {
    return base::fail(base::Code::kNotFound, "--dir: there is no folder " + escape_line(named));
  }
  if (!S_ISDIR(info.st_mode)) {
    return base::fail(base::Code::kInvalid, "--dir: " + escape_line(named) + " is no folder");
  }
  return std::string(real.get());
}

// What our standard input is to a job.
control::JobInput input_of(bool tty, bool nothing) {
  if (tty) return control::JobInput::kTerminal;
  struct stat input = {};
  struct stat null = {};
  if (nothing || ::fstat(0, &input) != 0) return control::JobInput::kNothing;
  const bool is_null =
      S_ISCHR(input.st_mode) && ::stat("/dev/null", &null) == 0 && input.st_rdev == null.st_rdev;
  return is_null ? control::JobInput::kNothing : control::JobInput::kPipe;
}

control::Request attach_request(const std::string& job, const std::array<std::uint64_t, 2>& from) {
  return control::AttachRequest{job, from};
}

int follow_run(Context& context, const control::RunReport& job, control::JobInput kind,
               SignalWatch& signals) {
  SessionPlan plan;
  std::optional<InputPump> input;
  if (kind != control::JobInput::kNothing)
    plan.input = &input.emplace(context, job.job, kind == control::JobInput::kTerminal);
  plan.ends_with_reader = true;
  plan.request = attach_request;
  plan.job = job.job;
  plan.signals = &signals;
  plan.exits_as_job = true;
  plan.known_to_run = true;
  plan.failure = control::kExitRunFailed;
  return follow_output(context, plan);
}

int try_run(Context& context, const control::RunRequest& request) {
  return ask_and_show(context, request, [&](const std::string& data) {
    const auto where = control::parse_kill(data);
    if (!where) return report(context, where.error());
    if (where->node == "the queue") {
      context.err.notice("would queue " + escape_line(request.argv[0]) +
                         ": this node is busy and no idle one has room; start it at once with: "
                         "tern run --on here");
      return 0;
    }
    const bool moves = request.on.value_or("here") != "here";
    context.err.notice("would run " + escape_line(request.argv[0]) +
                       (moves ? " here and move it at once to " : " on ") +
                       (where->node == "best" ? "the best node" : where->node));
    return 0;
  });
}

int run(Context& context, const control::RunRequest& request, bool detach) {
  const bool tty = request.input == control::JobInput::kTerminal;
  const auto checked = [&, json = context.json]() -> base::Status {
    if (request.argv.empty())
      return base::fail(base::Code::kInvalid,
                        "tern run needs a command, such as: tern run -- make -j8");
    if (json && !request.dry_run && !detach)
      return base::fail(base::Code::kInvalid,
                        "tern run prints what the job prints; --json needs --detach or --dry-run");
    if (tty && !detach && !request.dry_run && ::isatty(0) != 1)
      return base::fail(base::Code::kInvalid,
                        "tern run --tty needs a terminal as its standard input");
    if (request.name) return control::check_name(*request.name);
    if (request.on) return control::check_reference(*request.on);
    return {};
  }();
  if (!checked) return usage(context, checked.error().detail);
  if (request.dry_run) return try_run(context, request);
  // From before the job exists, so that no Ctrl-C falls between: it waits and then means the job.
  std::optional<SignalWatch> signals;
  if (!detach) signals.emplace(tty);
  auto final = ask(context, request);
  if (!final) {
    (void)report(context, final.error());
    return control::kExitRunFailed;
  }
  if (!final->ok) {
    (void)report(context, *final);
    return control::kExitRunFailed;
  }
  const auto job = control::parse_run(final->data);
  if (!job || !control::check_reference(job->job)) {
    context.err.notice("the tern daemon's answer makes no sense");
    return control::kExitRunFailed;
  }
  if (detach) {
    if (context.json) {
      context.out.json(final->data);
    } else {
      context.out.write(job->job + (job->name.empty() ? "" : " " + escape_line(job->name)) + "\n");
    }
    context.err.notice(std::string(job->queued ? "taken" : "started") + "; its output: tern logs " +
                       brief(job->job) + " -f; move it: tern migrate " + brief(job->job));
    return 0;
  }
  if (context.err.is_terminal() && !job->queued) {
    context.err.notice("job " + brief(job->job) + " started" +
                       (tty ? "; Ctrl-] q detaches from it" : ""));
  }
  return follow_run(context, *job, request.input, *signals);
}

int attach(Context& context, const std::string& job, bool feeds) {
  SignalWatch signals(feeds);
  SessionPlan plan;
  std::optional<InputPump> input;
  if (feeds) plan.input = &input.emplace(context, job);
  plan.request = attach_request;
  plan.job = job;
  plan.signals = &signals;
  plan.exits_as_job = true;
  return follow_output(context, plan);
}

int logs(Context& context, const control::LogsRequest& wanted) {
  SessionPlan plan;
  plan.request = [&](const std::string& job, const std::array<std::uint64_t, 2>& from) {
    return control::LogsRequest{job, wanted.follow, from};
  };
  plan.job = wanted.job;
  plan.reconnects = wanted.follow;
  return follow_output(context, plan);
}

Colour colour_of(const control::JobReport& job) {
  if (job.state == "running") return Colour::kGreen;
  if (job.state == "lost") return Colour::kRed;
  return job.state == "exited" ? Colour::kDim : Colour::kYellow;
}

int show_jobs(Context& context, const std::string& data) {
  auto jobs = control::parse_jobs(data);
  if (!jobs) return report(context, jobs.error());
  // What ended first, as a log reads; what runs stands next to the prompt.
  std::stable_sort(jobs->jobs.begin(), jobs->jobs.end(), [](const auto& a, const auto& b) {
    const auto rank = [](const control::JobReport& job) {
      return std::tuple(!job.exit_code.has_value(), job.started_at);
    };
    return rank(a) < rank(b);
  });
  Table table({{"JOB"},
               {"NAME"},
               {"STATE"},
               {"NODE"},
               {"HOME"},
               {"SCUM", Align::kRight},
               {"%CPU", Align::kRight},
               {"%MEM", Align::kRight},
               {"MOVES", Align::kRight},
               {"AGE", Align::kRight},
               {"COMMAND", Align::kLeft, /*shrinks=*/true}});
  const std::int64_t now = ::time(nullptr);
  for (const control::JobReport& job : jobs->jobs) {
    std::string state = job.state;
    if (job.exit_code) state += " " + std::to_string(*job.exit_code);
    table.row({brief(job.id), job.name, Cell(state, colour_of(job)), job.node, job.home,
               decimal_text(job.scum_micros, 1'000'000, 2),
               decimal_text(job.cpu_percent_millis, 1000, 1),
               decimal_text(job.mem_percent_millis, 1000, 1), std::to_string(job.moves),
               age_text(now - job.started_at), job.command});
  }
  context.out.write(table.render(context.out.style()));
  for (const control::JobReport& job : jobs->jobs) {
    tell_beside(context, brief(job.id), {job.beside, job.kept, job.beside_more}, kBesideShown);
    if (!job.files_away.empty()) {
      context.err.notice(brief(job.id) + " has ended on " + escape_line(job.node) + "; " +
                         escape_line(job.files_away));
    }
    if (!job.missing.empty()) {
      context.err.notice(brief(job.id) + " is lost: " + escape_line(job.missing) +
                         " is not there any more; give it up: tern kill " + brief(job.id));
    }
    if (job.homeward) {
      context.err.notice(brief(job.id) + " has ended on " + escape_line(job.node) +
                         (job.files_away.empty() ? "; its output, and what it changed of its "
                                                   "files, are on their way home"
                                                 : "; its output is on its way home"));
    }
    if (job.waits_for.empty()) continue;
    context.err.notice(
        brief(job.id) + " is held until " + escape_line(job.waits_for) +
        " says what became of its move; if that copy is gone for good: tern resolve " +
        brief(job.id) + " --run-here");
  }
  std::string missing;
  for (const std::string& node : jobs->unreachable) missing += (missing.empty() ? "" : ", ") + node;
  if (!missing.empty()) context.err.notice("jobs may be missing here; unreachable: " + missing);
  if (jobs->jobs.empty()) context.err.notice("there are no jobs; run one: tern run -- COMMAND");
  return 0;
}

int kill_job(Context& context, const std::string& job, const std::string& signal, bool dry_run) {
  const auto number = control::parse_signal(signal);
  if (!number) return usage(context, number.error().detail);
  const control::KillRequest request{job, *number, dry_run};
  return ask_and_show(context, request, [&](const std::string& data) {
    const auto killed = control::parse_kill(data);
    if (!killed) return report(context, killed.error());
    if (dry_run) {
      context.err.notice("would send " + control::signal_name(*number) + " to " + job + " on " +
                         killed->node);
      return 0;
    }
    if (!killed->said.empty()) {
      context.err.notice(job + " on " + killed->node + ": " + killed->said);
      return 0;
    }
    context.err.notice("sent " + control::signal_name(*number) + " to " + job + " on " +
                       killed->node + "; see what came of it: tern ps");
    return 0;
  });
}

void add_run(CLI::App& root, Context& context, Commands& commands) {
  auto* app = add_command(root, context,
                          {"run", "Run a job; its output comes here wherever it moves",
                           "tern run --name render -- ./render --frames 1-400 scene.blend\n"
                           "  tern run --dir . -- make -j2               this folder travels with "
                           "it\n"
                           "  tern run -- sort < names.txt | head        its input comes from "
                           "here: a pipe, a file,\n"
                           "      or lines as you type them, Ctrl-D ends it; a job that does not "
                           "read holds up\n"
                           "      its writer; -n, -d and < /dev/null give it none\n"
                           "  tern run --tty -- htop                     it gets a terminal; "
                           "Ctrl-] q detaches (back:\n"
                           "      tern attach --stdin JOB), Ctrl-] z suspends, Ctrl-] Ctrl-] sends "
                           "one Ctrl-]"});
  struct Options {
    std::string name, on, dir;
    bool detach = false;
    bool tty = false;
    bool no_stdin = false;
    bool dry_run = false;
    bool tcp_close = false;
  };
  auto options = std::make_shared<Options>();
  app->add_option("--name", options->name, "Name of the job");
  app->add_option("--on", options->on,
                  "NODE, best or here (default: here, or while this node is busy an idle one)");
  app->add_option("--dir", options->dir,
                  "A folder that travels with it: what is in it goes along where the job goes, and "
                  "comes home\nchanged (what the job has open, maps or executes travels without)");
  app->add_flag("-d,--detach", options->detach, "Print the job's id and return");
  app->add_flag("-t,--tty", options->tty, "Give it a terminal, as large as this one");
  app->add_flag("-n,--no-stdin", options->no_stdin, "Its standard input is /dev/null");
  app->add_flag("--tcp-close", options->tcp_close,
                "Moves may close its TCP connections; without it, it stays while it has one");
  app->add_flag("--dry-run", options->dry_run, "Only say where it would run");
  app->prefix_command();
  commands.push_back({app, [app, options, &context] {
                        control::RunRequest request = run_request(context);
                        if (app->count("--name") > 0) request.name = options->name;
                        if (app->count("--on") > 0) request.on = options->on;
                        if (app->count("--dir") > 0) {
                          auto dir = real_folder(options->dir);
                          if (!dir) return usage(context, dir.error().detail);
                          request.dir = std::move(*dir);
                        }
                        request.dry_run = options->dry_run;
                        request.tcp_close = options->tcp_close;
                        request.input =
                            input_of(options->tty, options->no_stdin || options->detach);
                        request.argv = context.behind_dashes;
                        if (request.argv.empty()) request.argv = app->remaining();
                        const bool option = !request.argv.empty() &&
                                            context.behind_dashes.empty() &&
                                            request.argv[0].starts_with('-');
                        if (option) {
                          return usage(context, "tern run has no option " + request.argv[0] +
                                                    "; the command goes behind --");
                        }
                        return run(context, request, options->detach);
                      }});
}

}  // namespace

void add_job_commands(CLI::App& root, Context& context, Commands& commands) {
  add_run(root, context, commands);

  auto job = std::make_shared<std::string>();
  const auto with_job = [&](const CommandText& text) {
    auto* app = add_command(root, context, text);
    app->add_option("JOB", *job, "Id, its first digits, or name")->required();
    return app;
  };
  // The daemon would refuse it too; this says it before anything is started.
  const auto checked = [job, &context](const std::function<int()>& command) {
    return [job, &context, command] {
      const auto status = control::check_reference(*job);
      return status ? command() : usage(context, status.error().detail);
    };
  };

  auto* attach_app =
      with_job({"attach", "Follow a job from its first output on; exits as the job does",
                "tern attach encode; tern attach --stdin shell"});
  auto feeds = std::make_shared<bool>(false);
  attach_app->add_flag("-i,--stdin", *feeds,
                       "Pass standard input on to it, instead of whoever does so now; a job with a "
                       "terminal gets this one (Ctrl-] q detaches)");
  commands.push_back(
      {attach_app, checked([job, feeds, &context] { return attach(context, *job, *feeds); })});

  auto* logs_app =
      with_job({"logs", "Print what a job has printed, from any node", "tern logs encode -f"});
  auto follow = std::make_shared<bool>(false);
  logs_app->add_flag("-f,--follow", *follow, "Go on until the job ends");
  commands.push_back({logs_app, checked([job, follow, &context] {
                        return logs(context, {*job, *follow, {}});
                      })});

  auto* ps_app = add_command(root, context, {"ps", "List jobs on all nodes", "tern ps --json"});
  commands.push_back({ps_app, [&context] {
                        return ask_and_show(
                            context, control::JobsRequest{},
                            [&](const std::string& data) { return show_jobs(context, data); });
                      }});

  auto* kill_app =
      with_job({"kill", "Send a signal to a job, wherever it is", "tern kill encode INT"});
  auto signal = std::make_shared<std::string>("TERM");
  kill_app->add_option("SIG", *signal, "Name or number (default: TERM)");
  auto dry_run = std::make_shared<bool>(false);
  kill_app->add_flag("--dry-run", *dry_run, "Only say which job on which node it would be");
  commands.push_back({kill_app, checked([job, signal, dry_run, &context] {
                        return kill_job(context, *job, *signal, *dry_run);
                      })});
}

}  // namespace cli
