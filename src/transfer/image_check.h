// A checkpoint from a peer is untrusted input, read by CRIU as root. This decides, before CRIU sees
// a byte, whether it may (design.md §6, last bullets), and says what the host has to look at.
//
// What passes means the same to CRIU as it did here: only listed image kinds, of one spelling each,
// in which every byte is explained by a schema (image_schema.h, protobuf.h). Beyond that:
//  - Namespaces: the job has its own pid namespace (its root is PID 1), and may have its own ipc,
//    uts and time namespace; its mount, network, user and cgroup namespaces are the host's.
//  - Tree: one root; every process and thread has its core image; no image belongs to nobody.
//  - Credentials, of every thread: all uids and gids are the policy's, groups among the policy's,
//    no capability in any set (the bounding set is empty, or no_new_privs is set and makes it
//    moot), no secure bits, no LSM label, no real-time priority, no negative niceness or
//    oom_score_adj. With `allow_root` none of this paragraph but the label is asked.
//  - Files: only the types of FileType; no external ones; regular files by absolute path, without
//    ".." and not below /proc or /sys; the devices that anybody may use, and no other node;
//    unlinked files are plain files of the job's user; root directory "/", but of PID 1
//    the policy's; unix sockets only
//    unnamed or abstract, with both ends inside; no stream of a TCP connection.
//  - Memory: pages of a parent checkpoint are refused; each pages image is as long as its pagemaps
//    say.
// What this cannot know is the host's part: that every path in `files` can be opened by the job's
// user (with its flags, before CRIU opens it as root), that unlinked ones lie in a folder that this
// user may write, and that contents are the expected ones (criu-notes.md, "Files").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "transfer/image_stream.h"

namespace transfer {

inline constexpr std::size_t kCheckedImageMax = std::size_t{16} << 20;  // one image, pages aside
inline constexpr std::size_t kCheckedTotalMax = std::size_t{64} << 20;  // all of them
inline constexpr std::size_t kTasksMax = 4096;                          // processes and threads
inline constexpr std::size_t kFilesMax = 65536;

struct CheckPolicy {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // supplementary ones that the user has here
  bool allow_root = false;            // the node takes root jobs: no credential is refused
  bool own_pid_namespace = true;      // false: the job was started without (adopted jobs)
  std::string init_root;              // PID 1's root folder (machine/init_root.h); empty: "/"
};

struct FileFact {
  std::string path;
  std::uint32_t flags = 0;  // of open(2)
  std::uint32_t mode = 0;   // type and permissions as the source saw them
  std::optional<std::uint64_t> size;
  bool unlinked = false;  // comes with its contents: CRIU makes it at `path`, then unlinks it
};

struct PortFact {
  std::uint32_t family = 0;
  std::uint32_t type = 0;
  std::uint32_t port = 0;
};

struct LockFact {  // on a regular file of `files`
  enum class Kind : std::uint8_t { kPosix, kFlock, kOpenFile };
  Kind kind = Kind::kPosix;
  bool write = false;        // else shared
  std::uint64_t start = 0;   // not of kFlock, like
  std::uint64_t length = 0;  // 0: to the end, wherever that will be
  std::size_t file = 0;      // index in `files`
};

struct ImageFacts {
  std::uint32_t machine = 0;        // 1 x86-64, 3 AArch64 (core.proto, march)
  std::vector<std::uint32_t> pids;  // inside the namespace, the root first
  std::vector<FileFact> files;      // regular files, folders and devices, each path once per flags
  std::vector<std::string> exes;    // of each process, without repetition, the root's first
  std::string cwd;                  // of the root
  std::vector<PortFact> ports;      // bound inet sockets: they must be free here
  std::vector<LockFact> locks;      // nobody here may hold one against them
  std::uint64_t page_bytes = 0;
  std::uint32_t threads = 0;
};

// kInvalid: no checkpoint that CRIU would write; kRefused: policy says no; kTooLarge: a limit.
// `detail` names the image and what is wrong with it.
[[nodiscard]] base::Result<ImageFacts> check_images(const ImageSet& images,
                                                    const CheckPolicy& policy);

}  // namespace transfer
