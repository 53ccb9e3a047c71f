// Whether a job can move, from what /proc shows, before anything is frozen.
//
// On the source inspect_job() collects what the job needs and what stands in its way; the sink's
// check_requirement() compares. Both give plain sentences, each with what would help. What /proc
// does not show CRIU refuses later, still without harm, but with the job frozen for a moment.
//
// Rules
//  - A regular file that is open for writing does not travel in this version, and its copy at the
//    sink would be another file: refused. Deleted (ghost) files and memfds travel in the images, up
//    to the ghost limit.
//  - Established TCP connections would be cut: refused. Listening and unconnected sockets move.
//  - The job may share only the mount, network and user namespaces of this process; pid, ipc, uts
//    and time namespaces must be the same for all its processes.
//  - The sink opens files as the job's user, never through a symbolic link (the source's paths hold
//    none), regular files only. The identity is changed for the calling thread alone, by the raw
//    setfsuid, setfsgid and setgroups calls: libc's wrappers would change every thread (setgroups)
//    or hide the result. With a file system user other than root the kernel takes the thread's
//    file capabilities away until it is set back (capabilities(7)).
//  - Everything blocks (whole files are hashed): off the loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "machine/cgroup.h"
#include "machine/file_hash.h"
#include "machine/requirement.h"

namespace machine {

struct Preflight {
  Requirement requirement;
  std::vector<std::string> obstacles;  // empty: nothing is known to stand in the way
};

struct InspectOptions {
  std::string criu_version;  // the source's
  std::uint64_t ghost_limit_bytes = 64ULL << 20;
  std::string init_root;  // the job's (machine/init_root.h): every node makes it for itself
};

// The job may run meanwhile; processes that end are left out. kNotFound: nobody is there.
[[nodiscard]] base::Result<Preflight> inspect_job(const Cgroup& job, const InspectOptions& options,
                                                  FileHashes& hashes);

struct LocalPolicy {
  std::string criu_version;  // empty: none that works
  std::string criu_missing;  // then: why and what helps (criu::find_program's sentence)
  bool allow_root = false;
  std::vector<std::uint32_t> allowed_uids;  // of others; uid 0 is a matter of allow_root alone
  std::vector<std::uint32_t> allowed_gids;  // likewise
  std::optional<std::uint64_t> memory_bytes_max;  // that guests may have in all; none: what is free
};

// Sentences, empty when the job can come. At most kSentencesMax, then "and N more".
inline constexpr std::size_t kSentencesMax = 16;
[[nodiscard]] std::vector<std::string> check_requirement(const Requirement& requirement,
                                                         const LocalPolicy& policy,
                                                         FileHashes& hashes);

// Of /proc/cpuinfo: the flags that programs can use ("flags" on x86, "Features" on ARM), sorted.
[[nodiscard]] std::vector<std::string> parse_cpu_flags(std::string_view cpuinfo);

}  // namespace machine
