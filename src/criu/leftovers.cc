#include "criu/leftovers.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "criu/work_dir.h"
#include "machine/cgroup.h"

namespace criu {
namespace {

namespace fs = std::filesystem;

// How long a dump that lost its reader may take to let go of its job by itself.
constexpr machine::Patience kGentlePatience = std::chrono::seconds(3);
constexpr std::string_view kRunPrefix = "criu-";
constexpr std::string_view kGuardPrefix = "guard-";

using Clock = std::chrono::steady_clock;

// Whether it came.
bool wait_for_end(const machine::Cgroup& cgroup, Clock::time_point deadline) {
  const std::string path = cgroup.path() + "/cgroup.events";
  const machine::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (;;) {
    char text[256];
    const ssize_t got = fd.valid() ? ::pread(fd.get(), text, sizeof text, 0) : -1;
    if (got < 0) return false;
    auto events = machine::parse_cgroup_events({text, static_cast<std::size_t>(got)});
    if (!events || !events->populated) return events.ok();
    const auto left = std::chrono::ceil<machine::Patience>(deadline - Clock::now()).count();
    pollfd one{fd.get(), POLLPRI, 0};
    if (left <= 0 || (::poll(&one, 1, static_cast<int>(left)) < 0 && errno != EINTR)) return false;
  }
}

base::Status clear(const machine::Cgroup& cgroup, machine::Patience patience) {
  if (base::Status killed = cgroup.kill_all(patience); !killed) return killed;
  return cgroup.remove();
}

}  // namespace

base::Result<Leftovers> kill_leftovers(const std::string& node_root,
                                       const std::set<std::string>& keep,
                                       const LeftoverPatience& patience) {
  std::vector<std::string> doomed;
  std::error_code error;
  for (fs::directory_iterator at(node_root, error), end; !error && at != end; at.increment(error)) {
    std::error_code not_folder;
    if (!at->is_directory(not_folder)) continue;
    const std::string name = at->path().filename().string();
    const bool run = name.starts_with(kRunPrefix) || name.starts_with(kGuardPrefix);
    if (run || (name.starts_with("job-") && !keep.contains(name))) doomed.push_back(name);
  }
  if (error) {
    return base::fail(base::Code::kNotFound, node_root + ": " + error.message());
  }
  // CRIU runs first, since one that is killed lets go of the tasks it holds, and their guards next.
  // Names sort that way.
  std::sort(doomed.begin(), doomed.end());
  Leftovers result;
  std::optional<Clock::time_point> guards_until;  // all have the same time, once CRIU is gone
  for (const std::string& name : doomed) {
    auto cgroup = machine::Cgroup::open(node_root + "/" + name);
    bool ended = false;
    if (cgroup && name.starts_with(kGuardPrefix)) {
      if (!guards_until) guards_until = Clock::now() + patience.guards;
      ended = wait_for_end(*cgroup, *guards_until);
    } else if (cgroup && name.starts_with(kRunPrefix)) {
      (void)wait_for_end(*cgroup, Clock::now() + kGentlePatience);
    }
    const auto wait = std::chrono::ceil<machine::Patience>(patience.each);
    const base::Status gone = cgroup ? clear(*cgroup, wait) : cgroup.error();
    if (!gone) {
      result.remaining.push_back(name + ": " + gone.error().detail);
    } else if (!ended) {
      result.killed.push_back(name);
    }
  }
  const std::string owner = fs::path(node_root).filename().string();
  for (const std::string& dir : stale_work_dirs(owner)) remove_work_dir(dir);
  return result;
}

}  // namespace criu
