#include "machine/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <map>
#include <memory>
#include <set>

#include "probe/cgroup_parse.h"
#include "probe/proc_parse.h"

namespace machine {
namespace {

constexpr std::size_t kListSizeMax = 16 << 20;  // two million PIDs
constexpr std::size_t kGroupsBelowMax = 4096;
constexpr std::size_t kStatusSizeMax = 64 << 10;
constexpr mode_t kFolderMode = 0755;

using Clock = std::chrono::steady_clock;

bool is_empty(const CgroupEvents& events) { return !events.populated; }
bool is_frozen(const CgroupEvents& events) { return events.frozen; }
bool is_thawed(const CgroupEvents& events) { return !events.frozen; }

// Whether SIGSTOP waits for the process, by its status' line "ShdPnd: <64 bits in hexadecimal>".
bool stop_is_pending(const std::string& status) {
  constexpr std::string_view kKey = "\nShdPnd:\t";
  const std::size_t at = status.find(kKey);
  if (at == std::string::npos) return false;
  const char* const begin = status.data() + at + kKey.size();
  std::uint64_t set = 0;
  const auto [end, error] = std::from_chars(begin, status.data() + status.size(), set, 16);
  return error == std::errc{} && ((set >> (SIGSTOP - 1)) & 1U) != 0;
}

base::Result<std::vector<std::string>> folders_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (!folder) return io_error("list " + path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

}  // namespace

base::Result<std::string> own_cgroup() {
  auto mounts_text = read_small_file("/proc/self/mountinfo", 16 << 20);
  if (!mounts_text) return mounts_text.error();
  auto mounts = probe::parse_cgroup_mounts(*mounts_text);
  if (!mounts) return mounts.error();
  auto self_text = read_small_file("/proc/self/cgroup", 64 << 10);
  if (!self_text) return self_text.error();
  auto memberships = probe::parse_memberships(*self_text);
  if (!memberships) return memberships.error();
  const auto place = probe::place_of(*memberships, *mounts, "");
  if (!place) {
    return base::fail(base::Code::kUnsupported, "this system has no control groups, version 2");
  }
  return place->mount_point + place->below;
}

base::Result<CgroupEvents> parse_cgroup_events(std::string_view text) {
  auto populated = probe::parse_keyed(text, "populated");
  if (!populated) return populated.error();
  auto frozen = probe::parse_keyed(text, "frozen");
  if (!frozen) return frozen.error();
  return CgroupEvents{*populated != 0, *frozen != 0};
}

base::Result<Cgroup> Cgroup::open(const std::string& path) {
  Fd folder(retry([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!folder.valid()) return io_error("open control group " + path);
  return Cgroup(path, std::move(folder));
}

base::Result<Cgroup> Cgroup::create(const std::string& path) {
  if (::mkdir(path.c_str(), kFolderMode) != 0) return io_error("make control group " + path);
  return open(path);
}

base::Result<Cgroup> Cgroup::open_or_create(const std::string& path) {
  if (::mkdir(path.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return io_error("make control group " + path);
  }
  return open(path);
}

base::Status Cgroup::write(const char* file, std::string_view text) const {
  const Fd fd(retry([&] { return ::openat(folder_.get(), file, O_WRONLY | O_CLOEXEC); }));
  if (!fd.valid()) return io_error("open " + path_ + "/" + file);
  const ssize_t wrote = retry([&] { return ::write(fd.get(), text.data(), text.size()); });
  if (wrote != static_cast<ssize_t>(text.size())) return io_error("write " + path_ + "/" + file);
  return {};
}

base::Result<CgroupEvents> Cgroup::events() const {
  auto text = read_small_file(path_ + "/cgroup.events", 4096);
  if (!text) return text.error();
  return parse_cgroup_events(*text);
}

// Reading arms the poll: a change after the read wakes it, so none is missed.
base::Status Cgroup::wait(Patience patience, bool (*wanted)(const CgroupEvents&)) const {
  const auto deadline = Clock::now() + patience;
  const Fd fd(
      retry([&] { return ::openat(folder_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC); }));
  if (!fd.valid()) return io_error("open " + path_ + "/cgroup.events");
  for (;;) {
    char text[512];
    const ssize_t size = retry([&] { return ::pread(fd.get(), text, sizeof text, 0); });
    if (size < 0) return io_error("read " + path_ + "/cgroup.events");
    auto events = parse_cgroup_events({text, static_cast<std::size_t>(size)});
    if (!events) return events.error();
    if (wanted(*events)) return {};
    const auto left = std::chrono::ceil<Patience>(deadline - Clock::now()).count();
    if (left <= 0) {
      return base::fail(base::Code::kTimeout, "control group " + path_ + " took too long");
    }
    pollfd one{fd.get(), POLLPRI, 0};
    const int slice = static_cast<int>(std::min<decltype(left + 0)>(left, 60'000));
    if (::poll(&one, 1, slice) < 0 && errno != EINTR) return io_error("wait for " + path_);
  }
}

base::Result<std::vector<std::string>> Cgroup::tree() const {
  std::vector<std::string> groups{path_};  // parents before children
  for (std::size_t at = 0; at < groups.size(); ++at) {
    auto below = folders_in(groups[at]);
    if (!below) return below.error();
    for (const auto& name : *below) groups.push_back(groups[at] + "/" + name);
    if (groups.size() > kGroupsBelowMax) {
      return base::fail(base::Code::kTooLarge, "too many control groups below " + path_);
    }
  }
  return groups;
}

base::Result<std::vector<pid_t>> Cgroup::list(const char* file) const {
  auto groups = tree();
  if (!groups) return groups.error();
  std::vector<pid_t> all;
  for (const auto& group : *groups) {
    auto text = read_small_file(group + "/" + file, kListSizeMax);
    if (!text) return text.error();
    auto pids = probe::parse_thread_ids(*text);
    if (!pids) return pids.error();
    all.insert(all.end(), pids->begin(), pids->end());
  }
  return all;
}

base::Result<std::vector<pid_t>> Cgroup::processes() const { return list("cgroup.procs"); }
base::Result<std::vector<pid_t>> Cgroup::threads() const { return list("cgroup.threads"); }
base::Status Cgroup::add(pid_t pid) const { return write("cgroup.procs", std::to_string(pid)); }

base::Status Cgroup::freeze(Patience patience) const {
  auto written = write("cgroup.freeze", "1");
  return written ? wait(patience, is_frozen) : written;
}

base::Status Cgroup::freeze_for_dump(Patience patience) const {
  constexpr int kPauseMax = 128;  // milliseconds
  const auto deadline = Clock::now() + patience;
  for (int pause = 2;; pause = std::min(2 * pause, kPauseMax)) {
    const auto left = std::chrono::ceil<Patience>(deadline - Clock::now());
    if (auto frozen = freeze(left); !frozen) return frozen;
    auto tasks = threads();
    if (!tasks) return tasks.error();
    const auto blocked = std::find_if(tasks->begin(), tasks->end(), [](pid_t task) {
      auto state = task_state(task);
      return state && state->state == 'D';
    });
    if (blocked == tasks->end()) return {};
    if (left <= Patience::zero()) {
      return base::fail(base::Code::kTimeout,
                        "task " + std::to_string(*blocked) + " sleeps uninterruptibly");
    }
    if (auto thawed = thaw(left); !thawed) return thawed;
    ::poll(nullptr, 0, pause);
  }
}

base::Status Cgroup::thaw(Patience patience) const {
  auto written = write("cgroup.freeze", "0");
  return written ? wait(patience, is_thawed) : written;
}

base::Status Cgroup::kill_all(Patience patience) const {
  auto written = write("cgroup.kill", "1");
  return written ? wait(patience, is_empty) : written;
}

base::Status Cgroup::remove() const {
  auto groups = tree();
  if (!groups) return groups.error();
  for (auto group = groups->rbegin(); group != groups->rend(); ++group) {
    if (::rmdir(group->c_str()) != 0) return io_error("remove control group " + *group);
  }
  return {};
}

base::Result<ProcessName> find_init(const Cgroup& job) {
  auto pids = job.processes();
  if (!pids) return pids.error();
  for (const pid_t pid : *pids) {
    auto text = read_small_file("/proc/" + std::to_string(pid) + "/status", kStatusSizeMax);
    if (!text) continue;  // ended meanwhile
    auto status = probe::parse_process_status(*text);
    if (!status) return status.error();
    // One PID for each namespace from ours inwards; ours alone is no job.
    if (status->ns_pids.size() < 2 || status->ns_pids.back() != 1) continue;
    return name_process(pid);
  }
  return base::fail(base::Code::kNotFound, "no job lives in " + job.path());
}

std::vector<std::int32_t> stopped_members(const std::string& job) {
  std::vector<std::int32_t> stopped;
  auto group = Cgroup::open(job);
  if (!group) return stopped;
  auto pids = group->processes();
  if (!pids) return stopped;
  for (const pid_t pid : *pids) {
    auto state = task_state(pid);
    if (!state || state->state != 'T') continue;
    auto text = read_small_file("/proc/" + std::to_string(pid) + "/status", kStatusSizeMax);
    if (!text) continue;  // ended meanwhile
    auto status = probe::parse_process_status(*text);
    if (status && !status->ns_pids.empty()) stopped.push_back(status->ns_pids.back());
  }
  return stopped;
}

namespace {

// /proc/PID/cgroup has the path below the mount point, which job.path() begins with.
bool is_member(const Cgroup& job, const std::string& cgroup_file) {
  std::size_t at = 0;
  while (cgroup_file.compare(at, 3, "0::") != 0) {
    at = cgroup_file.find('\n', at);
    if (at == std::string::npos) return false;
    ++at;
  }
  std::string path = cgroup_file.substr(at + 3, cgroup_file.find('\n', at) - at - 3);
  for (; path.size() > 1; path.resize(path.rfind('/'))) {
    if (job.path().ends_with(path)) return true;
  }
  return false;
}

}  // namespace

base::Status signal_member(const Cgroup& job, pid_t pid, int signal) {
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) return io_error("open process " + std::to_string(pid));
  auto text = read_small_file("/proc/" + std::to_string(pid) + "/cgroup", kListSizeMax);
  if (!text) return text.error();
  if (!is_member(job, *text)) {
    return base::fail(base::Code::kNotFound,
                      "process " + std::to_string(pid) + " is not in " + job.path());
  }
  // If this finds the process, its PID was nobody else's when the file was read.
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) != 0) {
    return io_error("signal process " + std::to_string(pid));
  }
  return {};
}

base::Status signal_members(const Cgroup& job, pid_t except, int signal) {
  constexpr int kPassesMax = 16;  // a job that forks faster than that is not ended by signals
  std::set<pid_t> told{except};
  for (int pass = 0; pass < kPassesMax; ++pass) {
    auto pids = job.processes();
    if (!pids) return pids.error();
    bool news = false;
    for (const pid_t pid : *pids) {
      if (!told.insert(pid).second) continue;
      news = true;
      auto sent = signal_member(job, pid, signal);
      if (!sent && sent.error().code != base::Code::kNotFound) return sent;
    }
    if (!news) return {};
  }
  return {};
}

base::Status check_held(const Cgroup& job) {
  auto events = job.events();
  if (!events) return events.error();
  if (!events->frozen) return base::fail(base::Code::kRefused, job.path() + " is not frozen");
  auto tasks = job.threads();
  if (!tasks) return tasks.error();
  if (tasks->empty()) return base::fail(base::Code::kNotFound, "no job lives in " + job.path());
  std::map<pid_t, bool> held;  // by process
  for (const pid_t task : *tasks) {
    auto text = read_small_file("/proc/" + std::to_string(task) + "/status", kStatusSizeMax);
    if (!text) return text.error();
    auto status = probe::parse_process_status(*text);
    if (!status) return status.error();
    if (status->state == 'Z' || status->state == 'X') continue;  // travelled as one; runs no more
    held[status->tgid] |= status->state == 'T' || stop_is_pending(*text);
  }
  for (const auto& [process, is_held] : held) {
    if (!is_held) {
      return base::fail(base::Code::kRefused,
                        "process " + std::to_string(process) + " of the copy is not stopped");
    }
  }
  return {};
}

base::Status release_held(const Cgroup& job, Patience patience) {
  auto pids = job.processes();
  if (!pids) return pids.error();
  for (const pid_t pid : *pids) {
    // By PID: all are stopped and frozen, so none can end and be replaced meanwhile, except by
    // SIGKILL, after which a signal to nobody (ESRCH) is none.
    if (::kill(pid, SIGCONT) != 0 && errno != ESRCH) {
      return io_error("continue process " + std::to_string(pid));
    }
  }
  return job.thaw(patience);
}

}  // namespace machine
