// As whom a job's files are read and placed: its user, with her groups.
#pragma once

#include <cstdint>
#include <vector>

#include "machine/job_tree.h"
#include "node/job_wire.h"

namespace ternd {

// The user's first group first.
[[nodiscard]] inline std::vector<std::uint32_t> gids_of(const node::JobSpec& spec) {
  std::vector<std::uint32_t> gids = {spec.gid};
  gids.insert(gids.end(), spec.groups.begin(), spec.groups.end());
  return gids;
}

[[nodiscard]] inline bool same_user(const node::JobSpec& a, const node::JobSpec& b) {
  return a.uid == b.uid && a.gid == b.gid && a.groups == b.groups;
}

// The folder named with --dir; what else travels is the caller's to add.
[[nodiscard]] inline machine::JobTreeSpec tree_of(const node::JobSpec& spec) {
  machine::JobTreeSpec tree;
  tree.uid = spec.uid;
  tree.gids = gids_of(spec);
  tree.dir = spec.dir;
  return tree;
}

}  // namespace ternd
