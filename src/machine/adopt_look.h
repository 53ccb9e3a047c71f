// What stands in the way of adopting a process tree (machine/adopt_tree.h), before anything is
// frozen, and what would stand in the way of moving it afterwards.
//
// Adopting checkpoints the tree and restores it on this machine while the original still stands
// frozen. So the two may not want the same thing at once, a port or the name of a socket; and what
// the tree shares with programs outside, a pipe or memory, would be torn. A file that is open for
// writing is fine here, and is told as what a move would meet. Blocking.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "machine/adopt_tree.h"
#include "machine/preflight.h"

namespace machine {

struct AdoptLook {
  std::vector<std::string> obstacles;  // sentences; none: it can be adopted
  std::vector<std::string> moving;     // none: it could move then
  std::vector<std::string> notes;      // what adopting changes, for whom
  bool terminal = false;               // it has one, and leaves it
};

struct AdoptView {
  std::string proc = "/proc";
  TreeAsker asker;
  bool leave_terminal = false;  // its input may end, and its output go to the job's
  bool stands_still = false;    // it is frozen
  std::string criu_missing;     // why there is none; empty: there is one
  std::uint64_t memory_available =
      0;  // bytes; the checkpoint and the copy come beside the original
};
[[nodiscard]] AdoptLook look_at_tree(const ProcessTree& tree, const AdoptView& view,
                                     FileHashes& hashes);

// /proc/PID/net/unix: the names of bound sockets by inode. A line that is none is passed over.
[[nodiscard]] std::map<std::uint64_t, std::string> bound_unix_sockets(std::string_view text);
// The inodes of /proc/PID/maps that are shared and have no name any more: memory that a relative
// may share, "<device> <inode>".
[[nodiscard]] std::vector<std::string> nameless_shared_memory(std::string_view maps);

// Whose the objects are in a table of /proc/sysvipc; `column` of the uid, from 0. Other lines than
// such are passed over.
[[nodiscard]] std::set<std::uint32_t> owners_of_ipc(std::string_view table, std::size_t column);

}  // namespace machine
