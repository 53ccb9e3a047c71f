// One share on its way into the inbox: the work that transfer::ShareReceiver orders. Blocking; used
// by one thread at a time.
//
// What came is in the stage's tree, under the sender's names, until a top is whole and each of its
// files had its digest. deliver() then syncs it, notes in `delivered` what it is about to rename
// (the top's look, device and inode), renames it into the inbox without replacing anything, and
// syncs that folder. So after a crash at any point a top is either in the stage or in the inbox,
// and the next attempt knows which: nothing arrives twice.
//
// An attempt begins with prepare(): whatever in the tree is not of the manifest goes; of files that
// are there the digests are taken from the disk again, since a machine that lost power may have
// kept a file's size and not its bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file_digest.h"
#include "machine/inbox.h"
#include "transfer/share_receiver.h"

namespace machine {

class Arrival {
 public:
  // The stage exists (Inbox::keep_stage()). kNotFound, kIo.
  [[nodiscard]] static base::Result<std::unique_ptr<Arrival>> open(
      std::shared_ptr<const Inbox> inbox, const std::string& key,
      std::shared_ptr<const transfer::ShareManifest> manifest);

  struct Prepared {
    std::vector<transfer::ShareHave> have;
    std::map<std::uint32_t, std::string> delivered;  // by top: its name in the inbox
  };
  // kTimeout: `cancelled` became true.
  [[nodiscard]] base::Result<Prepared> prepare(const std::atomic<bool>& cancelled);

  // ---- the file that is open. kFull: the disk is, but for its reserve (kInboxReserveMax).
  [[nodiscard]] base::Status begin(std::uint32_t entry, std::uint64_t offset);
  [[nodiscard]] base::Status write(std::uint64_t offset, base::ByteView bytes);
  [[nodiscard]] base::Status zeros(std::uint64_t offset, std::uint64_t count);
  // Another digest than this: the file is removed, and its top not delivered; no error.
  [[nodiscard]] base::Status end(std::uint32_t entry, const base::crypto::Hash256& digest);
  [[nodiscard]] base::Status discard(std::uint32_t entry);

  // An error: none of them arrived by this call, or it is not known to be on the disk.
  [[nodiscard]] base::Result<std::vector<transfer::ShareResult>> deliver(
      const std::vector<std::uint32_t>& tops);

 private:
  struct Known {  // of a file from an earlier attempt
    std::uint64_t bytes = 0;
    base::crypto::Hash256 digest{};  // of all of it, or the chain so far
  };
  Arrival() = default;
  [[nodiscard]] base::Status reconcile(const std::atomic<bool>& cancelled);
  [[nodiscard]] base::Status keep_or_remove(
      int folder, const std::string& name, std::uint32_t parent, const std::string& path,
      std::vector<std::pair<std::uint32_t, std::string>>& todo, const std::atomic<bool>& cancelled);
  [[nodiscard]] base::Result<bool> measure(int folder, std::uint32_t entry,
                                           const std::atomic<bool>& cancelled);
  [[nodiscard]] base::Status make_rest();
  [[nodiscard]] base::Status find_delivered();
  [[nodiscard]] base::Status note_delivery(const std::vector<std::uint32_t>& tops);
  [[nodiscard]] base::Status finish_folders(std::uint32_t top);
  [[nodiscard]] base::Status sync_all(const std::vector<std::uint32_t>& tops);
  [[nodiscard]] base::Result<std::string> rename_top(std::uint32_t top);
  [[nodiscard]] base::Status take_room(std::uint64_t bytes);
  [[nodiscard]] base::Result<int> folder_of(std::uint32_t entry);
  [[nodiscard]] base::Status give(int at, const std::string& name) const;

  std::shared_ptr<const Inbox> inbox_;
  std::shared_ptr<const transfer::ShareManifest> manifest_;
  Fd stage_;
  Fd tree_;
  bool sync_each_ = false;
  std::map<std::pair<std::uint32_t, std::string>, std::uint32_t> index_;  // while preparing
  std::set<std::uint32_t> made_;                                          // folders that are there
  std::map<std::uint32_t, Known> known_;
  std::size_t halves_ = 0;  // of known_, while preparing
  std::map<std::uint32_t, std::string> delivered_;
  std::set<std::uint32_t> damaged_;  // tops

  std::uint32_t folder_index_ = transfer::kNoParent;
  Fd folder_;  // of folder_index_, where it is not the tree itself
  Fd file_;
  base::FileDigest digest_;
  bool whole_ = false;      // it was there, all of it
  std::uint64_t room_ = 0;  // on the disk when it was looked at, less what was taken since
};

}  // namespace machine
