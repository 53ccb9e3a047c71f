// A running process that tern did not start, with all its descendants: who they are, and whether
// they may become a job. What they have open is a matter of machine/adopt_look.h.
//
// Reading goes through a folder like /proc, so that recorded ones can be read too; what is decided
// is decided from the values alone. A process that ends while it is looked at is left out.
// Blocking.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace machine {

inline constexpr std::size_t kAdoptedMax = 512;          // processes of one job; more are refused
inline constexpr std::size_t kAdoptThreadsMax = 16384;   // of all of them
inline constexpr std::size_t kNumbersReadMax = 1 << 20;  // of a machine; more are not looked at

// The fields of /proc/PID/stat that place a process among others.
struct Relatives {
  std::string name;  // comm, bytes
  char state = '?';
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  int terminal = 0;         // device number of the controlling one; 0: none
  std::uint64_t flags = 0;  // PF_ of the kernel
  std::uint64_t start_ticks = 0;
  friend bool operator==(const Relatives&, const Relatives&) = default;
};
// kInvalid: cut off, or a number that does not fit.
[[nodiscard]] base::Result<Relatives> parse_relatives(std::string_view stat);

struct TreeProcess {
  pid_t pid = 0;
  Relatives relatives;
  std::array<std::uint32_t, 4> uids{};  // real, effective, saved, file system
  std::array<std::uint32_t, 4> gids{};
  std::vector<std::uint32_t> groups;
  std::vector<pid_t> inner_pids;  // in the PID namespaces below the reader's
  std::vector<pid_t> threads;     // TIDs, its own among them
  std::string cgroup;             // in the version 2 tree, as /proc/PID/cgroup has it
  std::int64_t rss_bytes = 0;
  // The kernel lets nobody but root look into it: it gained privileges, or asked not to be looked
  // into (PR_SET_DUMPABLE, prctl(2)), or has capabilities.
  bool guarded = false;
};

struct ProcessTree {
  std::vector<TreeProcess> processes;  // the root first, every parent before its children
  std::string parent_name;             // of the root's parent; empty: it has none here
  [[nodiscard]] const TreeProcess& root() const { return processes.front(); }
  [[nodiscard]] std::vector<pid_t> pids() const;
  [[nodiscard]] std::int64_t rss_bytes() const;
  // Its session or process group is led by somebody outside: a shell's job.
  [[nodiscard]] bool of_a_shell() const;
  // Whatever number a restored tree takes for itself: processes, threads, groups, sessions.
  [[nodiscard]] std::set<pid_t> numbers() const;
};

// kNotFound: there is no such process; kTooLarge: more than kAdoptedMax, kAdoptThreadsMax.
[[nodiscard]] base::Result<ProcessTree> read_tree(const std::string& proc, pid_t root);

struct TreeAsker {
  uid_t uid = 0;
  std::set<pid_t> tern;  // the daemon, and the program that asks: no tree with these is taken
};
// A sentence each; none: tern may take it. Whose it is, is asked first, and alone.
[[nodiscard]] std::vector<std::string> tree_obstacles(const ProcessTree& tree,
                                                      const TreeAsker& asker);
[[nodiscard]] bool has_ended(const TreeProcess& one);
// Which group of some node's this path is in.
struct TernGroup {
  // job-<hex>-e<n>; adopt-<hex>; a keeper's, CRIU's or its guard's
  enum class Kind : std::uint8_t { kNone, kJob, kAdopted, kTerns };
  Kind kind = Kind::kNone;
  std::string job{};  // the first digits of its id
};
[[nodiscard]] TernGroup tern_group_of(std::string_view cgroup);
// A number that, with those that follow it, is not one of `taken`; 0: there is none.
inline constexpr pid_t kFreeNumbers = 400;
[[nodiscard]] pid_t free_numbers(const std::set<pid_t>& taken, pid_t pid_max);

}  // namespace machine
