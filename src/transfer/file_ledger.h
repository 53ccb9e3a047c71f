// Which paths tern put here for a job, and what of a job's left its home: a journal beside the
// daemon's state, appended to before a path changes, read after a restart.
//
//   record: size 4 | [kind, path, other, device, inode, digest] | first 8 bytes of its BLAKE2b-256
//
// What was written last of a path counts, apart for kReplaced and kKept, kGone, and kMarks. A
// record that was cut off by a power loss ends the journal: what it tells of was not done yet.
//
// A file is tern's while it has the inode that tern gave it, whatever the job wrote into it; the
// same name with another inode is somebody else's, and is left alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"

namespace transfer {

enum class LedgerKind : std::uint8_t {
  kUser = 0,      // device: the uid whose files these are; inode: a gid, one record each
  kFresh = 1,     // files under a temporary name may lie in this folder
  kFolder = 2,    // made
  kPlaced = 3,    // a file or link
  kReplaced = 4,  // home's own file waits under `other`
  kLeft = 5,      // at home: what the job left with
  kDropped = 6,   // nothing of this path is owed any more
  kKept = 7,      // home's own lies under `other`, and stays there when the job's is settled
  kGone = 8,      // at home: a folder that the job removed; `other`: the mode it had
  kMarks = 9,     // at home: mode and mtime that the job changed; `other`: before, "," and after
};

struct LedgerRecord {
  LedgerKind kind = LedgerKind::kPlaced;
  std::string path;
  std::string other;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  base::crypto::Hash256 digest{};
  friend bool operator==(const LedgerRecord&, const LedgerRecord&) = default;
};

inline constexpr std::size_t kLedgerSizeMax = std::size_t{64} << 20;  // beyond it nothing is taken

[[nodiscard]] base::Bytes encode(const LedgerRecord& record);
// All whole records from the beginning; what follows a damaged one is not read.
[[nodiscard]] std::vector<LedgerRecord> decode_ledger(base::ByteView bytes);

}  // namespace transfer
