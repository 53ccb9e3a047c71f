// tern-sim: arguments, verdicts, exit codes (0 all promises held, 1 one was broken, 2 wrong usage).
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <system_error>

#include "build/commit.h"  // cmake/WriteCommit.cmake
#include "compare/compare.h"
#include "plot/plot.h"
#include "sim/generate.h"
#include "sim/report.h"
#include "sim/run.h"
#include "sim/scenario_text.h"
#include "sim/settled.h"
#include "sim/shrink.h"
#include "sim/swarm.h"

namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kCutOff = 130;
constexpr double kFirstLine = 10;  // seconds, of progress where there is no terminal
constexpr double kLineEvery = 30;

struct Common {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 0;
  double seconds = 0;
  std::optional<double> settle;  // of the second phase; none: as generated
  std::string faults = "swarm";
  std::string crypto;
  std::string queue = "heap";
  std::string scenario;
  std::string out;
  bool json = false;
  bool log = false;
};

class LineLog final : public base::Log {
 public:
  void write(base::LogLevel /*level*/, std::string_view event,
             std::initializer_list<base::LogField> fields) override {
    std::string line(event);
    for (const base::LogField& field : fields)
      line += " " + std::string(field.key) + "=" + field.value;
    std::fprintf(stderr, "%s\n", line.c_str());
  }
};

sim::Wanted wanted_of(const Common& common) {
  sim::Wanted wanted;
  wanted.seed = common.seed;
  wanted.nodes = common.nodes;
  wanted.faulty = base::Duration(static_cast<std::int64_t>(common.seconds * 1e6));
  wanted.faults = common.faults == "none"   ? sim::FaultMode::kNone
                  : common.faults == "some" ? sim::FaultMode::kSome
                                            : sim::FaultMode::kSwarm;
  return wanted;
}

// The scenario asked for: a file's, else a seed's. None: it said why.
std::optional<sim::Scenario> scenario_asked(const Common& common) {
  sim::Scenario scenario;
  if (common.scenario.empty()) {
    scenario = sim::generate(wanted_of(common));
  } else {
    std::ifstream file(common.scenario);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
      std::cerr << "tern-sim: " << common.scenario << " cannot be read\n";
      return std::nullopt;
    }
    auto parsed = sim::parse_scenario(text.str());
    if (!parsed) {
      std::cerr << "tern-sim: " << common.scenario << ": " << parsed.error().detail << "\n";
      return std::nullopt;
    }
    scenario = *parsed;
  }
  if (common.settle) {
    scenario.settle = base::Duration(static_cast<std::int64_t>(*common.settle * 1e6));
  }
  if (!common.crypto.empty()) scenario.real_crypto = common.crypto == "real";
  return scenario;
}

std::string options_text(const Common& common, const sim::Scenario& scenario) {
  std::string text;
  if (!common.scenario.empty()) {
    text = " --scenario " + common.scenario;
  } else {
    text = " --seed " + std::to_string(common.seed);
    if (common.nodes != 0) text += " --nodes " + std::to_string(common.nodes);
    if (common.seconds != 0)
      text += " --seconds " + std::to_string(scenario.faulty.count() / 1'000'000);
    text += " --faults " + common.faults;
  }
  if (common.settle) {
    text += " --settle " + std::to_string(scenario.settle.count() / 1'000'000);
  }
  if (scenario.real_crypto) text += " --crypto real";
  return text;
}

sim::QueueKind queue_of(const Common& common) {
  return common.queue == "calendar" ? sim::QueueKind::kCalendar : sim::QueueKind::kHeap;
}

// On a terminal one line that changes; elsewhere a line now and then.
std::function<void(const sim::Progress&)> told_on_stderr() {
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  return [terminal, next = kFirstLine](const sim::Progress& at) mutable {
    if (!terminal && at.wall_seconds < next) return;
    next = at.wall_seconds + kLineEvery;
    std::fprintf(stderr, "%s%.0f of %.0f s simulated after %.0f s, %.0f events/s%s",
                 terminal ? "\r" : "", static_cast<double>(at.simulated.count()) / 1e6,
                 static_cast<double>(at.whole.count()) / 1e6, at.wall_seconds,
                 static_cast<double>(at.events) / std::max(at.wall_seconds, 1e-9),
                 terminal ? "\033[K" : "\n");
  };
}

std::uint64_t peak_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

volatile std::sig_atomic_t interrupted = 0;

// The first one ends the run where it is, a second one the process.
void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

int run(const Common& common) {
  const auto scenario = scenario_asked(common);
  if (!scenario) return kUsage;
  const std::string options = options_text(common, *scenario);
  if (!common.json) {
    std::cout << "tern-sim, commit " << TERN_COMMIT << ", SEED=" << scenario->seed << ":" << options
              << ", " << scenario->nodes << " nodes, " << scenario->jobs.size() << " jobs, "
              << scenario->faults.size() << " scheduled faults, "
              << scenario->faulty.count() / 1'000'000 << " + "
              << scenario->settle.count() / 1'000'000 << " s\n"
              << std::flush;
  }
  LineLog log;
  sim::RunOptions how{queue_of(common), common.log ? &log : nullptr, true};
  if (!common.log) how.progress = told_on_stderr();
  stop_on_signals();
  how.stopped = [] { return interrupted != 0; };
  sim::Outcome outcome = sim::run_scenario(*scenario, how);
  if (!common.log && ::isatty(STDERR_FILENO) != 0) std::cerr << "\r\033[K";
  outcome.peak_bytes = peak_bytes();
  std::cout << (common.json ? sim::json_of(outcome) + "\n" : sim::summary_of(outcome));
  if (outcome.failed()) {
    std::cerr << sim::failure_of(outcome, TERN_COMMIT, "tern-sim run" + options);
    return kFailed;
  }
  if (!outcome.cut_off) {
    if (scenario->settle < sim::kSettleMin) {
      std::cerr << "tern-sim: what must hold at rest was not looked at; it takes --settle "
                << std::chrono::duration_cast<std::chrono::seconds>(sim::kSettleMin).count()
                << "\n";
    }
    return kDone;
  }
  std::cerr
      << "tern-sim: cut off; nothing was broken until then, and what must hold at the end was "
         "not looked at\n";
  return kCutOff;
}

int run_swarm(const Common& common, sim::SwarmOptions options) {
  options.wanted = wanted_of(common);
  options.commit = TERN_COMMIT;
  if (!common.json) {
    std::cout << "tern-sim swarm, commit " << TERN_COMMIT << ", SEEDS=" << options.first << ".."
              << options.last << ", shard " << options.shard << "/" << options.shards << "\n"
              << std::flush;
  }
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const auto progress = [&](const sim::SwarmResult& so_far) {
    if (!terminal) return;
    std::cerr << "\r" << so_far.worlds << " worlds, " << so_far.failed << " failed, "
              << static_cast<std::uint64_t>(static_cast<double>(so_far.worlds) * 60 /
                                            so_far.wall_seconds)
              << " a minute \033[K" << std::flush;
  };
  const sim::SwarmResult result = sim::swarm(
      options, [](const std::string& text) { std::cerr << text; }, progress);
  if (terminal) std::cerr << "\r\033[K";
  const double wall = std::max(result.wall_seconds, 1e-9);
  if (common.json) {
    std::cout << "{\"worlds\":" << result.worlds << ",\"failed\":" << result.failed
              << ",\"events\":" << result.events << ",\"moves\":" << result.commits
              << ",\"wall_seconds\":" << result.wall_seconds << "}\n";
  } else {
    std::cout << result.worlds << " worlds, " << result.failed << " failed, " << result.commits
              << " moves, " << result.events << " events in " << result.wall_seconds << " s: "
              << static_cast<std::uint64_t>(static_cast<double>(result.worlds) * 60 / wall)
              << " worlds a minute, "
              << static_cast<std::uint64_t>(static_cast<double>(result.events) / wall)
              << " events/s\n"
              << sim::fault_table(result.faults);
  }
  if (!result.trouble.empty()) std::cerr << "tern-sim: " << result.trouble << "\n";
  return result.failed == 0 && result.trouble.empty() ? kDone : kFailed;
}

int run_shrink(const Common& common) {
  const auto scenario = scenario_asked(common);
  if (!scenario) return kUsage;
  const sim::RunOptions quiet{queue_of(common), nullptr, false};
  const sim::Outcome first = sim::run_scenario(*scenario, quiet);
  if (!first.failed()) {
    std::cerr << "tern-sim: that world keeps its promises; nothing to shrink\n";
    return kUsage;
  }
  const std::string promise = first.violations.empty() ? "" : first.violations.front().promise;
  std::cerr << "shrinking the world that breaks "
            << (promise.empty() ? first.unmet.front() : promise) << "\n";
  const auto still_fails = [&](const sim::Scenario& candidate) {
    const sim::Outcome outcome = sim::run_scenario(candidate, quiet);
    if (promise.empty()) return !outcome.unmet.empty();
    return !outcome.violations.empty() && outcome.violations.front().promise == promise;
  };
  const sim::Scenario smallest =
      sim::shrink(*scenario, still_fails, [](const sim::ShrinkProgress& progress) {
        std::cerr << progress.runs << " worlds tried, " << progress.kept
                  << " smaller ones failed\n";
      });
  const std::string text = "# Why: breaks " + (promise.empty() ? "an expectation" : promise) +
                           "; shrunk from" + options_text(common, *scenario) + ".\n" +
                           sim::write_scenario(smallest);
  if (common.out.empty()) {
    std::cout << text;
    return kDone;
  }
  std::ofstream file(common.out);
  file << text;
  file.close();
  if (!file) {
    std::cerr << "tern-sim: " << common.out << " cannot be written\n";
    return kFailed;
  }
  std::cerr << "written to " << common.out << "; again: tern-sim run --scenario " << common.out
            << "\n";
  return kDone;
}

int run_compare(const Common& common, compare::CompareOptions options, const std::string& start) {
  options.seed = common.seed;
  options.json = common.json;
  options.start = compare::start_from(start).value_or(compare::Start::kRandom);
  if (common.nodes != 0) options.nodes = common.nodes;
  return compare::run_compare(options, std::cout, std::cerr);
}

int run_plot(const Common& common, const plot::PlotOptions& options) {
  if (common.out.empty()) return plot::run_plot(options, std::cout, std::cerr);
  std::ofstream file(common.out);
  const int status = plot::run_plot(options, file, std::cerr);
  file.close();
  if (file || status != kDone) return status;
  std::cerr << "tern-sim: " << common.out << " cannot be written\n";
  return kFailed;
}

void add_world_options(CLI::App* app, Common& common, bool one) {
  if (one) {
    app->add_option("--seed", common.seed, "draws machines, jobs and faults");
    app->add_option("--scenario", common.scenario, "a scenario file instead of a seed");
    app->add_option("--queue", common.queue, "event queue; both give the same trace")
        ->check(CLI::IsMember({"heap", "calendar"}));
    app->add_option("--crypto", common.crypto, "real libsodium, or a fast keyed hash")
        ->check(CLI::IsMember({"fast", "real"}));
    app->add_option("--settle", common.settle,
                    "seconds of the phase after the faults; what must hold at rest is looked at "
                    "from 240 on; otherwise 240")
        ->check(CLI::Range(0.0, 864'000.0));
  }
  app->add_option("--nodes", common.nodes, "how many; otherwise drawn, 2 to 9")
      ->check(CLI::Range(1U, sim::kNodesMax));
  app->add_option("--seconds", common.seconds, "of the phase with faults; otherwise drawn")
      ->check(CLI::Range(0.001, 864'000.0));
  app->add_option("--faults", common.faults, "none, some, or a subset drawn from the seed")
      ->check(CLI::IsMember({"none", "some", "swarm"}));
}

// "A..B" and "I/N".
bool parse_pair(const std::string& text, const std::string& between, std::uint64_t& a,
                std::uint64_t& b) {
  const std::size_t at = text.find(between);
  if (at == std::string::npos) return false;
  std::istringstream left(text.substr(0, at));
  std::istringstream right(text.substr(at + between.size()));
  return (left >> a) && left.eof() && (right >> b) && right.eof() && a <= b;
}

struct Commands {
  Common common;
  sim::SwarmOptions swarm;
  std::string seeds = "1..100";
  std::string shard = "1/1";
  compare::CompareOptions compare;
  plot::PlotOptions plot;
  std::string start = "random";
  std::string plot_start = "half";
};

CLI::App* add_swarm(CLI::App& app, Commands& all) {
  CLI::App* command = app.add_subcommand("swarm", "many worlds, over all cores");
  add_world_options(command, all.common, false);
  command->add_option("--seeds", all.seeds, "A..B, both included")->required();
  command->add_option("--shard", all.shard, "I/N: every N-th seed, beginning with the I-th");
  command->add_option("--report", all.swarm.report, "file of JSON lines, one a world");
  command->add_option("--workers", all.swarm.workers, "processes; otherwise one a CPU");
  command->add_flag("--keep-going", all.swarm.keep_going, "go on after a broken promise");
  command->add_flag("--twice", all.swarm.check_twice, "each with both queues, same trace");
  command->add_flag("--json", all.common.json, "one object on stdout");
  command->footer("Example: tern-sim swarm --seeds 1..20000 --shard 2/8 --report part2.jsonl");
  return command;
}

CLI::App* add_compare(CLI::App& app, Commands& all) {
  CLI::App* command = app.add_subcommand("compare", "triads beside the other ways to balance");
  command->add_option("--nodes", all.common.nodes, "of the round models")
      ->check(CLI::Range(compare::kNodesMin, compare::kNodesMax));
  command->add_option("--seed", all.common.seed, "of every draw");
  command->add_option("--start", all.start, "where the load begins")
      ->check(CLI::IsMember({"random", "half", "one"}));
  command->add_option("--rounds", all.compare.rounds, "after which a policy has failed");
  command->add_option("--protocol-nodes", all.compare.protocol_nodes,
                      "of the world that the real protocol runs in; 0: none");
  command->add_flag("--json", all.common.json, "one object a line");
  command->footer("Example: tern-sim compare --nodes 9999 --start one");
  return command;
}

CLI::App* add_plot(CLI::App& app, Commands& all) {
  CLI::App* command = app.add_subcommand("plot", "the curves as SVG");
  std::string names;
  for (const std::string_view name : plot::figure_names()) {
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  command->add_option("figure", all.plot.figure, names);
  command->add_option("--nodes", all.plot.of.nodes, "of the round models");
  command->add_option("--world-nodes", all.plot.of.world_nodes, "of worlds with real nodes")
      ->check(CLI::Range(plot::kWorldNodesMin, plot::kWorldNodesMax));
  command->add_option("--seed", all.plot.of.seed, "of every draw");
  command->add_option("--start", all.plot_start, "where the load begins")
      ->check(CLI::IsMember({"random", "half", "one"}));
  command->add_option("--out", all.common.out, "SVG file; otherwise stdout");
  command->footer("Example: tern-sim plot levelling --out levelling.svg");
  return command;
}

int dispatch(Commands& all, const std::string& command) {
  if (command == "compare") return run_compare(all.common, all.compare, all.start);
  if (command == "plot") {
    all.plot.of.start = compare::start_from(all.plot_start).value_or(compare::Start::kHalf);
    return run_plot(all.common, all.plot);
  }
  if (command == "shrink") return run_shrink(all.common);
  if (command == "run") return run(all.common);
  if (!parse_pair(all.seeds, "..", all.swarm.first, all.swarm.last) ||
      !parse_pair(all.shard, "/", all.swarm.shard, all.swarm.shards) || all.swarm.shard == 0) {
    std::cerr << "tern-sim: --seeds is A..B with A <= B, --shard is I/N with 1 <= I <= N\n";
    return kUsage;
  }
  return run_swarm(all.common, all.swarm);
}

// In a large world each event finds another node, whose memory no cache holds and whose pages no
// TLB knows: huge pages spare a fifth of the time there. And a world makes and drops tens of small
// objects an event. libc's allocator is told so by the environment alone, before a program starts.
void restart_with_huge_pages(char** argv) {
  static constexpr const char* kVariable = "GLIBC_TUNABLES";
  if (std::getenv(kVariable) != nullptr) return;
  std::error_code unknown;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (unknown) return;
  ::setenv(kVariable, "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=500", 1);
  ::execv(self.c_str(), argv);  // it returns only when it fails, and then nothing is lost
}

}  // namespace

int main(int argc, char** argv) {
  restart_with_huge_pages(argv);
  CLI::App app{"Simulates meshes of tern nodes: the daemon's own code on a seeded world."};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("tern-sim, commit ") + TERN_COMMIT);
  Commands all;
  CLI::App* run_command = app.add_subcommand("run", "one world");
  add_world_options(run_command, all.common, true);
  run_command->add_flag("--json", all.common.json, "one object on stdout");
  run_command->add_flag("--log", all.common.log, "what the nodes log, on stderr");
  run_command->footer("Example: tern-sim run --nodes 9 --seed 7 --faults swarm");
  CLI::App* shrink_command = app.add_subcommand("shrink", "the smallest world that still fails");
  add_world_options(shrink_command, all.common, true);
  shrink_command->add_option("--out", all.common.out, "scenario file; otherwise stdout");
  shrink_command->footer("Example: tern-sim shrink --seed 175 --out tests/scenarios/split.txt");
  add_swarm(app, all);
  add_compare(app, all);
  add_plot(app, all);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? kDone : kUsage;
  }
  if (!base::crypto::init()) {
    std::cerr << "tern-sim: libsodium could not start\n";
    return kFailed;
  }
  return dispatch(all, app.get_subcommands().front()->get_name());
}
