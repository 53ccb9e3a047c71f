#include "machine/arrival.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::EntryKind;
using transfer::kNoParent;
using transfer::ShareEntry;

constexpr std::size_t kReadSize = std::size_t{256} << 10;
// Up to so many files each is synced by itself; of more the file system is synced once.
constexpr std::uint32_t kSyncEachMax = 64;
// The room on the disk is looked at again after so much, and of a file the name counts as so much.
constexpr std::uint64_t kLookEvery = std::uint64_t{16} << 20;
constexpr std::uint64_t kNameCost = 4096;
constexpr std::size_t kPartialFilesMax = 64;  // files that are half here; of more the first count

base::Error full() { return fail(Code::kFull, "the disk is full"); }

base::Error disk_error(const std::string& what) {
  if (errno == ENOSPC || errno == EDQUOT) return full();
  return io_error(what);
}

base::Error stopped() { return fail(Code::kTimeout, "it was stopped"); }

std::array<timespec, 2> times_of(const ShareEntry& entry) {
  timespec at{};
  at.tv_sec = entry.mtime_seconds;
  at.tv_nsec = static_cast<long>(entry.mtime_nanos);
  return {timespec{0, UTIME_OMIT}, at};
}

}  // namespace

Result<std::unique_ptr<Arrival>> Arrival::open(
    std::shared_ptr<const Inbox> inbox, const std::string& key,
    std::shared_ptr<const transfer::ShareManifest> manifest) {
  std::unique_ptr<Arrival> self(new Arrival);
  self->inbox_ = std::move(inbox);
  self->manifest_ = std::move(manifest);
  auto stage = open_folder(self->inbox_->partial(), key);
  if (!stage) return stage.error();
  self->stage_ = std::move(*stage);
  if (::mkdirat(self->stage_.get(), kTreeName, 0700) != 0 && errno != EEXIST) {
    return disk_error("make a folder");
  }
  auto tree = open_folder(self->stage_.get(), kTreeName);
  if (!tree) return tree.error();
  self->tree_ = std::move(*tree);
  self->sync_each_ = self->manifest_->files() <= kSyncEachMax;
  return self;
}

Status Arrival::give(int at, const std::string& name) const {
  if (!inbox_->owner()) return {};
  const Owner& owner = *inbox_->owner();
  if (::fchownat(at, name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return io_error("give it to the inbox's owner");
  }
  return {};
}

// ---- what an earlier attempt left

Result<Arrival::Prepared> Arrival::prepare(const std::atomic<bool>& cancelled) {
  if (Status found = find_delivered(); !found) return found.error();
  if (Status settled = reconcile(cancelled); !settled) return settled.error();
  if (Status made = make_rest(); !made) return made.error();
  Prepared out;
  for (const auto& [entry, known] : known_) out.have.push_back({entry, known.bytes, known.digest});
  out.delivered = delivered_;
  return out;
}

// A top that was about to be renamed, and stands in the inbox under the inode that it had.
Status Arrival::find_delivered() {
  auto bytes = read_file(stage_.get(), kDeliveredName, std::size_t{64} << 20);
  if (!bytes && bytes.error().code == Code::kNotFound) return {};
  if (!bytes) return bytes.error();
  constexpr std::size_t kRow = 48;  // digest, device, inode
  std::map<base::crypto::Hash256, std::pair<std::uint64_t, std::uint64_t>> noted;
  for (std::size_t at = 0; at + kRow <= bytes->size(); at += kRow) {
    const base::ByteView row = base::ByteView(*bytes).subspan(at, kRow);
    base::crypto::Hash256 digest{};
    std::copy_n(row.begin(), digest.size(), digest.begin());
    noted[digest] = {base::get_le64(row.subspan(32)), base::get_le64(row.subspan(40))};
  }
  auto names = names_in(inbox_->folder());
  if (!names) return names.error();
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> there;
  for (const std::string& name : *names) {
    struct stat info {};
    if (::fstatat(inbox_->folder(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    there[{info.st_dev, info.st_ino}] = name;
  }
  for (const std::uint32_t top : manifest_->tops()) {
    const auto row = noted.find(manifest_->digest_of_top(top));
    const auto name = row == noted.end() ? there.end() : there.find(row->second);
    if (name != there.end()) delivered_[top] = name->second;
  }
  return {};
}

Status Arrival::reconcile(const std::atomic<bool>& cancelled) {
  auto first = names_in(tree_.get());
  if (!first) return first.error();
  if (first->empty()) return {};
  for (std::uint32_t i = 0; i < manifest_->size(); ++i) {
    index_[{manifest_->entry(i).parent, manifest_->entry(i).name}] = i;
  }
  std::vector<std::pair<std::uint32_t, std::string>> todo = {{kNoParent, "."}};
  while (!todo.empty()) {
    const auto [parent, path] = std::move(todo.back());
    todo.pop_back();
    auto folder = open_folder(tree_.get(), path);
    if (!folder) return folder.error();
    auto names = names_in(folder->get());
    if (!names) return names.error();
    for (const std::string& name : *names) {
      std::string child = path;
      child.append("/").append(name);
      Status done = keep_or_remove(folder->get(), name, parent, child, todo, cancelled);
      if (!done) return done;
    }
  }
  index_.clear();
  return {};
}

Status Arrival::keep_or_remove(int folder, const std::string& name, std::uint32_t parent,
                               const std::string& path,
                               std::vector<std::pair<std::uint32_t, std::string>>& todo,
                               const std::atomic<bool>& cancelled) {
  if (cancelled) return stopped();
  const auto at = index_.find({parent, name});
  struct stat info {};
  if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return io_error("look");
  const bool wanted = at != index_.end() && !delivered_.contains(manifest_->top_of(at->second));
  const EntryKind kind = wanted ? manifest_->entry(at->second).kind : EntryKind::kLink;
  if (wanted && kind == EntryKind::kFolder && S_ISDIR(info.st_mode)) {
    if (::fchmodat(folder, name.c_str(), 0700, 0) != 0) return io_error("take up a folder");
    made_.insert(at->second);
    todo.emplace_back(at->second, path);
    return {};
  }
  if (wanted && kind == EntryKind::kFile && S_ISREG(info.st_mode) && info.st_nlink == 1) {
    auto kept = measure(folder, at->second, cancelled);
    if (!kept) return kept.error();
    if (*kept) return {};
  }
  return remove_tree(folder, name);
}

// Whether there is something of it to go on with.
Result<bool> Arrival::measure(int folder, std::uint32_t entry, const std::atomic<bool>& cancelled) {
  const ShareEntry& wanted = manifest_->entry(entry);
  const Fd file(::openat(folder, wanted.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return false;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const bool whole = size == wanted.size;
  const std::uint64_t use = whole ? size : size - size % base::FileDigest::kChunk;
  if (size > wanted.size || use == 0) return false;
  if (!whole && halves_ >= kPartialFilesMax) return false;
  base::FileDigest digest;
  std::vector<std::uint8_t> buffer(kReadSize);
  while (digest.size() < use) {
    if (cancelled) return stopped();
    const auto left =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), use - digest.size()));
    const ssize_t got = retry([&] {
      return ::pread(file.get(), buffer.data(), left, static_cast<off_t>(digest.size()));
    });
    if (got <= 0) return false;
    digest.add(base::ByteView(buffer).first(static_cast<std::size_t>(got)));
  }
  known_[entry] = {use, whole ? digest.finish() : digest.chain()};
  if (!whole) ++halves_;
  return true;
}

// Folders and links; files come when they come.
Status Arrival::make_rest() {
  for (std::uint32_t i = 0; i < manifest_->size(); ++i) {
    const ShareEntry& entry = manifest_->entry(i);
    const bool there = made_.contains(i) || delivered_.contains(manifest_->top_of(i));
    if (entry.kind == EntryKind::kFile || there) continue;
    auto folder = folder_of(i);
    if (!folder) return folder.error();
    const int made = entry.kind == EntryKind::kFolder
                         ? ::mkdirat(*folder, entry.name.c_str(), 0700)
                         : ::symlinkat(entry.link.c_str(), *folder, entry.name.c_str());
    if (made != 0) return disk_error("make " + entry.name);
    if (entry.kind == EntryKind::kFolder) continue;
    const auto times = times_of(entry);
    (void)::utimensat(*folder, entry.name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
    if (Status given = give(*folder, entry.name); !given) return given;
  }
  return {};
}

// The folder that an entry lies in. Files of one folder come together.
Result<int> Arrival::folder_of(std::uint32_t entry) {
  const std::uint32_t parent = manifest_->entry(entry).parent;
  if (parent == kNoParent) return tree_.get();
  if (parent != folder_index_) {
    auto folder = open_folder(tree_.get(), manifest_->path(parent));
    if (!folder) return folder.error();
    folder_ = std::move(*folder);
    folder_index_ = parent;
  }
  return folder_.get();
}

// ---- files

// Others fill the disk too, and what an offer needs is its sender's word.
Status Arrival::take_room(std::uint64_t bytes) {
  if (bytes > room_) {
    auto room = inbox_->room();
    if (!room) return room.error();
    if (room->bytes == 0 || room->files == 0) return full();
    room_ = std::max(bytes, std::min(room->bytes, kLookEvery));
  }
  room_ -= bytes;
  return {};
}

Status Arrival::begin(std::uint32_t entry, std::uint64_t offset) {
  const ShareEntry& wanted = manifest_->entry(entry);
  auto folder = folder_of(entry);
  if (!folder) return folder.error();
  const auto known = known_.find(entry);
  const bool there = known != known_.end();
  if (Status room = there ? Status() : take_room(kNameCost); !room) return room;
  if (there && ::fchmodat(*folder, wanted.name.c_str(), 0600, 0) != 0) {
    return io_error("take up " + wanted.name);
  }
  const int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | (there ? 0 : O_CREAT | O_EXCL);
  file_ = Fd(::openat(*folder, wanted.name.c_str(), flags, 0600));
  if (!file_.valid()) return disk_error("make " + wanted.name);
  whole_ = there && offset == wanted.size && offset == known->second.bytes;
  if (whole_) return {};
  if (there && ::ftruncate(file_.get(), static_cast<off_t>(offset)) != 0) {
    return disk_error("take up " + wanted.name);
  }
  digest_ = offset > 0 ? base::FileDigest(known->second.digest, offset) : base::FileDigest();
  return {};
}

Status Arrival::write(std::uint64_t offset, base::ByteView bytes) {
  if (Status room = take_room(bytes.size()); !room) return room;
  digest_.add(bytes);
  while (!bytes.empty()) {
    const ssize_t put = retry([&] {
      return ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    });
    if (put < 0) return disk_error("write a file");
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Status Arrival::zeros(std::uint64_t offset, std::uint64_t count) {
  digest_.add_zeros(count);
  if (::ftruncate(file_.get(), static_cast<off_t>(offset + count)) != 0) {
    return disk_error("write a file");
  }
  return {};
}

Status Arrival::end(std::uint32_t entry, const base::crypto::Hash256& digest) {
  const ShareEntry& wanted = manifest_->entry(entry);
  const base::crypto::Hash256 own = whole_ ? known_[entry].digest : digest_.finish();
  if (own != digest) {
    damaged_.insert(manifest_->top_of(entry));
    return discard(entry);
  }
  if (inbox_->owner()) {
    const Owner& owner = *inbox_->owner();
    if (::fchown(file_.get(), owner.uid, owner.gid) != 0) return io_error("give a file away");
  }
  if (::fchmod(file_.get(), wanted.mode) != 0) return io_error("set a file's mode");
  const auto times = times_of(wanted);
  if (::futimens(file_.get(), times.data()) != 0) return io_error("set a file's time");
  if (sync_each_ && ::fsync(file_.get()) != 0) return disk_error("write a file");
  file_.reset();
  return {};
}

Status Arrival::discard(std::uint32_t entry) {
  file_.reset();
  known_.erase(entry);
  auto folder = folder_of(entry);
  if (!folder) return folder.error();
  if (::unlinkat(*folder, manifest_->entry(entry).name.c_str(), 0) != 0 && errno != ENOENT) {
    return io_error("remove a file");
  }
  return {};
}

// ---- to its final name

Result<std::vector<transfer::ShareResult>> Arrival::deliver(
    const std::vector<std::uint32_t>& tops) {
  std::vector<transfer::ShareResult> results;
  std::vector<std::uint32_t> whole;
  for (const std::uint32_t top : tops) {
    if (damaged_.contains(top)) {
      const std::string& name = manifest_->entry(top).name;
      results.push_back({top, false, name + ": it was damaged on its way; send it again"});
    } else {
      whole.push_back(top);
    }
  }
  folder_index_ = kNoParent;
  folder_.reset();
  for (const std::uint32_t top : whole) {
    if (Status done = finish_folders(top); !done) return done.error();
  }
  if (Status synced = sync_all(whole); !synced) return synced.error();
  if (Status noted = note_delivery(whole); !noted) return noted.error();
  std::optional<base::Error> failed;
  bool renamed = false;
  for (const std::uint32_t top : whole) {
    auto name = rename_top(top);
    if (!name) failed = name.error();
    renamed = renamed || name;
    const std::string& own = manifest_->entry(top).name;
    results.push_back({top, name.ok(), name ? *name : own + ": " + failed->detail});
  }
  if (failed && !renamed) return *failed;
  // Not kFull: what arrived stays noted.
  if (::fsync(inbox_->folder()) != 0 || ::fsync(tree_.get()) != 0) {
    return io_error("write the inbox");
  }
  return results;
}

// Innermost first: a folder's time changes with what is in it.
Status Arrival::finish_folders(std::uint32_t top) {
  std::uint32_t last = top;
  while (last + 1 < manifest_->size() && manifest_->top_of(last + 1) == top) ++last;
  for (std::uint32_t i = last + 1; i-- > top;) {
    const ShareEntry& entry = manifest_->entry(i);
    if (entry.kind != EntryKind::kFolder) continue;
    auto folder = open_folder(tree_.get(), manifest_->path(i));
    if (!folder) return folder.error();
    if (inbox_->owner() &&
        ::fchown(folder->get(), inbox_->owner()->uid, inbox_->owner()->gid) != 0) {
      return io_error("give a folder away");
    }
    // A top that its owner may not write could not be renamed.
    const mode_t mode = i == top ? entry.mode | 0700U : entry.mode;
    if (::fchmod(folder->get(), mode) != 0) return io_error("set a folder's mode");
    const auto times = times_of(entry);
    if (::futimens(folder->get(), times.data()) != 0) return io_error("set a folder's time");
    if (sync_each_ && ::fsync(folder->get()) != 0) return disk_error("write a folder");
  }
  return {};
}

Status Arrival::sync_all(const std::vector<std::uint32_t>& tops) {
  if (tops.empty()) return {};
  const int synced = sync_each_ ? ::fsync(tree_.get()) : ::syncfs(tree_.get());
  return synced == 0 ? Status() : disk_error("write the inbox");
}

Status Arrival::note_delivery(const std::vector<std::uint32_t>& tops) {
  if (tops.empty()) return {};
  base::Bytes rows;
  const auto note = [&](std::uint32_t top, int folder, const std::string& name) -> Status {
    struct stat info {};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return io_error("look at " + name);
    }
    const base::crypto::Hash256 digest = manifest_->digest_of_top(top);
    rows.insert(rows.end(), digest.begin(), digest.end());
    std::array<std::uint8_t, 16> place{};
    base::put_le64(place, info.st_dev);
    base::put_le64(base::MutableByteView(place).subspan(8), info.st_ino);
    rows.insert(rows.end(), place.begin(), place.end());
    return {};
  };
  for (const auto& [top, name] : delivered_) (void)note(top, inbox_->folder(), name);  // if there
  for (const std::uint32_t top : tops) {
    if (Status noted = note(top, tree_.get(), manifest_->entry(top).name); !noted) return noted;
  }
  return write_file(stage_.get(), kDeliveredName, rows);
}

Result<std::string> Arrival::rename_top(std::uint32_t top) {
  const ShareEntry& entry = manifest_->entry(top);
  const bool folder = entry.kind == EntryKind::kFolder;
  // Once it is in the inbox its name is its owner's, who may put a link there.
  Fd closed;
  if (folder && entry.mode != (entry.mode | 0700U)) {
    auto opened = open_folder(tree_.get(), entry.name);
    if (!opened) return opened.error();
    closed = std::move(*opened);
  }
  for (unsigned number = 1;; ++number) {
    const std::string name =
        number == 1 ? entry.name : transfer::numbered_name(entry.name, number, folder);
    const char* from = entry.name.c_str();
    int renamed = static_cast<int>(::syscall(SYS_renameat2, tree_.get(), from, inbox_->folder(),
                                             name.c_str(), 1U /* RENAME_NOREPLACE */));
    if (renamed != 0 && errno == EINVAL) {
      // A file system that cannot: a link never replaces, a folder only an empty one.
      renamed = folder ? ::renameat(tree_.get(), from, inbox_->folder(), name.c_str())
                       : ::linkat(tree_.get(), from, inbox_->folder(), name.c_str(), 0);
      if (renamed == 0 && !folder) (void)::unlinkat(tree_.get(), from, 0);
    }
    if (renamed == 0) {
      if (closed.valid()) (void)::fchmod(closed.get(), entry.mode);
      return name;
    }
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) {
      return disk_error("give it its name");
    }
  }
}

}  // namespace machine
