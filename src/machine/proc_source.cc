#include "machine/proc_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "machine/fd.h"
#include "probe/limits.h"
#include "probe/terminals.h"

namespace machine {
namespace {

constexpr std::size_t kUeventSizeMax = 16 << 10;

using base::Code;
using base::Duration;
using base::Error;
using base::Result;
using base::Status;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, CloseDir>;

// ENODEV: a file of a cgroup that was removed while it was open. EOPNOTSUPP: cgroup.threads of a
// group in "domain invalid" mode, which can hold no tasks.
Error read_error(const std::string& path, int error) {
  if (error == ENODEV || error == EOPNOTSUPP) error = ENOENT;
  return io_error("read " + path, error);
}

// A file that need not be there, or need not be ours to see.
bool is_absent(const Error& error) {
  return error.code == Code::kNotFound || error.code == Code::kRefused;
}

std::uint32_t affinity_cpus() {
  // The kernel refuses (EINVAL) a mask smaller than its own; it grows until it fits.
  for (std::size_t cpus = 1024; cpus <= probe::kCpusMax; cpus *= 2) {
    std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(cpus) / sizeof(cpu_set_t) + 1);
    const std::size_t size = mask.size() * sizeof(cpu_set_t);
    if (::sched_getaffinity(0, size, mask.data()) == 0) {
      return static_cast<std::uint32_t>(CPU_COUNT_S(size, mask.data()));
    }
    if (errno != EINVAL) break;
  }
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<std::uint32_t>(online) : 1;
}

probe::KernelUnits kernel_units() {
  probe::KernelUnits units;
  const long ticks = ::sysconf(_SC_CLK_TCK);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (ticks > 0) units.ticks_per_second = ticks;
  if (page > 0) units.page_bytes = page;
  return units;
}

std::optional<std::int32_t> as_pid(const char* name) {
  std::int32_t pid = 0;
  const char* const end = name + std::char_traits<char>::length(name);
  const auto [stop, error] = std::from_chars(name, end, pid);
  if (error != std::errc{} || stop != end || pid <= 0) return std::nullopt;
  return pid;
}

// The directory and those above it, up to the mount point: limits of all of them hold.
std::vector<std::string> with_ancestors(const probe::CgroupPlace& place) {
  std::vector<std::string> directories;
  std::string below = place.below;
  while (!below.empty()) {
    directories.push_back(place.mount_point + below);
    below.resize(below.rfind('/') == std::string::npos ? 0 : below.rfind('/'));
  }
  directories.push_back(place.mount_point);
  return directories;
}

}  // namespace

Result<LoadSource> parse_load_source(std::string_view text) {
  for (const auto source : {LoadSource::kAuto, LoadSource::kSystem, LoadSource::kCgroup}) {
    if (text == load_source_name(source)) return source;
  }
  return base::fail(Code::kInvalid, "the load source is auto, system or cgroup");
}

const char* load_source_name(LoadSource source) {
  if (source == LoadSource::kSystem) return "system";
  return source == LoadSource::kCgroup ? "cgroup" : "auto";
}

ProcSource::ProcSource(ProcSourceOptions options)
    : options_(std::move(options)), units_(kernel_units()) {}

Result<std::string> ProcSource::read(const std::string& path, std::size_t size_max) const {
  const std::string full = options_.root + path;
  const Fd file(retry([&] { return ::open(full.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!file.valid()) return read_error(path, errno);
  std::string text;
  for (;;) {
    char chunk[8192];
    const ssize_t got = retry([&] { return ::read(file.get(), chunk, sizeof(chunk)); });
    if (got < 0) return read_error(path, errno);
    if (got == 0) return text;
    text.append(chunk, static_cast<std::size_t>(got));
    if (text.size() > size_max) return base::fail(Code::kTooLarge, path + " is too long");
  }
}

Result<probe::LoadSample> ProcSource::system_load() const {
  const auto text = read("/proc/loadavg", probe::kProcTextMax);
  if (!text) return text.error();
  return probe::parse_loadavg(*text);
}

Result<Duration> ProcSource::since_boot() const {
  const auto text = read("/proc/uptime", probe::kProcTextMax);
  if (!text) return text.error();
  return probe::parse_uptime(*text);
}

Result<ProcSource::Groups> ProcSource::groups(const std::string& pid) const {
  Groups groups;
  const auto memberships = read("/proc/" + pid + "/cgroup", probe::kProcTextMax);
  if (!memberships) {
    // A kernel without control groups has no such file.
    if (memberships.error().code == Code::kNotFound) return groups;
    return memberships.error();
  }
  auto member = probe::parse_memberships(*memberships);
  if (!member) return member.error();
  const auto mountinfo = read("/proc/self/mountinfo", probe::kProcTextMax);
  if (!mountinfo) return mountinfo.error();
  auto mounts = probe::parse_cgroup_mounts(*mountinfo);
  if (!mounts) return mounts.error();
  groups.memberships = std::move(*member);
  groups.mounts = std::move(*mounts);
  return groups;
}

Status ProcSource::add_quotas(const Groups& groups, bool is_v2, CpuView& view) const {
  const auto place = probe::place_of(groups.memberships, groups.mounts, is_v2 ? "" : "cpu");
  if (!place) return {};
  for (const std::string& directory : with_ancestors(*place)) {
    const auto limit = read(directory + (is_v2 ? "/cpu.max" : "/cpu.cfs_quota_us"), 4096);
    if (!limit) {
      if (is_absent(limit.error())) continue;
      return limit.error();
    }
    Result<std::optional<probe::CpuQuota>> quota = std::optional<probe::CpuQuota>();
    if (is_v2) {
      quota = probe::parse_cpu_max(*limit);
    } else {
      const auto period = read(directory + "/cpu.cfs_period_us", 4096);
      if (!period) continue;
      quota = probe::parse_cfs_quota(*limit, *period);
    }
    if (!quota) return quota.error();
    if (quota->has_value()) view.quotas.push_back(**quota);
  }
  return {};
}

Result<CpuView> ProcSource::cpus() const {
  CpuView view;
  view.affinity_cpus = options_.affinity_cpus ? *options_.affinity_cpus : affinity_cpus();
  const auto stat_text = read("/proc/stat", probe::kProcTextMax);
  if (!stat_text) return stat_text.error();
  const auto stat = probe::parse_system_stat(*stat_text);
  if (!stat) return stat.error();
  view.online_cpus = stat->online_cpus;
  const auto own = groups("self");
  if (!own) return own.error();
  for (const bool is_v2 : {true, false}) {
    if (auto added = add_quotas(*own, is_v2, view); !added) return added.error();
  }
  view.usable_millis = probe::usable_cpus_millis(view.affinity_cpus, view.quotas);
  return view;
}

Status ProcSource::bound_memory(const Groups& groups, bool is_v2, MemoryView& view) const {
  const auto place = probe::place_of(groups.memberships, groups.mounts, is_v2 ? "" : "memory");
  if (!place) return {};
  for (const std::string& directory : with_ancestors(*place)) {
    const auto text = read(directory + (is_v2 ? "/memory.max" : "/memory.limit_in_bytes"), 4096);
    if (!text) {
      if (is_absent(text.error())) continue;
      return text.error();
    }
    const auto limit = probe::parse_memory_limit(*text);
    if (!limit) return limit.error();
    if (!limit->has_value()) continue;
    view.usable.total_bytes = std::min(view.usable.total_bytes, **limit);
    const auto usage =
        read(directory + (is_v2 ? "/memory.current" : "/memory.usage_in_bytes"), 4096);
    const auto stat = read(directory + "/memory.stat", probe::kProcTextMax);
    if (!usage || !stat) continue;
    const auto used = probe::parse_byte_count(*usage);
    if (!used) return used.error();
    // The file cache that nobody used lately is dropped before anything has to swap.
    const auto cache = probe::parse_keyed(*stat, is_v2 ? "inactive_file" : "total_inactive_file");
    const std::int64_t kept = std::max<std::int64_t>(0, *used - (cache ? *cache : 0));
    const std::int64_t room = std::max<std::int64_t>(0, **limit - kept);
    view.usable.available_bytes = std::min(view.usable.available_bytes, room);
  }
  return {};
}

Result<MemoryView> ProcSource::memory() const {
  const auto text = read("/proc/meminfo", probe::kProcTextMax);
  if (!text) return text.error();
  const auto memory = probe::parse_meminfo(*text);
  if (!memory) return memory.error();
  MemoryView view{memory->total_bytes, *memory};
  const auto own = groups("self");
  if (!own) return own.error();
  for (const bool is_v2 : {true, false}) {
    if (auto bounded = bound_memory(*own, is_v2, view); !bounded) return bounded.error();
  }
  return view;
}

Result<probe::ProcessTable> ProcSource::processes() const {
  probe::ProcessTable table;
  const auto now = since_boot();
  if (!now) return now.error();
  table.since_boot = *now;
  const Dir dir(::opendir((options_.root + "/proc").c_str()));
  if (!dir) return io_error("list /proc");
  while (const dirent* const entry = ::readdir(dir.get())) {
    const auto pid = as_pid(entry->d_name);
    if (!pid) continue;
    if (table.processes.size() == kProcessesMax) {
      table.cut_short = true;
      break;
    }
    const auto text = read("/proc/" + std::to_string(*pid) + "/stat", probe::kProcTextMax);
    if (!text) continue;
    auto process = probe::parse_process_stat(*text, units_);
    if (process) table.processes.push_back(std::move(*process));
  }
  std::sort(table.processes.begin(), table.processes.end(),
            [](const auto& a, const auto& b) { return a.pid < b.pid; });
  return table;
}

Result<probe::ProcessSample> ProcSource::process(std::int32_t pid) const {
  const std::string folder = "/proc/" + std::to_string(pid);
  const auto stat = read(folder + "/stat", probe::kProcTextMax);
  if (!stat) return stat.error();
  auto process = probe::parse_process_stat(*stat, units_);
  if (!process) return process;
  if (const auto text = read(folder + "/statm", probe::kProcTextMax)) {
    const auto memory = probe::parse_statm(*text, units_);
    if (!memory) return memory.error();
    process->rss_bytes = memory->rss_bytes;
  }
  if (const auto text = read(folder + "/cmdline", probe::kProcTextMax)) {
    std::string command = probe::command_text(*text);
    if (!command.empty()) process->command = std::move(command);
  }
  return process;
}

Result<std::string> ProcSource::own_cgroup() const {
  const auto own = groups("self");
  if (!own) return own.error();
  const auto place = probe::place_of(own->memberships, own->mounts, "");
  if (!place) return base::fail(Code::kUnsupported, "no cgroup v2 hierarchy is mounted");
  return place->mount_point + place->below;
}

Result<std::vector<std::string>> ProcSource::subtree(const std::string& directory,
                                                     bool skips_frozen) const {
  std::vector<std::string> found;
  std::vector<std::string> open = {directory};
  while (!open.empty()) {
    const std::string path = std::move(open.back());
    open.pop_back();
    if (skips_frozen) {
      // "frozen 1" says that everything in it and below it stands still.
      const auto events = read(path + "/cgroup.events", 4096);
      if (events) {
        const auto frozen = probe::parse_keyed(*events, "frozen");
        if (frozen && *frozen == 1) continue;
      }
    }
    const Dir dir(::opendir((options_.root + path).c_str()));
    if (!dir) {
      if (path == directory) return io_error("list " + path);
      continue;  // removed meanwhile
    }
    if (found.size() == kCgroupDirsMax) {
      return base::fail(Code::kTooLarge, directory + " has too many groups below it");
    }
    found.push_back(path);
    while (const dirent* const entry = ::readdir(dir.get())) {
      if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
        open.push_back(path + "/" + entry->d_name);
      }
    }
  }
  return found;
}

bool ProcSource::is_frozen_v1(std::int32_t thread_id) const {
  const auto theirs = groups(std::to_string(thread_id));
  if (!theirs) return false;
  const auto place = probe::place_of(theirs->memberships, theirs->mounts, "freezer");
  if (!place) return false;
  // A group's state follows its parent's, so the task's own group says it all.
  const auto state = read(place->mount_point + place->below + "/freezer.state", 4096);
  return state && (state->starts_with("FROZEN") || state->starts_with("FREEZING"));
}

bool ProcSource::counts_as_load(std::int32_t thread_id) const {
  const auto text = read("/proc/" + std::to_string(thread_id) + "/stat", probe::kProcTextMax);
  if (!text) return false;  // it ended
  const auto task = probe::parse_process_stat(*text, units_);
  if (!task) return false;
  if (task->state == 'R') return true;
  return task->state == 'D' && !is_frozen_v1(thread_id);
}

probe::PowerSample ProcSource::power(probe::Power before) const {
  const std::string folder = "/sys/class/power_supply";
  std::vector<probe::PowerSupply> supplies;
  const Dir dir(::opendir((options_.root + folder).c_str()));
  while (const dirent* const entry = dir ? ::readdir(dir.get()) : nullptr) {
    if (entry->d_name[0] == '.' || supplies.size() >= probe::kPowerSuppliesMax) continue;
    const auto text = read(folder + "/" + entry->d_name + "/uevent", kUeventSizeMax);
    if (!text) continue;
    if (auto supply = probe::parse_power_supply(*text)) supplies.push_back(*supply);
  }
  return probe::power_of(supplies, before);
}

std::optional<base::Duration> ProcSource::idle(std::int64_t wall) const {
  const auto text = read("/run/utmp", probe::kUtmpSizeMax);
  if (!text) return std::nullopt;
  std::optional<std::int64_t> last;
  for (const std::string& line : probe::parse_utmp(base::as_bytes(*text))) {
    struct stat info {};
    if (::stat((options_.root + "/dev/" + line).c_str(), &info) != 0) continue;
    last = std::max<std::int64_t>(last.value_or(0), info.st_atim.tv_sec);
  }
  if (!last) return std::nullopt;
  return std::chrono::seconds(std::max<std::int64_t>(wall - *last, 0));
}

Result<std::uint32_t> ProcSource::runnable_below(const std::string& directory) const {
  const auto directories = subtree(directory, /*skips_frozen=*/true);
  if (!directories) return directories.error();
  const std::int32_t self = options_.root.empty() ? ::gettid() : 0;
  std::uint32_t runnable = 0;
  for (const std::string& path : *directories) {
    const auto text = read(path + "/cgroup.threads", probe::kThreadsTextMax);
    if (!text) {
      if (is_absent(text.error())) continue;
      return text.error();
    }
    const auto threads = probe::parse_thread_ids(*text);
    if (!threads) return threads.error();
    for (const std::int32_t id : *threads) {
      if (id != self && counts_as_load(id)) ++runnable;
    }
  }
  return runnable;
}

Result<std::vector<probe::ProcessSample>> ProcSource::processes_below(
    const std::string& directory) const {
  const auto directories = subtree(directory, /*skips_frozen=*/false);
  if (!directories) return directories.error();
  std::vector<probe::ProcessSample> found;
  for (const std::string& path : *directories) {
    const auto text = read(path + "/cgroup.procs", probe::kThreadsTextMax);
    if (!text) {
      if (is_absent(text.error())) continue;
      return text.error();
    }
    const auto pids = probe::parse_thread_ids(*text);
    if (!pids) return pids.error();
    for (const std::int32_t pid : *pids) {
      auto one = process(pid);
      if (one) found.push_back(std::move(*one));
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.pid < b.pid; });
  // One that moved between groups meanwhile was met twice.
  const auto is_same = [](const auto& a, const auto& b) { return a.pid == b.pid; };
  found.erase(std::unique(found.begin(), found.end(), is_same), found.end());
  return found;
}

Result<LoadSource> ProcSource::resolve(LoadSource wanted) const {
  if (wanted != LoadSource::kAuto) return wanted;
  const auto view = cpus();
  if (!view) return view.error();
  const bool has_all = view->usable_millis >= std::int64_t{view->online_cpus} * 1000;
  if (has_all || !own_cgroup().ok()) return LoadSource::kSystem;
  return LoadSource::kCgroup;
}

}  // namespace machine
