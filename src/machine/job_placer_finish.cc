// The end of a round: what came gets its name.
#include <sys/stat.h>

#include "machine/job_placer.h"
#include "machine/path.h"

namespace machine {

using base::Code;
using base::fail;
using base::Status;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::LedgerKind;
using transfer::Verdict;

Status JobPlacer::finish() {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot write as the job's user");
  at_.reset();
  file_.reset();
  if (Status made = make_links(); !made) return made;
  if (Status synced = sync_files(); !synced) return synced;
  for (const auto& [entry, coming] : coming_) {
    if (coming.fresh.empty()) continue;
    if (Status put = note_coming(entry, coming); !put) return put;
  }
  if (Status synced = ledger_->sync(); !synced) return synced;
  for (const auto& [entry, coming] : coming_) {
    if (Status named = name(entry, coming); !named) return named;
  }
  if (Status linked = make_hard_links(); !linked) return linked;
  if (final_) {
    if (Status gone = remove_gone(); !gone) return gone;
  }
  if (Status done = finish_folders(); !done) return done;
  for (const std::string& path : touched_) {
    const Fd folder = open_plainly(path, O_RDONLY | O_DIRECTORY);
    if (folder.valid() && ::fsync(folder.get()) != 0) return about(path, write_error("write it"));
  }
  touched_.clear();
  if (final_) {
    if (Status marked = set_marks(); !marked) return marked;
  }
  return ledger_->sync();
}

// What end() left to be synced together.
Status JobPlacer::sync_files() {
  for (const auto& [device, first] : unsynced_) {
    if (::syncfs(first.file.get()) != 0) return about(first.path, write_error("write it"));
  }
  unsynced_.clear();
  return {};
}

// Before it gets its name. What is laid beside is known by its own name, later.
Status JobPlacer::note_coming(std::uint32_t entry, const Coming& coming) {
  const JobFile& file = list_->at(entry);
  if (coming.verdict == Verdict::kBeside) return {};
  const auto keep = keep_as_.find(entry);
  if (keep != keep_as_.end()) {
    const std::string kept = parent_of(file.path) + "/" + keep->second;
    if (Status put = note({LedgerKind::kKept, file.path, kept, 0, 0, {}}); !put) return put;
  } else if (coming.verdict == Verdict::kReturn) {
    const std::string aside = parent_of(file.path) + "/" + aside_name(file.path);
    if (Status put = note({LedgerKind::kReplaced, file.path, aside, 0, 0, {}}); !put) return put;
  }
  return note(
      {LedgerKind::kPlaced, file.path, {}, coming.device, coming.inode, with_content(file).digest});
}

// Symbolic links come whole with the list, and are named as files are.
Status JobPlacer::make_links() {
  for (const auto& [entry, verdict] : verdicts_) {
    const JobFile& link = list_->at(entry);
    if (link.kind != JobFileKind::kLink) continue;
    Fd parent;
    if (Status opened = open_fresh(entry, parent); !opened) return opened;
    Coming coming;
    coming.verdict = verdict;
    coming.fresh = fresh_name(entry);
    (void)::unlinkat(parent.get(), coming.fresh.c_str(), 0);
    struct stat info {};
    if (::symlinkat(link.link.c_str(), parent.get(), coming.fresh.c_str()) != 0 ||
        ::fstatat(parent.get(), coming.fresh.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return about(link.path, write_error("make it as the job's user"));
    }
    if (spec_.uid == 0) {
      (void)::fchownat(parent.get(), coming.fresh.c_str(), link.uid, link.gid, AT_SYMLINK_NOFOLLOW);
    }
    const timespec times[2] = {{0, UTIME_OMIT},
                               {link.mtime_seconds, static_cast<long>(link.mtime_nanos)}};
    (void)::utimensat(parent.get(), coming.fresh.c_str(), times, AT_SYMLINK_NOFOLLOW);
    coming.device = info.st_dev;
    coming.inode = info.st_ino;
    coming_[entry] = std::move(coming);
  }
  return {};
}

Status JobPlacer::name(std::uint32_t entry, const Coming& coming) {
  const JobFile& file = list_->at(entry);
  const std::string folder = parent_of(file.path);
  const Fd parent = open_plainly(folder, O_PATH | O_DIRECTORY);
  if (!parent.valid()) return about(file.path, io_error("find its folder"));
  const std::string name = name_of(file.path);
  Status named;
  switch (coming.fresh.empty() ? Verdict::kUse : coming.verdict) {
    case Verdict::kReplace:
      if (Status ours = replace(file.path, parent.get(), coming); !ours) return ours;
      break;
    case Verdict::kReturn:
      named = take_back(entry, parent.get(), coming);
      if (named && beside_of_.contains(file.path)) return {};
      break;
    case Verdict::kBeside:
      return name_beside(file.path, parent.get(), coming.fresh);
    case Verdict::kMake:
      named = rename_new(parent.get(), coming.fresh, name);
      break;
    case Verdict::kUse:
    case Verdict::kMark:
    case Verdict::kRefuse:
      break;  // mended in place
  }
  if (!named && named.error().code == Code::kExists) {
    return fail(Code::kStale, file.path + " was made there by somebody else meanwhile");
  }
  if (!named) return about(file.path, named.error());
  placed_[file.path] = {coming.device, coming.inode};
  touched_.insert(folder);
  struct stat info {};
  if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    named_anew(file.kind == JobFileKind::kHardLink ? file.link : file.path, info);
  }
  return {};
}

// Only what tern put there: its owner may have put something else there since it was looked at.
Status JobPlacer::replace(const std::string& path, int parent, const Coming& coming) {
  const std::string name = name_of(path);
  struct stat info {};
  const auto here = placed_.find(path);
  const Inode ours = here == placed_.end() ? Inode{} : here->second;
  const bool there = ::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  const Inode inode{info.st_dev, info.st_ino};
  if (there && inode != ours && !for_this_job_.contains({path, inode})) {
    return fail(Code::kStale, path + " was made there by somebody else meanwhile");
  }
  if (::renameat(parent, coming.fresh.c_str(), parent, name.c_str()) != 0) {
    return about(path, write_error("give it its name"));
  }
  // Where both were names of one file, nothing was done.
  (void)::unlinkat(parent, coming.fresh.c_str(), 0);
  return {};
}

// Home's own goes aside, if it is still what was looked at; changed since, it stays.
Status JobPlacer::take_back(std::uint32_t entry, int parent, const Coming& coming) {
  const JobFile& file = list_->at(entry);
  const std::string name = name_of(file.path);
  const auto keep = keep_as_.find(entry);
  const std::string aside = keep == keep_as_.end() ? aside_name(file.path) : keep->second;
  const Status moved = rename_new(parent, name, aside);
  if (!moved && moved.error().code != Code::kNotFound) return moved;
  struct stat info {};
  const auto found = found_.find(entry);
  const bool same = !moved || (found != found_.end() &&
                               ::fstatat(parent, aside.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                               stamp_of(info) == found->second);
  if (same && moved && keep != keep_as_.end()) {
    laid_.kept.push_back(parent_of(file.path) + "/" + aside);
  }
  if (same) return rename_new(parent, coming.fresh, name);
  if (Status back = rename_new(parent, aside, name); !back) return back;
  if ((file.flags & transfer::kJobFileNeeded) != 0) {
    return fail(Code::kRefused, "it was changed at home meanwhile, and the job has it open");
  }
  return name_beside(file.path, parent, coming.fresh);
}

// Of what is home's and stays, beside the job's.
base::Result<std::string> JobPlacer::keep_name(const std::string& path) const {
  const Fd parent = open_plainly(parent_of(path), O_PATH | O_DIRECTORY);
  if (!parent.valid()) return about(path, io_error("find its folder"));
  const std::string mark = name_of(path) + ".home-" + spec_.job.hex().substr(0, 8);
  for (unsigned number = 1; number < 1000; ++number) {
    std::string name = number == 1 ? mark : mark + "-" + std::to_string(number);
    struct stat info {};
    const bool there = ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && errno == ENOENT) return name;
    if (!there) return about(path, io_error("look beside it"));
  }
  return fail(Code::kRefused, "too many versions of " + path + " lie beside it");
}

// Before a folder of the job's is made where home has none.
Status JobPlacer::keep_home(std::uint32_t entry, int parent) {
  const std::string& path = list_->at(entry).path;
  const std::string& kept = keep_as_.at(entry);
  const std::string whole = parent_of(path) + "/" + kept;
  Status put = note({LedgerKind::kKept, path, whole, 0, 0, {}});
  if (put) put = ledger_->sync();
  if (put) put = rename_new(parent, name_of(path), kept);
  if (!put) return about(path, put.error());
  laid_.kept.push_back(whole);
  touched_.insert(parent_of(path));
  struct stat info {};
  const auto found = found_.find(entry);
  const bool same = found != found_.end() &&
                    ::fstatat(parent, kept.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                    stamp_of(info) == found->second;
  // Undoing puts it back.
  return same ? Status() : Status(fail(Code::kRefused, path + " was changed there meanwhile"));
}

// A new name changes a file's ctime, too, and not its content.
void JobPlacer::named_anew(const std::string& path, const struct stat& info) {
  const auto known = known_.find(path);
  if (known == known_.end() || info.st_ino != known->second.inode) return;
  known->second.changed_seconds = info.st_ctim.tv_sec;
  known->second.changed_nanos = info.st_ctim.tv_nsec;
}

Status JobPlacer::name_beside(const std::string& path, int parent, const std::string& fresh) {
  const std::string mark = name_of(path) + ".job-" + spec_.job.hex().substr(0, 8);
  for (unsigned number = 1; number < 1000; ++number) {
    const std::string name = number == 1 ? mark : mark + "-" + std::to_string(number);
    const Status named = rename_new(parent, fresh, name);
    if (named) {
      laid_.beside.push_back(parent_of(path) + "/" + name);
      beside_of_[path] = laid_.beside.back();
      touched_.insert(parent_of(path));
      struct stat info {};
      if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
      return note({LedgerKind::kPlaced, laid_.beside.back(), {}, info.st_dev, info.st_ino, {}});
    }
    if (named.error().code != Code::kExists) return about(path, named.error());
  }
  return fail(Code::kRefused, "too many versions of " + path + " lie beside it");
}

Status JobPlacer::make_hard_links() {
  std::vector<std::uint32_t> made;
  for (const auto& [entry, verdict] : verdicts_) {
    const JobFile& file = list_->at(entry);
    if (file.kind != JobFileKind::kHardLink) continue;
    const auto beside = beside_of_.find(file.link);
    const std::string& target = beside == beside_of_.end() ? file.link : beside->second;
    const Fd from = open_plainly(parent_of(target), O_PATH | O_DIRECTORY);
    Fd to;
    if (Status opened = open_fresh(entry, to); !opened) return opened;
    Coming coming;
    coming.verdict = verdict;
    coming.fresh = fresh_name(entry);
    (void)::unlinkat(to.get(), coming.fresh.c_str(), 0);
    struct stat info {};
    if (!from.valid() ||
        ::linkat(from.get(), name_of(target).c_str(), to.get(), coming.fresh.c_str(), 0) != 0 ||
        ::fstatat(to.get(), coming.fresh.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return about(file.path, write_error("make the link"));
    }
    coming.device = info.st_dev;
    coming.inode = info.st_ino;
    if (Status put = note_coming(entry, coming); !put) return put;
    coming_[entry] = std::move(coming);
    made.push_back(entry);
  }
  if (made.empty()) return {};
  if (Status synced = ledger_->sync(); !synced) return synced;
  for (const std::uint32_t entry : made) {
    if (Status named = name(entry, coming_.at(entry)); !named) return named;
  }
  return {};
}

// Innermost first: a folder's time changes with what is in it.
Status JobPlacer::finish_folders() {
  for (auto it = folders_.rbegin(); it != folders_.rend(); ++it) {
    const auto entry = list_->find(it->first);
    if (!entry || list_->at(*entry).kind != JobFileKind::kFolder) continue;
    const Fd folder = open_plainly(it->first, O_RDONLY | O_DIRECTORY);
    if (!folder.valid()) return about(it->first, io_error("open it"));
    // Whoever may not write there could not place the final round's files.
    JobFile file = list_->at(*entry);
    if (!final_) file.mode |= 0700U;
    if (Status done = look_after(file, folder.get()); !done) return done;
  }
  return {};
}

}  // namespace machine
