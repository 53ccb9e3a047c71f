#include "machine/cpu_limit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "machine/fd.h"
#include "probe/cgroup_parse.h"

namespace machine {
namespace {

using base::Code;
using base::Status;

constexpr std::int64_t kPeriodMicros = 100'000;  // the kernel's default
constexpr std::int64_t kQuotaMin = 1000;         // the kernel's least
constexpr int kPassesMax = 32;                   // a job that forks faster is not caught
constexpr int kNiceMore = 10;
constexpr int kNiceAlready = 9;  // whoever is above yields enough
constexpr std::size_t kTextMax = 16 << 20;

Status write_file(const std::string& path, const std::string& text) {
  const Fd fd(retry([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC); }));
  if (!fd.valid()) return io_error("open " + path);
  const ssize_t wrote = retry([&] { return ::write(fd.get(), text.data(), text.size()); });
  if (wrote != static_cast<ssize_t>(text.size())) return io_error("write " + path);
  return {};
}

bool has_word(const std::string& path, const std::string& word) {
  const auto text = read_small_file(path, kTextMax);
  if (!text) return false;
  std::istringstream words(*text);
  for (std::string one; words >> one;) {
    if (one == word) return true;
  }
  return false;
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::int64_t quota_of(std::int64_t limit_micros) {
  return std::max(limit_micros / (1'000'000 / kPeriodMicros), kQuotaMin);
}

// ---- which means

// Empty, or why not.
std::string offer_cpu(const std::string& node_group) {
  if (node_group.empty()) return "no control groups of version 2";
  if (!has_word(node_group + "/cgroup.controllers", "cpu")) {
    const std::string above = parent_of(node_group);
    if (!has_word(above + "/cgroup.controllers", "cpu")) {
      return "version 2 has no cpu controller at " + above;
    }
    const Status offered = write_file(above + "/cgroup.subtree_control", "+cpu");
    if (!offered) return "version 2's cpu controller is not offered: " + offered.error().detail;
  }
  if (has_word(node_group + "/cgroup.subtree_control", "cpu")) return {};
  const Status offered = write_file(node_group + "/cgroup.subtree_control", "+cpu");
  return offered ? std::string()
                 : "version 2's cpu controller is not offered: " + offered.error().detail;
}

// The folder of our own group in the version 1 tree of the cpu controller.
base::Result<std::string> quota_home(const std::string& root) {
  auto mounts_text = read_small_file(root + "/proc/self/mountinfo", kTextMax);
  if (!mounts_text) return mounts_text.error();
  auto mounts = probe::parse_cgroup_mounts(*mounts_text);
  if (!mounts) return mounts.error();
  auto self_text = read_small_file(root + "/proc/self/cgroup", kTextMax);
  if (!self_text) return self_text.error();
  auto memberships = probe::parse_memberships(*self_text);
  if (!memberships) return memberships.error();
  const auto place = probe::place_of(*memberships, *mounts, "cpu");
  if (!place) return base::fail(Code::kUnsupported, "version 1 has no cpu controller either");
  std::string home = root + place->mount_point + place->below;
  while (home.size() > 1 && home.back() == '/') home.pop_back();
  // A group below an own one is as good as made where this may be written.
  const bool quotas =
      ::access((home + "/cpu.cfs_period_us").c_str(), F_OK) == 0 ||
      ::access((root + place->mount_point + "/cpu.cfs_period_us").c_str(), F_OK) == 0;
  if (!quotas) return base::fail(Code::kUnsupported, "the kernel has no CPU quotas");
  if (::access(home.c_str(), W_OK) != 0) return io_error("write to " + home);
  return home;
}

// ---- a group of version 1

std::set<pid_t> members(const std::string& group) {
  std::set<pid_t> found;
  const auto text = read_small_file(group + "/cgroup.procs", kTextMax);
  if (!text) return found;
  const auto pids = probe::parse_thread_ids(*text);
  if (pids) found.insert(pids->begin(), pids->end());
  return found;
}

Status add_member(const std::string& group, pid_t pid) {
  const Status added = write_file(group + "/cgroup.procs", std::to_string(pid));
  const bool gone = !added && added.error().code == Code::kNotFound;  // ESRCH: it ended meanwhile
  return gone && ::access(group.c_str(), F_OK) == 0 ? Status() : added;
}

// Until none is left: whoever forks meanwhile does so where he was.
Status send_back(const std::string& group, const std::string& home) {
  for (int pass = 0; pass < kPassesMax; ++pass) {
    const std::set<pid_t> left = members(group);
    if (left.empty()) break;
    for (const pid_t pid : left) {
      if (Status moved = add_member(home, pid); !moved) return moved;
    }
  }
  if (::rmdir(group.c_str()) != 0 && errno != ENOENT) return io_error("remove " + group);
  return {};
}

Status gather(const Cgroup& job, const std::string& group) {
  for (int pass = 0; pass < kPassesMax; ++pass) {
    auto pids = job.processes();
    if (!pids) return pids.error();
    const std::set<pid_t> there = members(group);
    bool all = true;
    for (const pid_t pid : *pids) {
      if (there.contains(pid)) continue;
      all = false;
      if (Status added = add_member(group, pid); !added) return added;
    }
    if (all) return {};
  }
  return base::fail(Code::kTimeout, "the job forks faster than it can be gathered");
}

Status lift_quota(const LimitTools& tools, const std::string& group) {
  if (::access(group.c_str(), F_OK) != 0) return {};
  Status lifted = write_file(group + "/cpu.cfs_quota_us", "-1");
  const Status back = send_back(group, tools.quota_home);
  (void)::rmdir(tools.quota_root.c_str());  // of others there may be some
  return lifted ? back : lifted;
}

Status set_quota(const LimitTools& tools, const Cgroup& job, std::int64_t limit) {
  const std::string group = tools.quota_root + "/" + name_of(job.path());
  if (limit == 0) return lift_quota(tools, group);
  for (const std::string& folder : {tools.quota_root, group}) {
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return io_error("make " + folder);
  }
  Status set = write_file(group + "/cpu.cfs_period_us", std::to_string(kPeriodMicros));
  if (set) set = write_file(group + "/cpu.cfs_quota_us", std::to_string(quota_of(limit)));
  if (set) set = gather(job, group);
  if (!set) (void)lift_quota(tools, group).ok();
  return set;
}

// ---- nice

using NiceMap = std::map<int, int>;  // what it is now to what it was

std::string nice_file(const std::string& job_dir) { return job_dir + "/nice"; }

NiceMap read_nice(const std::string& job_dir) {
  NiceMap map;
  const auto text = read_small_file(nice_file(job_dir), 4096);
  if (!text) return map;
  std::istringstream lines(*text);
  for (int from = 0, to = 0; lines >> from >> to;) {
    if (from >= -20 && to <= 19 && to - from == kNiceMore) map.emplace(to, from);
  }
  return map;
}

Status keep_nice(const std::string& job_dir, const NiceMap& map) {
  std::string text;
  for (const auto& [to, from] : map) text += std::to_string(from) + " " + std::to_string(to) + "\n";
  const std::string path = nice_file(job_dir);
  const std::string fresh = path + ".new";
  const Fd made(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!made.valid()) return io_error("make " + fresh);
  if (Status written = write_file(fresh, text); !written) return written;
  if (::fsync(made.get()) != 0) return io_error("store " + fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return io_error("store " + path);
  return {};
}

// What a thread is at; none: it ended.
std::optional<int> nice_of(pid_t thread) {
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(thread));
  return errno == 0 ? std::optional(nice) : std::nullopt;
}

Status renice(pid_t thread, int nice) {
  if (::setpriority(PRIO_PROCESS, static_cast<id_t>(thread), nice) == 0 || errno == ESRCH) {
    return {};
  }
  return io_error("renice thread " + std::to_string(thread));
}

Status nice_back(const Cgroup& job, const std::string& job_dir) {
  const NiceMap changed = read_nice(job_dir);
  if (changed.empty()) return {};
  for (int pass = 0; pass < kPassesMax; ++pass) {
    auto threads = job.threads();
    if (!threads) return threads.error();
    bool all = true;
    for (const pid_t thread : *threads) {
      const auto nice = nice_of(thread);
      const auto known = nice ? changed.find(*nice) : changed.end();
      if (known == changed.end()) continue;
      all = false;
      if (Status set = renice(thread, known->second); !set) return set;
    }
    if (all) break;
  }
  (void)::unlink(nice_file(job_dir).c_str());
  return {};
}

Status nice_down(const Cgroup& job, const std::string& job_dir) {
  NiceMap changed = read_nice(job_dir);
  for (int pass = 0; pass < kPassesMax; ++pass) {
    auto threads = job.threads();
    if (!threads) return threads.error();
    bool all = true;
    for (const pid_t thread : *threads) {
      const auto nice = nice_of(thread);
      if (!nice || *nice > kNiceAlready || changed.contains(*nice)) continue;
      all = false;
      if (changed.emplace(*nice + kNiceMore, *nice).second) {
        if (Status kept = keep_nice(job_dir, changed); !kept) return kept;
      }
      if (Status set = renice(thread, *nice + kNiceMore); !set) return set;
    }
    if (all) return {};
  }
  return base::fail(Code::kTimeout, "the job forks faster than it can be reniced");
}

Status set_cpu_max(const Cgroup& job, std::int64_t limit) {
  const std::string period = " " + std::to_string(kPeriodMicros);
  const std::string path = job.path() + "/cpu.max";
  if (limit == 0 && ::access(path.c_str(), F_OK) != 0) return {};
  return write_file(path, (limit == 0 ? "max" : std::to_string(quota_of(limit))) + period);
}

}  // namespace

const char* limit_means_name(LimitMeans means) {
  static constexpr const char* kNames[] = {"none", "cpu.max", "quota", "nice"};
  return kNames[static_cast<std::size_t>(means)];
}

bool may_renice() {
  if (::geteuid() == 0) return true;
  rlimit limit{};
  return ::getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= 20;  // 20 - 20: down to 0
}

LimitTools find_limit_tools(const std::string& node_group, const std::string& instance,
                            const std::string& root, bool may_renice) {
  LimitTools tools;
  tools.why = offer_cpu(node_group);
  if (tools.why.empty()) {
    tools.means = LimitMeans::kCpuMax;
    return tools;
  }
  const auto home = quota_home(root);
  if (home) {
    tools.means = LimitMeans::kQuota;
    tools.quota_home = *home;
    tools.quota_root = *home + "/tern-" + instance;
    return tools;
  }
  tools.why += "; " + home.error().detail;
  if (may_renice) {
    tools.means = LimitMeans::kNice;
    return tools;
  }
  tools.why += "; and a nice value that is not root's could not be set back";
  return tools;
}

Status limit_cpu(const LimitTools& tools, const Cgroup& job, const std::string& job_dir,
                 std::int64_t limit_micros) {
  // Whatever an earlier daemon used, when what works here was something else.
  if (tools.means != LimitMeans::kNice) {
    if (Status back = nice_back(job, job_dir); !back) return back;
  }
  switch (tools.means) {
    case LimitMeans::kNone:
      return limit_micros == 0 ? Status() : base::fail(Code::kUnsupported, tools.why);
    case LimitMeans::kCpuMax:
      return set_cpu_max(job, limit_micros);
    case LimitMeans::kQuota:
      return set_quota(tools, job, limit_micros);
    case LimitMeans::kNice:
      break;
  }
  if (limit_micros == 0) return nice_back(job, job_dir);
  Status set = nice_down(job, job_dir);
  if (!set) (void)nice_back(job, job_dir).ok();
  return set;
}

Status suspend_limit(const LimitTools& tools, const Cgroup& job, const std::string& job_dir) {
  if (Status back = nice_back(job, job_dir); !back) return back;
  if (tools.means == LimitMeans::kCpuMax) return set_cpu_max(job, 0);
  if (tools.means != LimitMeans::kQuota) return {};
  const std::string group = tools.quota_root + "/" + name_of(job.path());
  if (::access(group.c_str(), F_OK) != 0) return {};
  return write_file(group + "/cpu.cfs_quota_us", "-1");
}

void remove_unused_limits(const LimitTools& tools, const std::string& prefix) {
  if (tools.quota_root.empty()) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(tools.quota_root.c_str()), ::closedir);
  if (!folder) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (name.starts_with("job-") && name.starts_with(prefix)) {
      (void)::rmdir((tools.quota_root + "/" + name).c_str());  // not while somebody is in it
    }
  }
  (void)::rmdir(tools.quota_root.c_str());
}

}  // namespace machine
