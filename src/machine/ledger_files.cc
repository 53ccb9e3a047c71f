#include "machine/ledger_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "machine/file_marks.h"
#include "machine/file_user.h"
#include "machine/inbox.h"
#include "machine/path.h"
#include "transfer/job_files.h"

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::LedgerKind;
using transfer::LedgerRecord;

struct LedgerUser {
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> gids;
};
LedgerUser owner_of(const std::vector<LedgerRecord>& records) {
  LedgerUser owner;
  for (const LedgerRecord& record : records) {
    if (record.kind != LedgerKind::kUser) continue;
    owner.uid = static_cast<std::uint32_t>(record.device);
    owner.gids.push_back(static_cast<std::uint32_t>(record.inode));
  }
  return owner;
}

// Of one job the ninth epoch before the tenth.
bool older(const std::string& a, const std::string& b) {
  const auto key = [](const std::string& name) {
    return std::make_tuple(std::string_view(name).substr(0, name.find('-')), name.size(),
                           std::string_view(name));
  };
  return key(a) < key(b);
}

using InodeOfPath = std::tuple<std::string, std::uint64_t, std::uint64_t>;

void remove_fresh(const std::string& folder, const std::string& ledger) {
  const Fd at = open_plainly(folder, O_RDONLY | O_DIRECTORY);
  if (!at.valid()) return;
  auto names = names_in(at.get());
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.starts_with(".tern-" + ledger + "-")) (void)::unlinkat(at.get(), name.c_str(), 0);
  }
}

// Whether undoing it takes away what stands at its path.
bool takes_away(const LedgerRecord& record) {
  return record.kind == LedgerKind::kFolder || record.kind == LedgerKind::kPlaced;
}

// 0: what was written last of such a path counts. Each of the others is undone by itself.
int group_of(const LedgerRecord& record) {
  switch (record.kind) {
    case LedgerKind::kReplaced:
    case LedgerKind::kKept:
      return 1;
    case LedgerKind::kGone:
      return 2;
    case LedgerKind::kMarks:
      return 3;
    default:
      return 0;
  }
}

Status undo_marks(const LedgerRecord& record) {
  const std::size_t comma = record.other.find(',');
  if (comma == std::string::npos) return {};
  const auto before = marks_from(record.other.substr(0, comma));
  const auto after = marks_from(record.other.substr(comma + 1));
  if (!before || !after) return {};
  return change_marks({record.path, record.device, record.inode, *after, *before});
}

Status undo_gone(const LedgerRecord& record) {
  const auto marks = marks_from(record.other);
  const Fd parent = open_plainly(parent_of(record.path), O_PATH | O_DIRECTORY);
  if (!marks || !parent.valid()) return {};
  const std::string name = name_of(record.path);
  if (::mkdirat(parent.get(), name.c_str(), 0700) != 0) {
    return errno == EEXIST ? Status() : Status(about(record.path, io_error("make it again")));
  }
  struct stat info {};
  if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return about(record.path, io_error("look at it"));
  }
  const Marks made = marks_of(info);
  return change_marks({record.path, info.st_dev, info.st_ino, made, *marks});
}

// Home's own, that waited. The folder that it is in may be closed by now, as the job wanted.
void remove_aside(const std::string& path) {
  const Fd folder = open_plainly(parent_of(path), O_PATH | O_DIRECTORY);
  struct stat info {};
  if (!folder.valid() || ::unlinkat(folder.get(), name_of(path).c_str(), 0) == 0) return;
  if (errno != EACCES || ::fstat(folder.get(), &info) != 0) return;
  const mode_t mode = info.st_mode & 07777U;
  const std::string by = "/proc/self/fd/" + std::to_string(folder.get());
  if (::chmod(by.c_str(), mode | 0700U) != 0) return;
  (void)::unlinkat(folder.get(), name_of(path).c_str(), 0);
  (void)::chmod(by.c_str(), mode);
}

class Undoing {
 public:
  Undoing(const Ledger& ledger, std::set<InodeOfPath> shared, const Keep& keep)
      : ledger_(ledger), shared_(std::move(shared)), keep_(keep) {}

  Status run(Undone& out) {
    const LedgerUser owner = owner_of(ledger_.records);
    const FileUser user(owner.uid, owner.gids);
    if (!user.good()) return fail(Code::kRefused, "cannot look at files as the job's user");
    Status first;  // that went wrong; the others go all the same
    for (auto it = ledger_.records.rbegin(); it != ledger_.records.rend(); ++it) {
      if (Status done = one(*it, out); !done && first) first = std::move(done);
    }
    return first;
  }

 private:
  Status one(const LedgerRecord& record, Undone& out) {
    if (record.kind == LedgerKind::kFresh) remove_fresh(record.path, ledger_.name);
    if (record.kind == LedgerKind::kReplaced || record.kind == LedgerKind::kKept) {
      return put_back(record, out);
    }
    if (record.kind == LedgerKind::kMarks) return undo_marks(record);
    if (record.kind == LedgerKind::kGone) return undo_gone(record);
    if (!takes_away(record) || record.other == kNotMade) return {};
    if (shared_.contains({record.path, record.device, record.inode})) return {};
    const Fd parent = open_plainly(parent_of(record.path), O_PATH | O_DIRECTORY);
    struct stat info {};
    const std::string name = name_of(record.path);
    if (!parent.valid() || ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        info.st_dev != record.device || info.st_ino != record.inode) {
      return {};
    }
    const bool folder = record.kind == LedgerKind::kFolder;
    if (!folder && keep_ && keep_(record)) {
      out.kept.push_back(record.path);
      return {};
    }
    const int flags = folder ? AT_REMOVEDIR : 0;
    if (::unlinkat(parent.get(), name.c_str(), flags) == 0) return {};
    if (errno == EACCES && open_up(parent_of(record.path)) &&
        ::unlinkat(parent.get(), name.c_str(), flags) == 0) {
      return {};
    }
    if (errno == ENOENT || (folder && (errno == ENOTEMPTY || errno == EEXIST || errno == EBUSY))) {
      return {};  // what else is in a folder is somebody's
    }
    return io_error("remove " + record.path);
  }

  // A folder that tern made, and in which the job's user may not write any more.
  bool open_up(const std::string& path) {
    const Fd folder = open_plainly(path, O_RDONLY | O_DIRECTORY);
    struct stat info {};
    if (!folder.valid() || ::fstat(folder.get(), &info) != 0) return false;
    const bool ours = std::any_of(
        ledger_.records.begin(), ledger_.records.end(), [&](const LedgerRecord& record) {
          return record.kind == LedgerKind::kFolder && record.other != kNotMade &&
                 record.path == path && record.device == info.st_dev && record.inode == info.st_ino;
        });
    return ours && ::fchmod(folder.get(), (info.st_mode & 0777) | 0700) == 0;
  }

  // Over nothing: what its owner made there meanwhile stays, and the old one lies beside it.
  static Status put_back(const LedgerRecord& record, Undone& out) {
    const Fd parent = open_plainly(parent_of(record.path), O_PATH | O_DIRECTORY);
    const Fd aside = open_plainly(parent_of(record.other), O_PATH | O_DIRECTORY);
    if (!aside.valid()) return {};
    const NameIn backup{aside.get(), name_of(record.other)};
    std::string name = name_of(record.path);
    struct stat info {};
    if (!parent.valid() &&
        ::fstatat(aside.get(), backup.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      return fail(Code::kNotFound, record.path + " lies at " + record.other +
                                       ", as the folder that it was in is not there any more");
    }
    if (!parent.valid()) return {};
    for (unsigned number = 1; number < 1000; ++number) {
      Status back = rename_new(backup, {parent.get(), name});
      // An empty folder: made, and not noted before the daemon was killed.
      const bool emptied = !back && back.error().code == Code::kExists && number == 1 &&
                           record.kind == LedgerKind::kKept &&
                           ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR) == 0;
      if (emptied) back = rename_new(backup, {parent.get(), name});
      if (back && number > 1) out.before.push_back(parent_of(record.path) + "/" + name);
      if (back || back.error().code == Code::kNotFound) return {};
      if (back.error().code != Code::kExists) return about(record.path, back.error());
      name = name_of(record.path) + ".before" + (number == 1 ? "" : "-" + std::to_string(number));
    }
    return fail(Code::kFull, "too many versions of " + record.path + " lie beside it");
  }

  const Ledger& ledger_;
  std::set<InodeOfPath> shared_;
  const Keep& keep_;
};

}  // namespace

std::string arrival_ledger(const base::JobId& job, base::Epoch epoch) {
  return job.hex() + "-e" + std::to_string(epoch.value);
}
std::string left_ledger(const base::JobId& job) { return job.hex() + "-left"; }

Result<std::unique_ptr<LedgerFile>> LedgerFile::open(const std::string& folder,
                                                     const std::string& name) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return write_error("make " + folder);
  std::unique_ptr<LedgerFile> self(new LedgerFile);
  auto at = open_folder(AT_FDCWD, folder);
  if (!at) return at.error();
  self->folder_ = std::move(*at);
  self->fd_ = Fd(::openat(self->folder_.get(), name.c_str(),
                          O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  struct stat info {};
  if (!self->fd_.valid() || ::fstat(self->fd_.get(), &info) != 0) {
    return write_error("open a ledger");
  }
  self->size_ = static_cast<std::uint64_t>(info.st_size);
  return self;
}

Status LedgerFile::append(const LedgerRecord& record) {
  const base::Bytes bytes = transfer::encode(record);
  if (size_ + bytes.size() > transfer::kLedgerSizeMax) {
    return fail(Code::kTooLarge, "the job has more files than this node can keep account of");
  }
  const ssize_t put = retry([&] { return ::write(fd_.get(), bytes.data(), bytes.size()); });
  if (put != static_cast<ssize_t>(bytes.size())) {
    if (put >= 0) errno = ENOSPC;
    return write_error("write a ledger");
  }
  size_ += bytes.size();
  return {};
}

Status LedgerFile::sync() {
  if (::fdatasync(fd_.get()) != 0 || ::fsync(folder_.get()) != 0) {
    return write_error("write a ledger");
  }
  return {};
}

Result<std::vector<Ledger>> read_ledgers(const std::string& folder) {
  std::vector<Ledger> out;
  auto at = open_folder(AT_FDCWD, folder);
  if (!at && at.error().code == Code::kNotFound) return out;
  if (!at) return at.error();
  auto names = names_in(at->get());
  if (!names) return names.error();
  std::sort(names->begin(), names->end(), older);
  for (std::string& name : *names) {
    auto bytes = read_file(at->get(), name, transfer::kLedgerSizeMax);
    // Another job's that was done with meanwhile.
    if (!bytes && bytes.error().code == Code::kNotFound) continue;
    if (!bytes) return bytes.error();
    Ledger ledger;
    ledger.name = std::move(name);
    const std::vector<LedgerRecord> all = transfer::decode_ledger(*bytes);
    std::map<std::pair<std::string, int>, std::size_t> newest;
    const auto key = [](const LedgerRecord& r) { return std::make_pair(r.path, group_of(r)); };
    const auto by_path = [](const LedgerRecord& r) {
      return r.kind != LedgerKind::kUser && r.kind != LedgerKind::kFresh;
    };
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (by_path(all[i])) newest[key(all[i])] = i;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (by_path(all[i]) && newest[key(all[i])] != i) continue;
      if (all[i].kind != LedgerKind::kDropped) ledger.records.push_back(all[i]);
    }
    out.push_back(std::move(ledger));
  }
  return out;
}

Status remove_ledger(const std::string& folder, const std::string& name) {
  if (::unlink((folder + "/" + name).c_str()) != 0 && errno != ENOENT) {
    return io_error("remove a ledger");
  }
  return {};
}

Result<Undone> undo_ledgers(const std::string& folder, const std::vector<std::string>& names,
                            const Keep& keep) {
  Undone out;
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  const auto named = [&](const Ledger& ledger) {
    return std::find(names.begin(), names.end(), ledger.name) != names.end();
  };
  Status first;
  std::set<InodeOfPath> shared;
  for (const Ledger& ledger : *all) {
    if (named(ledger)) continue;
    for (const LedgerRecord& r : ledger.records) {
      if (group_of(r) == 0) shared.insert({r.path, r.device, r.inode});
    }
  }
  // The newest first: a folder may have been made for an older one.
  for (auto it = all->rbegin(); it != all->rend(); ++it) {
    if (!named(*it)) continue;
    const std::size_t kept = out.kept.size();
    Status done = Undoing(*it, shared, keep).run(out);
    if (done && out.kept.size() == kept) done = remove_ledger(folder, it->name);
    if (!done && first) first = std::move(done);
  }
  if (!first) return first.error();
  return out;
}

Result<bool> has_arrivals(const std::string& folder, const base::JobId& job) {
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  return std::any_of(all->begin(), all->end(), [&](const Ledger& ledger) {
    return ledger.name.starts_with(job.hex() + "-e");
  });
}

Result<std::vector<std::string>> placed_files(const std::string& folder, const base::JobId& job) {
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  std::set<std::string> paths;
  for (const Ledger& ledger : *all) {
    if (!ledger.name.starts_with(job.hex() + "-e")) continue;
    for (const LedgerRecord& record : ledger.records) {
      if (record.kind == LedgerKind::kPlaced) paths.insert(record.path);
    }
  }
  return std::vector<std::string>(paths.begin(), paths.end());
}

Status forget_arrivals(const std::string& folder, const base::JobId& job, base::Epoch newest,
                       bool at_home) {
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  const std::string prefix = job.hex() + "-e";
  std::vector<std::string> names;
  for (const Ledger& ledger : *all) {
    if (!ledger.name.starts_with(prefix)) continue;
    if (std::strtoull(ledger.name.c_str() + prefix.size(), nullptr, 10) > newest.value) continue;
    names.push_back(ledger.name);
  }
  if (!at_home) {
    auto undone = undo_ledgers(folder, names);
    return undone ? Status() : Status(undone.error());
  }
  for (const std::string& name : names) {
    if (Status settled = settle_ledger(folder, name); !settled) return settled;
  }
  return {};
}

Status note_guest_leaves(const std::string& folder, const base::JobId& job,
                         const std::vector<LeftFile>& files) {
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  std::set<InodeOfPath> noted;
  std::set<std::string> paths;
  std::set<std::string> folders;
  std::string newest;
  for (const Ledger& ledger : *all) {
    if (!ledger.name.starts_with(job.hex() + "-e")) continue;
    newest = ledger.name;
    for (const LedgerRecord& r : ledger.records) {
      if (takes_away(r)) noted.insert({r.path, r.device, r.inode});
      if (r.kind == LedgerKind::kPlaced) paths.insert(r.path);
      if (r.kind == LedgerKind::kFolder) folders.insert(r.path);
    }
  }
  if (newest.empty()) return {};
  auto file = LedgerFile::open(folder, newest);
  if (!file) return file.error();
  for (const LeftFile& left : files) {  // folders before what is in them
    const bool made = folders.contains(parent_of(left.path)) || paths.contains(left.path);
    if (!made || noted.contains({left.path, left.device, left.inode})) continue;
    const LedgerKind kind = left.folder ? LedgerKind::kFolder : LedgerKind::kPlaced;
    if (left.folder) folders.insert(left.path);
    Status put = (*file)->append({kind, left.path, {}, left.device, left.inode, {}});
    if (!put) return put;
  }
  return (*file)->sync();
}

Status note_left_home(const std::string& folder, const base::JobId& job, const LeavingUser& user,
                      const std::vector<LeftFile>& files) {
  const std::string fresh = left_ledger(job) + ".new";
  if (Status gone = remove_ledger(folder, fresh); !gone) return gone;
  auto file = LedgerFile::open(folder, fresh);
  if (!file) return file.error();
  for (const std::uint32_t gid : user.gids) {
    Status put = (*file)->append({LedgerKind::kUser, {}, {}, user.uid, gid, {}});
    if (!put) return put;
  }
  for (const LeftFile& left : files) {
    if (!left.folder && left.digest == base::crypto::Hash256{}) continue;
    const base::crypto::Hash256 digest = left.folder ? transfer::folder_digest() : left.digest;
    Status put = (*file)->append(
        {LedgerKind::kLeft, left.path, left.marks, left.device, left.inode, digest});
    if (!put) return put;
  }
  if (Status synced = (*file)->sync(); !synced) return synced;
  const std::string to = folder + "/" + left_ledger(job);
  if (::rename((folder + "/" + fresh).c_str(), to.c_str()) != 0) {
    return write_error("write a ledger");
  }
  return (*file)->sync();
}

Status settle_ledger(const std::string& folder, const std::string& name) {
  auto all = read_ledgers(folder);
  if (!all) return all.error();
  for (const Ledger& ledger : *all) {
    if (ledger.name != name) continue;
    const LedgerUser owner = owner_of(ledger.records);
    const FileUser user(owner.uid, owner.gids);
    if (!user.good()) return fail(Code::kRefused, "cannot look at files as the job's user");
    for (const LedgerRecord& record : ledger.records) {
      if (record.kind == LedgerKind::kReplaced) remove_aside(record.other);
    }
  }
  return remove_ledger(folder, name);
}

}  // namespace machine
