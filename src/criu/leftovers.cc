#include "criu/leftovers.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
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

void wait_for_end(const machine::Cgroup& cgroup, machine::Patience patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const std::string path = cgroup.path() + "/cgroup.events";
  const machine::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  for (;;) {
    char text[256];
    const ssize_t got = fd.valid() ? ::pread(fd.get(), text, sizeof text, 0) : -1;
    if (got < 0) return;
    auto events = machine::parse_cgroup_events({text, static_cast<std::size_t>(got)});
    if (!events || !events->populated) return;
    const auto left =
        std::chrono::ceil<machine::Patience>(deadline - std::chrono::steady_clock::now()).count();
    pollfd one{fd.get(), POLLPRI, 0};
    if (left <= 0 || (::poll(&one, 1, static_cast<int>(left)) < 0 && errno != EINTR)) return;
  }
}

base::Status clear(const std::string& path, std::string_view name, machine::Patience patience) {
  auto cgroup = machine::Cgroup::open(path);
  if (!cgroup) return cgroup.error();
  if (name.starts_with(kGuardPrefix)) {
    wait_for_end(*cgroup, std::chrono::ceil<machine::Patience>(kGuardPatience));
    return cgroup->remove();  // busy: it has not ended
  }
  if (name.starts_with(kRunPrefix)) wait_for_end(*cgroup, kGentlePatience);
  if (base::Status killed = cgroup->kill_all(patience); !killed) return killed;
  return cgroup->remove();
}

}  // namespace

base::Result<Leftovers> kill_leftovers(const std::string& node_root,
                                       const std::set<std::string>& keep, base::Duration patience) {
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
  for (const std::string& name : doomed) {
    const auto wait = std::chrono::ceil<machine::Patience>(patience);
    if (base::Status gone = clear(node_root + "/" + name, name, wait); gone) {
      if (!name.starts_with(kGuardPrefix)) result.killed.push_back(name);
    } else {
      result.remaining.push_back(name + ": " + gone.error().detail);
    }
  }
  const std::string owner = fs::path(node_root).filename().string();
  for (const std::string& dir : stale_work_dirs(owner)) remove_work_dir(dir);
  return result;
}

}  // namespace criu
