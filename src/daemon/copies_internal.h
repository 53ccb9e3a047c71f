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
#include "init/spool.h"

namespace ternd {

inline constexpr int kAtLimitSaid = 40;               // tries of the keeper, 2 s
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
  std::int64_t limit_micros = 0;  // of operations alone
  std::string limit_trouble;      // when it could not be set again, of operations alone
  const machine::LimitTools* limits = nullptr;
  int store_errno = 0;     // why its keeper could not store, the last time
  int store_failures = 0;  // that many times in a row
  std::string missing;     // of its folder (Callbacks::vanished), when it was attended
  bool gone = false;       // killed or ended: no keeper is wanted any more
  bool forget = false;     // its folder goes with it
  struct Operation {
    const char* what;
    Work work;
    Done done;
  };
  bool busy = false;
  const char* doing = "";  // while busy, like the next
  base::Time began{};
  base::Time slow_said{};
  std::deque<Operation> queue;
  base::Time heard{};               // of its keeper, the last time
  std::optional<base::Time> asked;  // it has said nothing since
  base::Time renewed{};             // when it was connected to anew because of that

  void drop_keeper() {
    keeper_poll.reset();
    keeper.reset();
    asked.reset();
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
