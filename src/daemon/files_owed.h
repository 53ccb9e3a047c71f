// On a guest's disk: which jobs' files it owes to their homes (files_home.h). FOLDER/<job> until
// home has them, [version = 2, spec bytes, epoch, [path...]] (1: without the paths); then
// FOLDER/<job>.home until what came with the job is gone from here: of a list of what is left home
// would take the rest for removed by the job. Blocking; stateless. All is on the disk before a call
// returns.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "node/job_wire.h"

namespace ternd {

struct FilesOwed {
  node::JobSpec spec;
  base::Epoch epoch;
  // Of what came with the job what it had removed when it ended; none: not known.
  std::optional<std::set<std::string>> removed = {};
};

namespace files_owed {

[[nodiscard]] base::Status note(const std::string& folder, const FilesOwed& owed);
// Whatever of them was noted.
[[nodiscard]] base::Status home_has_it(const std::string& folder, const FilesOwed& owed);
[[nodiscard]] bool is_home(const std::string& folder, const FilesOwed& owed);
[[nodiscard]] base::Status remove(const std::string& folder, const base::JobId& job);

struct Found {
  FilesOwed owed;
  bool home_has_it = false;
};
struct All {
  std::vector<Found> found;
  struct Unreadable {
    std::string name;
    std::string why;
  };
  std::vector<Unreadable> unreadable;
};
[[nodiscard]] All read_all(const std::string& folder);

}  // namespace files_owed
}  // namespace ternd
