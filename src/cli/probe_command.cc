#include "cli/probe_command.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <thread>
#include <vector>

#include "probe/scum.h"
#include "probe/trit.h"

namespace cli {
namespace {

using base::Result;

constexpr std::int64_t kBusyAboveMicros = 300'000;  // 30 % of a CPU
// Resident sizes of a quick scan may lag; processes within this much of a hog are read in full.
constexpr std::int64_t kNearHogMicros = 50'000;

struct Row {
  probe::ProcessSample process;
  probe::Usage usage;
  probe::ScumScore score;
  probe::Advice advice = probe::Advice::kNone;
};

struct Report {
  machine::LoadSource source = machine::LoadSource::kSystem;
  std::int64_t load_micros = 0;
  std::int64_t cpus_millis = 0;
  std::int64_t ratio_micros = 0;
  probe::Trit trit = probe::Trit::kErgodic;
  std::vector<Row> rows;
};

Result<std::int64_t> sampled_load(const ProbeOptions& options, const machine::ProcSource& source) {
  std::string directory = options.cgroup;
  if (directory.empty()) {
    auto own = source.own_cgroup();
    if (!own) return own.error();
    directory = std::move(*own);
  }
  const int samples = std::max(options.samples, 1);
  std::int64_t sum = 0;
  for (int i = 0; i < samples; ++i) {
    if (i > 0) std::this_thread::sleep_for(options.sample_spacing);
    const auto runnable = source.runnable_below(directory);
    if (!runnable) return runnable.error();
    sum += *runnable;
  }
  return sum * 1'000'000 / samples;
}

Result<std::vector<Row>> busy_processes(const machine::ProcSource& source,
                                        std::int64_t memory_bytes, probe::Trit trit) {
  auto table = source.processes();
  if (!table) return table.error();
  std::vector<Row> rows;
  for (probe::ProcessSample& process : table->processes) {
    Row row{std::move(process), {}, {}, {}};
    row.usage = probe::usage_of(row.process, table->since_boot, memory_bytes);
    row.score = probe::scum_of(row.usage);
    if (row.usage.cpu_micros <= kBusyAboveMicros &&
        row.score.total_micros() <= probe::kHogAboveMicros - kNearHogMicros) {
      continue;
    }
    // The same instance only: its PID may have gone to another process since.
    const auto full = source.process(row.process.pid);
    if (full && full->start_ticks == row.process.start_ticks) {
      row.process.rss_bytes = full->rss_bytes;
      row.process.command = full->command;
      row.usage = probe::usage_of(row.process, table->since_boot, memory_bytes);
      row.score = probe::scum_of(row.usage);
    }
    if (row.usage.cpu_micros <= kBusyAboveMicros && !row.score.is_hog()) continue;
    row.advice = probe::advise(row.score, trit);
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    const std::int64_t left = a.score.total_micros();
    const std::int64_t right = b.score.total_micros();
    return left != right ? left > right : a.process.pid < b.process.pid;
  });
  return rows;
}

Result<Report> look(const ProbeOptions& options, const machine::ProcSource& source) {
  Report report;
  const auto load_source = source.resolve(options.load_source);
  if (!load_source) return load_source.error();
  report.source = *load_source;
  const auto cpus = source.cpus();
  if (!cpus) return cpus.error();
  report.cpus_millis = cpus->usable_millis;
  if (report.source == machine::LoadSource::kSystem) {
    const auto load = source.system_load();
    if (!load) return load.error();
    report.load_micros = load->load1_micros;
  } else {
    const auto load = sampled_load(options, source);
    if (!load) return load.error();
    report.load_micros = *load;
  }
  report.ratio_micros = probe::ratio_micros(report.load_micros, report.cpus_millis);
  report.trit = probe::classify(report.ratio_micros);
  const auto memory = source.memory();
  if (!memory) return memory.error();
  auto rows = busy_processes(source, memory->machine_total_bytes, report.trit);
  if (!rows) return rows.error();
  report.rows = std::move(*rows);
  return report;
}

double share(std::int64_t micros) { return static_cast<double>(micros) / 1e6; }
double percent(std::int64_t micros) { return static_cast<double>(micros) / 1e4; }
std::int64_t whole_seconds(base::Duration time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

void print_json(const Report& report, std::ostream& out) {
  nlohmann::ordered_json processes = nlohmann::ordered_json::array();
  for (const Row& row : report.rows) {
    processes.push_back({{"pid", row.process.pid},
                         {"command", row.process.command},
                         {"cpu_percent", percent(row.usage.cpu_micros)},
                         {"mem_percent", percent(row.usage.memory_micros)},
                         {"runtime_seconds", whole_seconds(row.usage.runtime)},
                         {"scum", share(row.score.total_micros())},
                         {"action", probe::advice_name(row.advice)}});
  }
  const nlohmann::ordered_json object = {{"load1", share(report.load_micros)},
                                         {"cpus", static_cast<double>(report.cpus_millis) / 1000},
                                         {"ratio", share(report.ratio_micros)},
                                         {"trit", probe::trit_value(report.trit)},
                                         {"load_source", machine::load_source_name(report.source)},
                                         {"processes", std::move(processes)}};
  // A command line may hold any bytes; what is no UTF-8 is replaced.
  out << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

// Whole CPUs without decimals, as nproc prints them.
std::string cpus_text(std::int64_t millis) {
  std::ostringstream text;
  text << millis / 1000;
  if (millis % 1000 != 0) text << '.' << std::setw(3) << std::setfill('0') << millis % 1000;
  return text.str();
}

std::string runtime_text(base::Duration time) {
  const std::int64_t seconds = whole_seconds(time);
  std::ostringstream text;
  text << std::setfill('0');
  if (seconds >= 86'400) text << seconds / 86'400 << '-' << std::setw(2);
  text << seconds / 3600 % 24 << ':' << std::setw(2) << seconds / 60 % 60 << ':' << std::setw(2)
       << seconds % 60;
  return text.str();
}

void print_text(const Report& report, std::ostream& out) {
  const bool is_system = report.source == machine::LoadSource::kSystem;
  std::ostringstream text;
  text << std::fixed << std::setprecision(2);
  text << "load   " << share(report.load_micros)
       << (is_system ? "  (1-minute average)\n" : "  (this cgroup, over one second)\n");
  text << "cpus   " << cpus_text(report.cpus_millis) << '\n';
  text << "ratio  " << share(report.ratio_micros) << '\n';
  text << "trit   " << (report.trit == probe::Trit::kPlus ? "+" : "")
       << probe::trit_value(report.trit) << ' ' << probe::trit_name(report.trit) << '\n';
  if (report.rows.empty()) {
    text << "\nno process above 30% CPU or SCUM 0.35\n";
    out << text.str();
    return;
  }
  text << '\n'
       << std::setw(8) << "PID" << std::setw(8) << "%CPU" << std::setw(7) << "%MEM" << std::setw(13)
       << "RUNTIME" << std::setw(7) << "SCUM"
       << "  " << std::left << std::setw(9) << "ACTION"
       << "COMMAND\n";
  for (const Row& row : report.rows) {
    text << std::right << std::setw(8) << row.process.pid << std::setprecision(1) << std::setw(8)
         << percent(row.usage.cpu_micros) << std::setw(7) << percent(row.usage.memory_micros)
         << std::setw(13) << runtime_text(row.usage.runtime) << std::setprecision(3) << std::setw(7)
         << share(row.score.total_micros()) << "  " << std::left << std::setw(9)
         << probe::advice_name(row.advice) << row.process.command.substr(0, 60) << '\n';
  }
  out << text.str();
}

}  // namespace

int run_probe_command(const ProbeOptions& options, const machine::ProcSource& source,
                      std::ostream& out, std::ostream& err) {
  const auto report = look(options, source);
  if (!report) {
    err << "tern: " << report.error().detail << '\n';
    return 1;
  }
  options.json ? print_json(*report, out) : print_text(*report, out);
  return 0;
}

int run_probe_command(const ProbeOptions& options, std::ostream& out, std::ostream& err) {
  return run_probe_command(options, machine::ProcSource(), out, err);
}

}  // namespace cli
