#include "criu/leftovers.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "criu/work_dir.h"
#include "machine/cgroup.h"

namespace criu {
namespace {

namespace fs = std::filesystem;

base::Status clear(const std::string& path, machine::Patience patience) {
  auto cgroup = machine::Cgroup::open(path);
  if (!cgroup) return cgroup.error();
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
    const bool run = name.starts_with("criu-");
    if (run || (name.starts_with("job-") && !keep.contains(name))) doomed.push_back(name);
  }
  if (error) {
    return base::fail(base::Code::kNotFound, node_root + ": " + error.message());
  }
  // CRIU runs first: one that is killed lets go of the tasks it holds. Names sort that way.
  std::sort(doomed.begin(), doomed.end());
  Leftovers result;
  for (const std::string& name : doomed) {
    const auto wait = std::chrono::ceil<machine::Patience>(patience);
    if (base::Status gone = clear(node_root + "/" + name, wait); gone) {
      result.killed.push_back(name);
    } else {
      result.remaining.push_back(name + ": " + gone.error().detail);
    }
  }
  const std::string owner = fs::path(node_root).filename().string();
  for (const std::string& dir : stale_work_dirs(owner)) remove_work_dir(dir);
  return result;
}

}  // namespace criu
