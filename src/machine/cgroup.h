// Control groups, version 2: where jobs live, are frozen and are killed whole.
//
//   <mount>/<own group>/tern-<instance>/    the node's root
//       job-<job>-e<epoch>/                 one copy of a job; frozen, killed, counted as one
//       criu-<job>-e<epoch>-<n>/            one run of CRIU
//       keepers/                            never killed
//
// A group is a path; these functions hold no state. Waiting is poll(2) on cgroup.events, which
// kernfs wakes on every change (kernel documentation, admin-guide/cgroup-v2, "cgroup.events"), and
// always ends at its deadline with kTimeout. Everything blocks: call it off the loop. Linux 5.14 or
// later (cgroup.kill).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/fd.h"
#include "machine/process_name.h"

namespace machine {

using Patience = std::chrono::milliseconds;

// ---- where
// The folder of our own group in the version 2 tree, wherever that is mounted (on machines that
// have both versions it may hold no controller; jobs need none). kUnsupported: there is none.
[[nodiscard]] base::Result<std::string> own_cgroup();

struct CgroupEvents {
  bool populated = false;  // a living process in it or below; zombies do not count
  bool frozen = false;
};
[[nodiscard]] base::Result<CgroupEvents> parse_cgroup_events(std::string_view text);

class Cgroup {
 public:
  // The folder must exist (kNotFound).
  [[nodiscard]] static base::Result<Cgroup> open(const std::string& path);
  // Makes it; an existing one is kExists. The parent must exist.
  [[nodiscard]] static base::Result<Cgroup> create(const std::string& path);
  [[nodiscard]] static base::Result<Cgroup> open_or_create(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  // For CLONE_INTO_CGROUP. Valid as long as this object.
  [[nodiscard]] int fd() const { return folder_.get(); }

  [[nodiscard]] base::Result<CgroupEvents> events() const;
  // Host PIDs, groups below included. A list of the moment: only a frozen group's stands still.
  [[nodiscard]] base::Result<std::vector<pid_t>> processes() const;
  [[nodiscard]] base::Result<std::vector<pid_t>> threads() const;
  // Moves a process here.
  base::Status add(pid_t pid) const;

  // Returns when every task stands still. After kTimeout it is still being frozen: thaw() it.
  base::Status freeze(Patience patience) const;
  // The same at a moment that CRIU can use: no task is inside vfork(2), as shells are when they
  // start a program. Such a task counts as frozen, but sleeps without interruption until its child
  // has the program, so ptrace(2) cannot take it. Thaws for a moment then, and tries again.
  base::Status freeze_for_dump(Patience patience) const;
  base::Status thaw(Patience patience) const;
  // SIGKILLs all, frozen or not, forks included, and returns when nobody is left. Remove the group
  // then and make another: what is cloned into a group that was killed once dies at birth on some
  // kernels (seen on 6.18), since those compare its count of kills with that of the parent's group.
  base::Status kill_all(Patience patience) const;
  // Removes it and the groups below. kIo (busy) while somebody is in one of them.
  base::Status remove() const;

 private:
  Cgroup(std::string path, Fd folder) : path_(std::move(path)), folder_(std::move(folder)) {}
  base::Status write(const char* file, std::string_view text) const;
  base::Status wait(Patience patience, bool (*wanted)(const CgroupEvents&)) const;
  [[nodiscard]] base::Result<std::vector<std::string>> tree() const;
  [[nodiscard]] base::Result<std::vector<pid_t>> list(const char* file) const;

  std::string path_;
  Fd folder_;
};

// ---- jobs in their groups
// PID 1 of the job in this group: the process that is 1 in its own pid namespace. kNotFound: none.
[[nodiscard]] base::Result<ProcessName> find_init(const Cgroup& job);
// To one process, by pidfd, if it is in this group or below. kNotFound: not (any more); whoever has
// that PID by now is left alone.
base::Status signal_member(const Cgroup& job, pid_t pid, int signal);
// To all processes but `except`, those that are forked meanwhile included.
base::Status signal_members(const Cgroup& job, pid_t except, int signal);
// PIDs, in the job's own namespace, of the processes that somebody had stopped; a frozen group
// shows them as T. Of the moment; empty where there is no such group.
[[nodiscard]] std::vector<std::int32_t> stopped_members(const std::string& job);
// Ok when the group is frozen and every process in it is stopped or about to be, as a restored copy
// is before its release. CRIU ends before its SIGSTOP has taken effect, so a task may be frozen on
// its way from CRIU to the stop: SIGSTOP is then still pending, and it has not run an instruction
// of the job's. A SIGCONT takes away both, the stop and the pending one, so that it shows; within a
// process one thread is enough, since stops and SIGCONT are the whole process's.
// kRefused names the first that is not held.
base::Status check_held(const Cgroup& job);
// Lets a held copy go: SIGCONT to all, which a frozen group takes note of and nobody runs on, then
// the thaw, so that all start together. Init (PID 1) passes SIGCONT on to main; harmless.
base::Status release_held(const Cgroup& job, Patience patience);

}  // namespace machine
