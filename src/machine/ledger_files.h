// The ledgers of this node (transfer/file_ledger.h), one file each: FOLDER/<job>-e<epoch> of what
// came with a handover, FOLDER/<job>-left of what left its home. And undoing them. Blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "machine/fd.h"
#include "transfer/file_ledger.h"

namespace machine {

[[nodiscard]] std::string arrival_ledger(const base::JobId& job, base::Epoch epoch);
[[nodiscard]] std::string left_ledger(const base::JobId& job);

class LedgerFile {
 public:
  // Makes folder and file where they are missing; 0600.
  [[nodiscard]] static base::Result<std::unique_ptr<LedgerFile>> open(const std::string& folder,
                                                                      const std::string& name);
  // Written, and not yet safe from a power loss. kTooLarge: kLedgerSizeMax.
  [[nodiscard]] base::Status append(const transfer::LedgerRecord& record);
  [[nodiscard]] base::Status sync();

 private:
  LedgerFile() = default;
  Fd fd_;
  Fd folder_;
  std::uint64_t size_ = 0;
};

struct Ledger {
  std::string name;
  // What was written last of each path, in that order; apart where home's own is, a folder that
  // went, and marks.
  std::vector<transfer::LedgerRecord> records;
};
// kOk and none where the folder is not there.
[[nodiscard]] base::Result<std::vector<Ledger>> read_ledgers(const std::string& folder);
[[nodiscard]] base::Status remove_ledger(const std::string& folder, const std::string& name);

// `other` of a folder that was there, empty: what comes into it is the job's, but it stays.
inline constexpr char kNotMade[] = "not made";

struct Undone {
  std::vector<std::string> kept;    // paths of files that were not removed, as `keep` said so
  std::vector<std::string> before;  // where home's own lies now whose name something else has
};
// Takes back what these ledgers tell of, as the job's user: files, links and folders that tern put
// there, if they still are what it put there and no other ledger names them; home's own come back,
// and removed folders, and modes and times that nobody changed since.
// A ledger of which nothing is kept goes. An error is the first one; the rest was undone. `keep`:
// whether to leave a file that is tern's.
using Keep = std::function<bool(const transfer::LedgerRecord&)>;
[[nodiscard]] base::Result<Undone> undo_ledgers(const std::string& folder,
                                                const std::vector<std::string>& names,
                                                const Keep& keep = nullptr);
[[nodiscard]] base::Result<bool> has_arrivals(const std::string& folder, const base::JobId& job);
// Files and links that came with a job and may be here still, sorted.
[[nodiscard]] base::Result<std::vector<std::string>> placed_files(const std::string& folder,
                                                                  const base::JobId& job);

// The job has left with handover `newest`: what came with those before goes, or, at home, stays.
[[nodiscard]] base::Status forget_arrivals(const std::string& folder, const base::JobId& job,
                                           base::Epoch newest, bool at_home);

// What a job leaves behind where it was a guest: files that it made in folders which tern made for
// it, or put in the place of what tern placed, are tern's too from now on. Call it while the job is
// frozen, with what is being sent.
struct LeftFile {
  std::string path;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool folder = false;
  base::crypto::Hash256 digest{};  // of a file, a hard link's too; of a link link_digest()
  std::string marks = {};          // to_text(Marks), which kLeft keeps as `other`
};
[[nodiscard]] base::Status note_guest_leaves(const std::string& folder, const base::JobId& job,
                                             const std::vector<LeftFile>& files);
// What a job's home keeps in mind of what left with it, in place of what it knew before.
struct LeavingUser {
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;
};
[[nodiscard]] base::Status note_left_home(const std::string& folder, const base::JobId& job,
                                          const LeavingUser& user,
                                          const std::vector<LeftFile>& files);
// Home has its job back: what came stays, and what waited for another outcome goes.
[[nodiscard]] base::Status settle_ledger(const std::string& folder, const std::string& name);

}  // namespace machine
