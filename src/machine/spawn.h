// Starting programs from a process with many threads: nothing between clone and exec allocates,
// locks or touches state of this process, and the new program has exactly the descriptors it was
// given. Used for jobs, keepers and CRIU runs.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "init/become.h"
#include "machine/cgroup.h"
#include "machine/fd.h"

namespace machine {

struct PassedFd {
  int from;  // ours; stays ours
  int to;    // its number there, below kPassedFdMax, each at most once
};
inline constexpr int kPassedFdMax = 64;

using SpawnUser = init::User;  // takes root

struct SpawnSpec {
  std::string program;            // a path; no search
  std::vector<std::string> argv;  // argv[0] included
  std::vector<std::string> env;   // KEY=VALUE; the whole environment
  // 0, 1 and 2 are /dev/null unless they are among these. Everything else is closed.
  std::vector<PassedFd> fds;
  std::string dir;                 // empty: ours
  const Cgroup* cgroup = nullptr;  // born there; null: our own
  std::uint64_t namespaces = 0;    // CLONE_NEW...
  std::optional<SpawnUser> user;   // none: as we run
};

struct Spawned {
  pid_t pid = 0;
  Fd pidfd;  // readable when it has ended; the caller reaps it (waitid P_PIDFD)
};

// Returns when the program runs, or why it does not: kNotFound, kRefused, kUnsupported (namespaces
// or clone3 missing) or kIo. All signals arrive there with default dispositions, unblocked.
[[nodiscard]] base::Result<Spawned> spawn(const SpawnSpec& spec);

// Children that end when nobody waits for them: reaped by the next reap(). Any thread.
class Children {
 public:
  void add(Spawned child);
  void reap();  // those that have ended; blocks for none
  [[nodiscard]] std::size_t size() const;

 private:
  mutable std::mutex alone_;
  std::vector<Spawned> running_;
};

// Waits for the end of a process that spawn() started and reaps it: its wait status. kTimeout.
[[nodiscard]] base::Result<int> wait_for_end(const Spawned& process, Patience patience);

}  // namespace machine
