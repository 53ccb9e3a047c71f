// What copies.cc and copies_orders.cc share; for them alone.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/copies.h"
#include "daemon/job_folder.h"
#include "init/contract.h"

namespace ternd {

inline constexpr machine::Patience kPatience{20000};  // of one operation on a cgroup or a keeper

// The copies of a job that were born at or before `newest`, oldest first; those without a process
// only if `empty` too. An error is not "none".
[[nodiscard]] base::Result<std::vector<base::Epoch>> find_copies(const std::string& root,
                                                                 const base::JobId& job,
                                                                 base::Epoch newest,
                                                                 bool empty = false);
// Kills and removes them, whoever started them.
[[nodiscard]] base::Status kill_copies(const std::string& root, const base::JobId& job,
                                       base::Epoch newest);
struct Copies::Copy {
  base::JobId job;
  base::Epoch born;
  std::string dir;
  std::optional<machine::Cgroup> cgroup;
  CopyView view;
  node::StreamEnds bases{};
  node::StreamEnds ends{};
  std::optional<machine::KeeperClient> keeper;
  std::unique_ptr<loop::Poll> keeper_poll;
  std::unique_ptr<loop::Timer> retry;
  bool gone = false;    // killed or ended: no keeper is wanted any more
  bool forget = false;  // its folder goes with it
  bool busy = false;
  std::deque<std::pair<Work, Done>> queue;

  void drop_keeper() {
    keeper_poll.reset();
    keeper.reset();
  }
};

// What an operation found out off the loop; taken over on the loop.
struct Copies::Found {
  CopyView view;
  node::StreamEnds bases{};
  std::optional<machine::Cgroup> cgroup;
  // Of a copy that is not there: how it ended, as far as that was stored, and where its output
  // does.
  std::optional<init::ExitRecord> exit;
  node::StreamEnds ends{};
};

}  // namespace ternd
