// What a killed daemon left: CRIU runs and half-made copies that could otherwise finish later.
//
// At the daemon's start, before anything else is done with jobs: every cgroup criu-* below the
// node's root (a dump gets 3 s to end by itself: its pipes are broken, and what a killed CRIU
// leaves in a job its guard has to repair), and every job-* that is not in `keep`, is killed,
// seen empty and removed; then the work folders go. A guard (guard-criu-*, criu/run.h) is waited
// for first: it may be repairing its job, which nobody may thaw before. Other cgroups (keepers) are
// not touched. Blocking, as long as LeftoverPatience says.
// `keep` holds names such as job-<jobid>-e<epoch>: of running jobs and of copies that are held and
// whose handover has no outcome yet. Getting it wrong loses jobs; it comes from the store.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "criu/run.h"

namespace criu {

struct Leftovers {
  std::vector<std::string> killed;     // cgroups, by name, now gone
  std::vector<std::string> remaining;  // that would not die or go, with the reason
};

struct LeftoverPatience {
  base::Duration each = std::chrono::seconds(10);  // for the killed to be gone
  base::Duration guards = kGuardPatience;          // for all guards together, before that
};

// kNotFound if there is no such root. Work folders are those of the root's own name.
[[nodiscard]] base::Result<Leftovers> kill_leftovers(const std::string& node_root,
                                                     const std::set<std::string>& keep,
                                                     const LeftoverPatience& patience = {});

}  // namespace criu
