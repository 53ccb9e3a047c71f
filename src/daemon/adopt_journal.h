// What a job's folder says of an adoption that has begun (daemon/adopt_desk.h), and what a daemon
// that finds it after a restart does first.
//
//   adopting   [version = 1, committed, PID of the root, its start in ticks,
//               [[PID, cgroup <= 4096 bytes] ...] <= 512, [PID that was stopped ...] <= 512]
//
// Written before anything is done to the processes, and again, as a whole, when it is committed:
// that is the moment from which the copy is the job and the original has to go. Removed when all is
// done. The cgroups are those that the processes came from, below the mount of the version 2 tree.
// Blocking.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/result.h"
#include "daemon/paths.h"
#include "machine/adopt_tree.h"

namespace ternd {

struct AdoptJournal {
  bool committed = false;
  pid_t root = 0;
  std::uint64_t start_ticks = 0;
  std::map<pid_t, std::string> origins;
  std::vector<std::int32_t> stopped;
  friend bool operator==(const AdoptJournal&, const AdoptJournal&) = default;
};

[[nodiscard]] base::Bytes encode(const AdoptJournal& journal);
[[nodiscard]] base::Result<AdoptJournal> decode_adopt_journal(base::ByteView bytes);

namespace adoption {

[[nodiscard]] std::string group_of(const Paths& paths, const base::JobId& job);
[[nodiscard]] base::Status write(const std::string& dir, const AdoptJournal& journal);
// None: nothing is being adopted as that job.
[[nodiscard]] base::Result<std::optional<AdoptJournal>> read(const std::string& dir);
[[nodiscard]] base::Status remove(const std::string& dir);

// Brings the tree into the group, whatever it forks meanwhile, and freezes it there.
// kRefused: it cannot be had whole, and why; kNotFound: it ended. It is then for put_back().
[[nodiscard]] base::Result<machine::ProcessTree> take(const std::string& group,
                                                      const AdoptJournal& journal);
// The root is still there, and runs or stands.
[[nodiscard]] bool original_lives(const AdoptJournal& journal);
// Of it, to follow the reason why it is not adopted.
[[nodiscard]] std::string what_became(const AdoptJournal& journal, std::string_view reason);
// Whoever is left in the group runs on where it was, and the group goes. Ok if there is none.
[[nodiscard]] base::Status put_back(const std::string& group, const AdoptJournal& journal);
// Kills what is in it. Ok if there is none.
[[nodiscard]] base::Status end_original(const std::string& group);
// At the daemon's start, when nothing of CRIU is left: whatever was not committed is put back, and
// its copy killed; of what was, the original is killed.
void recover(const Paths& paths, base::Log& log);

}  // namespace adoption
}  // namespace ternd
