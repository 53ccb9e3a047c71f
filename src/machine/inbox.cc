#include "machine/inbox.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>

#include "machine/guarded_folder.h"

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;

constexpr mode_t kOwnOnly = 0700;

Status make_folder(int at, const std::string& name) {
  if (::mkdirat(at, name.c_str(), kOwnOnly) != 0 && errno != EEXIST) {
    return io_error("make the folder " + name);
  }
  return {};
}

std::int64_t blocks_bytes(const struct stat& info) {
  return static_cast<std::int64_t>(info.st_blocks) * 512;
}

}  // namespace

Result<Fd> open_folder(int at, const std::string& path) {
  Fd fd(::openat(at, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return io_error("open the folder " + path);
  return fd;
}

Result<std::vector<std::string>> names_in(int folder) {
  const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return io_error("read a folder");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), &::closedir);
  if (!dir) {
    ::close(copy);
    return io_error("read a folder");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* item = ::readdir(dir.get())) {
    const std::string name = item->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return io_error("read a folder");
  return names;
}

// Without recursion: what cannot be removed yet is descended into, and tried again.
Status remove_tree(int at, const std::string& name) {
  std::vector<std::string> paths = {name};
  while (!paths.empty()) {
    const std::string path = paths.back();
    if (::unlinkat(at, path.c_str(), 0) == 0 || errno == ENOENT ||
        ::unlinkat(at, path.c_str(), AT_REMOVEDIR) == 0) {
      paths.pop_back();
      continue;
    }
    auto folder = open_folder(at, path);
    if (!folder && folder.error().code == Code::kRefused) {
      (void)::fchmodat(at, path.c_str(), kOwnOnly, 0);
      folder = open_folder(at, path);
    }
    if (!folder) return folder.error();
    (void)::fchmod(folder->get(), kOwnOnly);
    auto names = names_in(folder->get());
    if (!names) return names.error();
    if (names->empty() && ::unlinkat(at, path.c_str(), AT_REMOVEDIR) != 0) {
      return io_error("remove " + path);
    }
    for (const std::string& child : *names) {
      if (::unlinkat(folder->get(), child.c_str(), 0) == 0) continue;
      paths.push_back(path);
      paths.back().append("/").append(child);
    }
  }
  return {};
}

Status write_file(int at, const std::string& name, base::ByteView bytes) {
  const std::string fresh = name + ".new";
  const Fd fd(
      ::openat(at, fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return io_error("write " + name);
  while (!bytes.empty()) {
    const ssize_t put = retry([&] { return ::write(fd.get(), bytes.data(), bytes.size()); });
    if (put < 0) return io_error("write " + name);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  if (::fsync(fd.get()) != 0) return io_error("write " + name);
  if (::renameat(at, fresh.c_str(), at, name.c_str()) != 0) return io_error("write " + name);
  if (::fsync(at) != 0) return io_error("write " + name);
  return {};
}

Result<base::Bytes> read_file(int at, const std::string& name, std::size_t size_max) {
  const Fd fd(::openat(at, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return io_error("read " + name);
  base::Bytes bytes(size_max + 1);
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got =
        retry([&] { return ::read(fd.get(), bytes.data() + size, bytes.size() - size); });
    if (got < 0) return io_error("read " + name);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > size_max) return fail(Code::kTooLarge, name + " is too large");
  bytes.resize(size);
  return bytes;
}

Result<std::shared_ptr<Inbox>> Inbox::open(const std::string& path) {
  auto folder = open_guarded_folder(path);
  if (!folder) return folder.error();
  std::shared_ptr<Inbox> inbox(new Inbox);
  inbox->path_ = path;
  inbox->folder_ = std::move(*folder);
  struct stat info {};
  if (::fstat(inbox->folder_.get(), &info) != 0) return io_error("look at the inbox");
  if (::geteuid() == 0 && info.st_uid != 0) inbox->owner_ = Owner{info.st_uid, info.st_gid};
  if (Status made = make_folder(inbox->folder_.get(), kPartialName); !made) return made.error();
  auto partial = open_folder(inbox->folder_.get(), kPartialName);
  if (!partial) return partial.error();
  inbox->partial_ = std::move(*partial);
  if (::fstat(inbox->partial_.get(), &info) != 0) return io_error("look at the inbox");
  if (info.st_uid != ::geteuid() || (info.st_mode & 077) != 0) {
    return fail(Code::kRefused, path + "/" + kPartialName +
                                    " is not the daemon's own; move it away, and start again");
  }
  return inbox;
}

std::uint64_t room_of(const struct statvfs& disk, bool for_a_while) {
  const std::uint64_t total = std::uint64_t{disk.f_blocks} * disk.f_frsize;
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::uint64_t reserve = std::min(kInboxReserveMax, total / 20) / (for_a_while ? 2 : 1);
  return free > reserve ? free - reserve : 0;
}

Result<InboxRoom> Inbox::room() const {
  struct statvfs info {};
  if (::fstatvfs(folder_.get(), &info) != 0) return io_error("look at the inbox's disk");
  // Some file systems count no files.
  const std::uint64_t files = info.f_files == 0 ? UINT64_MAX : std::uint64_t{info.f_favail};
  return InboxRoom{room_of(info), files};
}

Result<std::vector<InboxItem>> Inbox::list() const {
  auto names = names_in(folder_.get());
  if (!names) return names.error();
  std::vector<InboxItem> items;
  for (std::string& name : *names) {
    struct stat info {};
    if (name == kPartialName ||
        ::fstatat(folder_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      continue;
    }
    const bool file = S_ISREG(info.st_mode);
    items.push_back({std::move(name), S_ISDIR(info.st_mode),
                     file ? static_cast<std::uint64_t>(info.st_size) : 0, info.st_ctim.tv_sec});
  }
  std::sort(items.begin(), items.end(), [](const InboxItem& a, const InboxItem& b) {
    return std::tie(b.changed_at, a.name) < std::tie(a.changed_at, b.name);
  });
  if (items.size() > kInboxListMax) items.resize(kInboxListMax);
  return items;
}

Result<std::vector<InboxStage>> Inbox::stages() const {
  auto names = names_in(partial_.get());
  if (!names) return names.error();
  std::sort(names->begin(), names->end());
  std::vector<InboxStage> out;
  for (std::string& name : *names) {
    if (name.ends_with(kGoneSuffix)) continue;
    auto stage = open_folder(partial_.get(), name);
    if (!stage) continue;
    struct stat info {};
    auto offer = read_file(stage->get(), "offer", kOfferRecordMax);
    const char* of = offer ? "offer" : ".";
    if (::fstatat(stage->get(), of, &info, 0) != 0) continue;
    out.push_back(
        {std::move(name), offer ? std::move(*offer) : base::Bytes(), info.st_mtim.tv_sec});
  }
  return out;
}

Status Inbox::keep_stage(const std::string& key, base::ByteView offer) const {
  Status kept;
  for (int tries = 0; tries < 2; ++tries) {  // an old one may just be being removed
    if (Status made = make_folder(partial_.get(), key); !made) return made;
    auto stage = open_folder(partial_.get(), key);
    kept = stage ? write_file(stage->get(), "offer", offer) : Status(stage.error());
    if (kept) break;
  }
  return kept;
}

Status Inbox::remove_stage(const std::string& key) const {
  const std::string gone = key + kGoneSuffix;
  if (Status before = remove_tree(partial_.get(), gone); !before) return before;
  if (::renameat(partial_.get(), key.c_str(), partial_.get(), gone.c_str()) != 0) {
    return errno == ENOENT ? Status() : Status(io_error("remove a stage"));
  }
  return remove_tree(partial_.get(), gone);
}

Status Inbox::remove_remains() const {
  auto names = names_in(partial_.get());
  if (!names) return names.error();
  Status all;
  for (const std::string& name : *names) {
    Status removed;
    if (name.ends_with(kGoneSuffix)) {
      removed = remove_tree(partial_.get(), name);
    } else if (auto stage = open_folder(partial_.get(), name); stage) {
      if (::faccessat(stage->get(), "offer", F_OK, 0) == 0 || errno != ENOENT) continue;
      // An empty one may be being made just now, as one with half an offer is; what has content and
      // no offer was being removed.
      if (::faccessat(stage->get(), "offer.new", F_OK, 0) == 0) continue;
      if (::unlinkat(partial_.get(), name.c_str(), AT_REMOVEDIR) == 0) continue;
      if (errno == ENOTEMPTY || errno == EEXIST) removed = remove_stage(name);
    }
    if (!removed) all = std::move(removed);
  }
  return all;
}

Status Inbox::empty_stage(const std::string& key) const {
  auto stage = open_folder(partial_.get(), key);
  if (!stage) return stage.error();
  if (::faccessat(stage->get(), kDeliveredName, F_OK, 0) != 0) return remove_stage(key);
  return remove_tree(stage->get(), kTreeName);
}

std::uint64_t Inbox::staged_bytes(const std::string& key) const {
  std::int64_t total = 0;
  std::vector<std::string> folders = {key};
  while (!folders.empty()) {
    const std::string path = std::move(folders.back());
    folders.pop_back();
    auto folder = open_folder(partial_.get(), path);
    auto names =
        folder ? names_in(folder->get()) : Result<std::vector<std::string>>(folder.error());
    if (!names) continue;
    for (const std::string& name : *names) {
      struct stat info {};
      if (::fstatat(folder->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (S_ISDIR(info.st_mode)) folders.emplace_back(path).append("/").append(name);
      if (S_ISREG(info.st_mode)) total += blocks_bytes(info);
    }
  }
  return static_cast<std::uint64_t>(total);
}

}  // namespace machine
