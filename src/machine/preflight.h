// Whether a job can move, from what /proc shows, before anything is frozen.
//
// On the source inspect_job() collects what the job needs and what stands in its way; the sink's
// check_requirement() compares. Both give plain sentences, each with what would help. What /proc
// does not show CRIU refuses later, still without harm, but with the job frozen for a moment.
//
// Rules
//  - The job's own files (what is in no system folder, transfer/job_files.h) travel where the sink
//    lacks them. One of the system's that is open for writing does not: refused. Deleted (ghost)
//    files and memfds travel in the images, up to the ghost limit.
//  - TCP connections would be cut, those that wait in a listener's queue too: refused, unless the
//    person who runs or moves the job said that they may be. Listening and unconnected sockets and
//    UDP move; of a connection that is still being made to a listener the job knows nothing.
//  - The job may share only the mount, network and user namespaces of this process; pid, ipc, uts
//    and time namespaces must be the same for all its processes.
//  - The sink opens files as the job's user, never through a symbolic link (the source's paths hold
//    none), regular files only. The identity is changed for the calling thread alone, by the raw
//    setfsuid, setfsgid and setgroups calls: libc's wrappers would change every thread (setgroups)
//    or hide the result. With a file system user other than root the kernel takes the thread's
//    file capabilities away until it is set back (capabilities(7)).
//  - Locks move, as they are in the images; at the sink nobody may hold one against them
//    (daemon/image_admission.h). Leases do not, nor System V objects: no image of those is taken.
//  - A job that is paused (frozen) can do nothing about what is in the way. Its unread inotify
//    events do not hold it here, since it may have to go before a sleep: they are lost, as when the
//    queue overflows (inotify(7)). Descriptors on their way and a parent's memory do hold it.
//  - Everything blocks (whole files are hashed): off the loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "machine/cgroup.h"
#include "machine/file_hash.h"
#include "machine/packages.h"
#include "machine/requirement.h"

namespace machine {

struct Preflight {
  Requirement requirement;
  std::vector<std::string> obstacles;  // empty: nothing is known to stand in the way
};

struct InspectOptions {
  std::string criu_version;  // the source's
  std::uint64_t ghost_limit_bytes = 64ULL << 20;
  std::string init_root;   // the job's (machine/init_root.h): every node makes it for itself
  bool tcp_close = false;  // the move may close its TCP connections
  // Asked of processes that are to be adopted (machine/adopt_look.h): they stay on this machine, so
  // its files, and what is the same for all of it, are no obstacle, nothing is hashed, and all
  // their namespaces have to be this process's.
  bool stays = false;
  // Nobody of it runs: what is between two steps stays so, and is not waited for.
  bool stands_still = false;
  bool leave_terminals = false;  // they will not have those of others any more
  std::string dir;               // the folder that was named with --dir; empty: none
  Packages* packages = nullptr;  // names the system's files' versions; none: not wanted
  bool own_files_only = false;   // the system's are not looked at, nor anything hashed
};

// The job may run meanwhile; processes that end are left out. Frozen, it is taken for paused.
// kNotFound: nobody is there.
[[nodiscard]] base::Result<Preflight> inspect_job(const Cgroup& job, const InspectOptions& options,
                                                  FileHashes& hashes);

// The same of certain processes, wherever they live; the first of them is the job's first, whose
// user is the job's.
[[nodiscard]] Preflight inspect_processes(const std::vector<pid_t>& pids,
                                          const InspectOptions& options, FileHashes& hashes);

struct LocalPolicy {
  std::string criu_version;  // empty: none that works
  std::string criu_missing;  // then: why and what helps (criu::find_program's sentence)
  bool allow_root = false;
  std::vector<std::uint32_t> allowed_uids;  // of others; uid 0 is a matter of allow_root alone
  std::vector<std::uint32_t> allowed_gids;  // likewise
  std::string state_dir;                    // on whose disk an arrival needs room; empty: not asked
  std::optional<std::uint64_t> memory_free;  // bytes; none: as ProcSource sees it now
  std::string ledgers;                       // folder of machine/ledger_files.h
  std::string job;                           // hex: whose files there are its own
  bool at_home = false;                      // its home is here
  Packages* packages = nullptr;              // as of InspectOptions
};

// Sentences, empty when the job can come. At most kSentencesMax, then "and N more".
inline constexpr std::size_t kSentencesMax = 16;
[[nodiscard]] std::vector<std::string> check_requirement(const Requirement& requirement,
                                                         const LocalPolicy& policy,
                                                         FileHashes& hashes);

// Of /proc/cpuinfo: the flags that programs can use ("flags" on x86, "Features" on ARM), sorted.
[[nodiscard]] std::vector<std::string> parse_cpu_flags(std::string_view cpuinfo);

}  // namespace machine
