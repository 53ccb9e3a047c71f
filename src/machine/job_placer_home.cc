// The end of the final round: what the job removed, and modes and times that it changed.
#include <sys/stat.h>

#include "machine/file_marks.h"
#include "machine/job_placer.h"
#include "machine/path.h"

namespace machine {

using base::Status;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::LedgerKind;

// Only there the list names all that there is.
bool JobPlacer::below_dir(const std::string& path) const {
  for (std::string up = parent_of(path); up != "/"; up = parent_of(up)) {
    const auto entry = list_->find(up);
    if (!entry) continue;
    const JobFile& folder = list_->at(*entry);
    return folder.kind == JobFileKind::kFolder && (folder.flags & transfer::kJobFileWritten) != 0;
  }
  return false;
}

// What came in the first round and is not there any more; at home also what the job removed of
// what it left with, unless that was changed here.
Status JobPlacer::remove_gone() {
  for (auto it = placed_.begin(); it != placed_.end();) {
    if (list_->find(it->first)) {
      ++it;
      continue;
    }
    const Fd parent = open_plainly(parent_of(it->first), O_PATH | O_DIRECTORY);
    struct stat info {};
    const std::string name = name_of(it->first);
    if (parent.valid() && ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        Inode{info.st_dev, info.st_ino} == it->second) {
      (void)::unlinkat(parent.get(), name.c_str(), 0);
    }
    it = placed_.erase(it);
  }
  if (!spec_.at_home) return {};
  for (const auto& [path, left] : left_) {
    if (list_->find(path) || !below_dir(path) || left.digest == transfer::folder_digest()) continue;
    JobFile gone;
    gone.path = path;
    const std::atomic<bool> never{false};
    auto seen = look(gone, never);
    if (!seen) return seen.error();
    if (!seen->found.as_it_left) continue;
    if (Status put = put_aside(path); !put) return about(path, put.error());
  }
  return remove_folders();
}

bool JobPlacer::folder_gone(const std::string& path) const {
  const auto left = left_.find(path);
  return left != left_.end() && left->second.digest == transfer::folder_digest() &&
         !list_->find(path) && below_dir(path);
}

// Into a folder that stays, so that its own may go; where that cannot be, within its own.
Status JobPlacer::put_aside(const std::string& path) {
  const std::string own = parent_of(path);
  std::string folder = own;
  while (folder_gone(folder)) folder = parent_of(folder);
  const Fd from = open_plainly(own, O_PATH | O_DIRECTORY);
  for (;;) {
    const Fd to = open_plainly(folder, O_PATH | O_DIRECTORY);
    const std::string name = aside_name(path);
    Status put = note({LedgerKind::kReplaced, path, folder + "/" + name, 0, 0, {}});
    if (put) put = ledger_->sync();
    if (!put) return put;
    put = rename_new({from.get(), name_of(path)}, {to.get(), name});
    if (put) touched_.insert({own, folder});
    if (put || folder == own) return put;
    folder = own;
  }
}

// Innermost first. What its owner made different, or put something into, stays.
Status JobPlacer::remove_folders() {
  struct Gone {
    std::string path;
    Inode inode;
  };
  std::vector<Gone> all;
  for (auto it = left_.rbegin(); it != left_.rend(); ++it) {
    const auto& [path, left] = *it;
    if (!folder_gone(path)) continue;
    const Fd folder = open_plainly(path, O_PATH | O_DIRECTORY);
    struct stat info {};
    if (!folder.valid() || ::fstat(folder.get(), &info) != 0) continue;
    const Marks marks = marks_of(info);
    if (info.st_uid != spec_.uid || left.marks != to_text(marks)) continue;
    Status put = note({LedgerKind::kGone, path, to_text(marks), info.st_dev, info.st_ino, {}});
    if (!put) return put;
    all.push_back({path, {info.st_dev, info.st_ino}});
  }
  if (all.empty()) return {};
  if (Status synced = ledger_->sync(); !synced) return synced;
  for (const Gone& gone : all) {
    const std::string folder = parent_of(gone.path);
    const Fd parent = open_plainly(folder, O_PATH | O_DIRECTORY);
    struct stat info {};
    const std::string name = name_of(gone.path);
    if (!parent.valid() || ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        Inode{info.st_dev, info.st_ino} != gone.inode) {
      continue;
    }
    if (::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0) touched_.insert(folder);
  }
  return {};
}

// Innermost first: a folder may be closed by it. At home only where nobody else changed them since
// the job left; what tern put there needs no undoing of them.
Status JobPlacer::set_marks() {
  std::vector<MarkChange> changes;
  for (auto it = marked_.rbegin(); it != marked_.rend(); ++it) {
    const JobFile& file = list_->at(it->first);
    const Fd at = open_plainly(file.path, O_PATH);
    struct stat info {};
    if (!at.valid() || ::fstat(at.get(), &info) != 0) continue;
    const Marks now = marks_of(info);
    MarkChange change{file.path, it->second.first, it->second.second, now, now};
    change.to.mode = file.mode;
    change.to.seconds = file.mtime_seconds;
    change.to.nanos = file.mtime_nanos;
    const auto placed = placed_.find(file.path);
    const bool ours = file.kind != JobFileKind::kFolder &&
                      ((placed != placed_.end() && placed->second == it->second) ||
                       for_this_job_.contains({file.path, it->second}));
    if (!ours) {
      const auto left = left_.find(file.path);
      if (left == left_.end() || left->second.marks != to_text(now)) continue;
      Status put = note({LedgerKind::kMarks,
                         file.path,
                         to_text(now) + "," + to_text(change.to),
                         change.device,
                         change.inode,
                         {}});
      if (!put) return put;
    }
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return {};
  if (Status synced = ledger_->sync(); !synced) return synced;
  for (const MarkChange& change : changes) {
    if (Status set = change_marks(change); !set) return set;
  }
  return {};
}

}  // namespace machine
