#include "probe/proc_parse.h"

#include <algorithm>

#include "base/check.h"
#include "probe/text_scan.h"

namespace probe {
namespace {

using base::Code;
using base::Duration;
using base::Error;
using base::Result;

constexpr std::uint64_t kPidMax = INT32_MAX;
constexpr std::uint64_t kKibMax = static_cast<std::uint64_t>(INT64_MAX) / 1024;

Error malformed(std::string_view file) {
  return base::fail(Code::kInvalid, std::string(file) + " is not as the kernel writes it");
}

// Whole and rest apart, so that no count of ticks overflows on its way to microseconds.
Duration from_ticks(std::uint64_t ticks, const KernelUnits& units) {
  const auto rate = static_cast<std::uint64_t>(units.ticks_per_second);
  const std::uint64_t seconds = ticks / rate;
  constexpr std::uint64_t kSecondsMax = static_cast<std::uint64_t>(INT64_MAX) / 2'000'000;
  if (seconds > kSecondsMax) return Duration(static_cast<std::int64_t>(kSecondsMax) * 1'000'000);
  return Duration(static_cast<std::int64_t>(seconds * 1'000'000 + ticks % rate * 1'000'000 / rate));
}

std::uint64_t pages_max(const KernelUnits& units) {
  return static_cast<std::uint64_t>(INT64_MAX / units.page_bytes);
}

void check(const KernelUnits& units) {
  CHECK(units.ticks_per_second >= 1);
  CHECK(units.ticks_per_second <= 1'000'000);
  CHECK(units.page_bytes >= 1);
  CHECK(units.page_bytes <= 1 << 30);
}

// "Name:" and what follows on each line of a file like status or meminfo.
struct Field {
  std::string_view name;
  std::string_view value;
};
Field field_of(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {};
  return {line.substr(0, colon), line.substr(colon + 1)};
}

bool read_kib(std::string_view value, std::int64_t& bytes) {
  TextScan scan(value);
  bytes = static_cast<std::int64_t>(scan.number(kKibMax)) * 1024;
  const bool has_unit = scan.word() == "kB";
  scan.end();
  return has_unit && !scan.failed();
}

bool read_four(std::string_view value, std::array<std::uint32_t, 4>& ids) {
  TextScan scan(value);
  for (std::uint32_t& id : ids) id = static_cast<std::uint32_t>(scan.number(UINT32_MAX));
  scan.end();
  return !scan.failed();
}

template <typename T>
bool read_list(std::string_view value, std::uint64_t each_max, std::size_t count_max,
               std::vector<T>& out) {
  TextScan scan(value);
  scan.blanks();
  while (!scan.at_end() && !scan.failed() && out.size() < count_max) {
    out.push_back(static_cast<T>(scan.number(each_max)));
    scan.blanks();
  }
  return scan.at_end() && !scan.failed();
}

bool read_one(std::string_view value, std::uint64_t max, std::uint64_t& out) {
  TextScan scan(value);
  out = scan.number(max);
  scan.end();
  return !scan.failed();
}

}  // namespace

Result<LoadSample> parse_loadavg(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  LoadSample load;
  load.load1_micros = scan.millionths(kTasksMax - 1);
  load.load5_micros = scan.millionths(kTasksMax - 1);
  load.load15_micros = scan.millionths(kTasksMax - 1);
  load.runnable = static_cast<std::uint32_t>(scan.number(kTasksMax));
  scan.expect('/');
  load.tasks = static_cast<std::uint32_t>(scan.number(UINT32_MAX));
  (void)scan.word();  // the newest PID
  if (scan.failed()) return malformed("/proc/loadavg");
  return load;
}

Result<SystemStat> parse_system_stat(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan file(text);
  SystemStat stat;
  bool has_boot_time = false;
  while (!file.at_end()) {
    const std::string_view line = file.line();
    if (line.starts_with("cpu") && line.size() > 3 && line[3] >= '0' && line[3] <= '9') {
      ++stat.online_cpus;
    } else if (line.starts_with("btime ")) {
      std::uint64_t seconds = 0;
      if (!read_one(line.substr(6), INT64_MAX, seconds)) return malformed("/proc/stat");
      stat.boot_time = base::WallTime{static_cast<std::int64_t>(seconds)};
      has_boot_time = true;
    }
  }
  if (!has_boot_time || stat.online_cpus == 0) return malformed("/proc/stat");
  return stat;
}

Result<Duration> parse_uptime(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  const std::int64_t micros = scan.millionths(INT64_MAX / 2'000'000);
  if (scan.failed()) return malformed("/proc/uptime");
  return Duration(micros);
}

Result<ProcessSample> parse_process_stat(std::string_view text, const KernelUnits& units) {
  check(units);
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  constexpr std::string_view kFile = "/proc/PID/stat";
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
    return malformed(kFile);
  }
  ProcessSample process;
  TextScan head(text.substr(0, open));
  process.pid = static_cast<std::int32_t>(head.number(kPidMax));
  head.end();
  process.comm = std::string(text.substr(open + 1, close - open - 1));
  TextScan scan(text.substr(close + 1));
  const std::string_view state = scan.word();
  process.ppid = static_cast<std::int32_t>(scan.number(kPidMax));
  const auto skip = [&scan](int count) {
    for (int i = 0; i < count; ++i) (void)scan.word();
  };
  skip(9);  // pgrp session tty_nr tpgid flags minflt cminflt majflt cmajflt
  process.cpu_time = from_ticks(scan.number(), units);
  process.cpu_time += from_ticks(scan.number(), units);
  // A kernel bug could once make these negative (they are signed in the format): count as none.
  const std::int64_t ended_user = scan.signed_number();
  const std::int64_t ended_system = scan.signed_number();
  process.children_cpu_time =
      from_ticks(static_cast<std::uint64_t>(std::max<std::int64_t>(0, ended_user)), units) +
      from_ticks(static_cast<std::uint64_t>(std::max<std::int64_t>(0, ended_system)), units);
  skip(2);  // priority nice
  process.threads = static_cast<std::uint32_t>(scan.number(UINT32_MAX));
  skip(1);  // itrealvalue
  process.start_ticks = scan.number();
  process.started = from_ticks(process.start_ticks, units);
  skip(1);  // vsize
  const std::int64_t pages = scan.signed_number();
  if (head.failed() || scan.failed() || state.size() != 1) return malformed(kFile);
  if (pages > 0 && static_cast<std::uint64_t>(pages) > pages_max(units)) return malformed(kFile);
  process.state = state.front();
  process.rss_bytes = std::max<std::int64_t>(0, pages) * units.page_bytes;
  process.command = "[" + command_text(process.comm) + "]";
  return process;
}

Result<ProcessStatus> parse_process_status(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  ProcessStatus status;
  TextScan file(text);
  bool good = true;
  int needed = 0;  // Name, State, Tgid, PPid, Uid, Gid: every kernel has these
  std::uint64_t number = 0;
  while (good && !file.at_end()) {
    const Field field = field_of(file.line());
    if (field.name == "Name") {
      status.name = std::string(field.value.substr(std::min<std::size_t>(1, field.value.size())));
      ++needed;
    } else if (field.name == "State") {
      TextScan scan(field.value);
      const std::string_view state = scan.word();
      good = state.size() == 1;
      if (good) status.state = state.front();
      ++needed;
    } else if (field.name == "Tgid") {
      good = read_one(field.value, kPidMax, number);
      status.tgid = static_cast<std::int32_t>(number);
      ++needed;
    } else if (field.name == "PPid") {
      good = read_one(field.value, kPidMax, number);
      status.ppid = static_cast<std::int32_t>(number);
      ++needed;
    } else if (field.name == "Uid") {
      good = read_four(field.value, status.uids);
      ++needed;
    } else if (field.name == "Gid") {
      good = read_four(field.value, status.gids);
      ++needed;
    } else if (field.name == "Groups") {
      good = read_list(field.value, UINT32_MAX, kStatusGroupsMax, status.groups);
    } else if (field.name == "NSpid") {
      good = read_list(field.value, kPidMax, kPidDepthMax + 1, status.ns_pids);
    } else if (field.name == "VmRSS") {
      good = read_kib(field.value, status.rss_bytes);
    } else if (field.name == "Threads") {
      good = read_one(field.value, UINT32_MAX, number);
      status.threads = static_cast<std::uint32_t>(number);
    }
  }
  if (!good || needed != 6) return malformed("/proc/PID/status");
  return status;
}

Result<ProcessMemory> parse_statm(std::string_view text, const KernelUnits& units) {
  check(units);
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  const std::uint64_t size = scan.number(pages_max(units));
  const std::uint64_t resident = scan.number(pages_max(units));
  (void)scan.word();  // shared
  if (scan.failed()) return malformed("/proc/PID/statm");
  return ProcessMemory{static_cast<std::int64_t>(size) * units.page_bytes,
                       static_cast<std::int64_t>(resident) * units.page_bytes};
}

Result<MemorySample> parse_meminfo(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan file(text);
  MemorySample memory;
  std::int64_t free_bytes = -1;
  std::int64_t available_bytes = -1;
  bool good = true;
  while (good && !file.at_end()) {
    const Field field = field_of(file.line());
    if (field.name == "MemTotal") good = read_kib(field.value, memory.total_bytes);
    if (field.name == "MemFree") good = read_kib(field.value, free_bytes);
    if (field.name == "MemAvailable") good = read_kib(field.value, available_bytes);
  }
  memory.available_bytes = available_bytes >= 0 ? available_bytes : free_bytes;
  if (!good || memory.total_bytes <= 0 || memory.available_bytes < 0) {
    return malformed("/proc/meminfo");
  }
  memory.available_bytes = std::min(memory.available_bytes, memory.total_bytes);
  return memory;
}

std::string command_text(std::string_view cmdline) {
  while (!cmdline.empty() && cmdline.back() == '\0') cmdline.remove_suffix(1);
  std::string text(cmdline.substr(0, kCommandTextMax));
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
  }
  return text;
}

}  // namespace probe
