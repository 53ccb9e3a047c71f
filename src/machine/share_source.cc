#include "machine/share_source.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <memory>
#include <set>
#include <tuple>

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::EntryKind;
using transfer::ShareEntry;

constexpr std::size_t kReadSize = std::size_t{256} << 10;

base::Error about(const std::string& path, const base::Error& error) {
  return fail(error.code, path + ": " + error.detail);
}

const char* kind_of(mode_t mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISBLK(mode) || S_ISCHR(mode)) return "a device";
  return "of no kind that travels";
}

ShareEntry entry_of(const struct stat& info, std::string name, std::uint32_t parent) {
  ShareEntry entry;
  entry.kind = S_ISDIR(info.st_mode) ? EntryKind::kFolder : EntryKind::kFile;
  entry.parent = parent;
  entry.name = std::move(name);
  entry.mode = info.st_mode & transfer::kShareModeBits;
  entry.mtime_seconds = info.st_mtim.tv_sec;
  entry.mtime_nanos = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  if (S_ISREG(info.st_mode)) entry.size = static_cast<std::uint64_t>(info.st_size);
  return entry;
}

std::string target_of(int folder, const std::string& name) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return target;
}

std::string last_part(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

class Finder {
 public:
  explicit Finder(ShareSource& source) : source_(source) {}

  Status add_top(const std::string& given) {
    std::unique_ptr<char, decltype(&std::free)> real(::realpath(given.c_str(), nullptr),
                                                     &std::free);
    if (!real) return about(given, io_error("find it"));
    const std::string path = real.get();
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return about(given, io_error("look at it"));
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
      return fail(Code::kInvalid, given + " is " + kind_of(info.st_mode) +
                                      "; only files and folders can be shared");
    }
    std::string wanted = last_part(given);
    if (wanted.empty() || wanted == "." || wanted == "..") wanted = last_part(path);
    const std::string name = free_name(wanted, S_ISDIR(info.st_mode));
    if (name.empty()) return fail(Code::kInvalid, "the whole machine (/) cannot be shared");
    const std::uint32_t index = source_.manifest.size();
    source_.roots[index] = path;
    if (Status added = add(entry_of(info, name, transfer::kNoParent), info, path); !added) {
      return added;
    }
    if (S_ISREG(info.st_mode)) {
      if (::access(path.c_str(), R_OK) != 0) return about(given, io_error("read it"));
      return {};
    }
    return walk(index, path);
  }

 private:
  // Two of the same name do not meet.
  std::string free_name(const std::string& wanted, bool folder) {
    std::string name = wanted;
    for (unsigned number = 2; !wanted.empty() && !names_.insert(name).second; ++number) {
      name = transfer::numbered_name(wanted, number, folder);
    }
    return name;
  }

  void skip(const std::string& path, const std::string& why) {
    ++source_.skipped_count;
    if (source_.skipped.size() < ShareSource::kSkippedMax) {
      source_.skipped.push_back("left out " + path + ": " + why);
    }
  }

  Status add(ShareEntry entry, const struct stat& info, const std::string& path) {
    const auto stored = static_cast<std::uint64_t>(info.st_blocks) * 512;
    if (entry.kind == EntryKind::kFile) source_.disk_bytes += std::min(entry.size, stored);
    Status added = source_.manifest.add(std::move(entry));
    return added ? added : Status(about(path, added.error()));
  }

  // Folder by folder; a folder's children stand together.
  Status walk(std::uint32_t top, const std::string& root) {
    std::vector<std::pair<std::uint32_t, std::string>> folders = {{top, root}};
    while (!folders.empty()) {
      const auto [index, path] = std::move(folders.back());
      folders.pop_back();
      auto names = list(path);
      if (!names) return names.error();
      const Fd folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!folder.valid()) return about(path, io_error("open it"));
      const std::size_t first = folders.size();
      for (const std::string& name : *names) {
        const std::uint32_t child = source_.manifest.size();
        std::string child_path = path;
        child_path.append("/").append(name);
        auto is_folder = add_child(folder.get(), index, name, child_path);
        if (!is_folder) return is_folder.error();
        if (*is_folder) folders.emplace_back(child, std::move(child_path));
      }
      std::reverse(folders.begin() + static_cast<std::ptrdiff_t>(first), folders.end());
    }
    return {};
  }

  static Result<std::vector<std::string>> list(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
    if (!dir) return about(path, io_error("read it"));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* item = ::readdir(dir.get())) {
      const std::string name = item->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    if (errno != 0) return about(path, io_error("read it"));
    std::sort(names.begin(), names.end());
    return names;
  }

  // Whether it is a folder, to be walked too.
  Result<bool> add_child(int folder, std::uint32_t parent, const std::string& name,
                         const std::string& path) {
    struct stat info {};
    if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;  // went since it was listed
      return about(path, io_error("look at it"));
    }
    if (S_ISLNK(info.st_mode)) {
      ShareEntry entry = entry_of(info, name, parent);
      entry.kind = EntryKind::kLink;
      entry.link = target_of(folder, name);
      if (!transfer::link_stays_inside(entry.link, source_.manifest.depth_of(parent))) {
        skip(path, "a link that leads out of what is shared");
        return false;
      }
      if (Status added = add(std::move(entry), info, path); !added) return added.error();
      return false;
    }
    if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
      skip(path, kind_of(info.st_mode));
      return false;
    }
    if (S_ISREG(info.st_mode) && ::faccessat(folder, name.c_str(), R_OK, AT_EACCESS) != 0) {
      return about(path, io_error("read it"));
    }
    if (Status added = add(entry_of(info, name, parent), info, path); !added) return added.error();
    return S_ISDIR(info.st_mode);
  }

  ShareSource& source_;
  std::set<std::string> names_;
};

auto identity(const struct stat& info) {
  return std::make_tuple(info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                         info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

base::Error changed() { return fail(Code::kStale, "it changed while it was sent"); }

}  // namespace

std::string ShareSource::path(std::uint32_t entry) const {
  const std::uint32_t top = manifest.top_of(entry);
  const std::string& root = roots.at(top);
  if (entry == top) return root;
  return root + manifest.path(entry).substr(manifest.entry(top).name.size());
}

Result<ShareSource> find_share(const std::vector<std::string>& paths) {
  ShareSource source;
  Finder finder(source);
  for (const std::string& path : paths) {
    if (Status added = finder.add_top(path); !added) return added.error();
  }
  if (Status sealed = source.manifest.seal(); !sealed) return sealed.error();
  return source;
}

Result<ShareFile> ShareFile::open(const ShareSource& source, std::uint32_t entry) {
  ShareFile file;
  const std::string path = source.path(entry);
  // Not to wait for a pipe's other end, should one stand there by now.
  file.fd_ = Fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.fd_.valid() && (errno == ENOENT || errno == ENOTDIR)) {
    return fail(Code::kNotFound, "it vanished");
  }
  if (!file.fd_.valid()) return io_error("open it");
  if (::fstat(file.fd_.get(), &file.as_opened_) != 0) return io_error("look at it");
  const struct stat& info = file.as_opened_;
  const ShareEntry now = entry_of(info, {}, 0);
  const ShareEntry& found = source.manifest.entry(entry);
  const bool same = S_ISREG(info.st_mode) && now.size == found.size &&
                    now.mtime_seconds == found.mtime_seconds &&
                    now.mtime_nanos == found.mtime_nanos;
  if (!same) return fail(Code::kStale, "it changed before it was sent");
  file.sparse_ = static_cast<std::uint64_t>(info.st_blocks) * 512 < now.size;
  if (now.size > kReadSize) (void)::posix_fadvise(file.fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return file;
}

Result<ShareFile::Piece> ShareFile::read(const Range& range, base::MutableByteView into) {
  // Not as one structured binding: clang 14 captures none in a lambda.
  const std::uint64_t offset = range.offset;
  const std::uint64_t left = range.left;
  if (sparse_ && offset >= data_end_) {
    const auto at = static_cast<off_t>(offset);
    const off_t data = ::lseek(fd_.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return Piece{left, true};
    if (data > at) {
      return Piece{std::min(left, static_cast<std::uint64_t>(data - at)), true};
    }
    const off_t end = data < 0 ? -1 : ::lseek(fd_.get(), at, SEEK_HOLE);
    data_end_ = end < 0 ? UINT64_MAX : static_cast<std::uint64_t>(end);
  }
  std::uint64_t size = std::min<std::uint64_t>(left, into.size());
  if (sparse_) size = std::min(size, data_end_ - offset);
  const ssize_t got = retry([&] {
    return ::pread(fd_.get(), into.data(), static_cast<std::size_t>(size),
                   static_cast<off_t>(offset));
  });
  if (got < 0) return io_error("read it");
  if (got == 0) return changed();
  return Piece{static_cast<std::uint64_t>(got), false};
}

Result<base::FileDigest> ShareFile::digest(std::uint64_t size) {
  base::FileDigest digest;
  std::vector<std::uint8_t> buffer(kReadSize);
  while (digest.size() < size) {
    auto piece = read({digest.size(), size - digest.size()}, buffer);
    if (!piece) return piece.error();
    if (piece->hole) {
      digest.add_zeros(piece->count);
    } else {
      digest.add(base::ByteView(buffer).first(static_cast<std::size_t>(piece->count)));
    }
  }
  data_end_ = 0;
  return digest;
}

Status ShareFile::unchanged() const {
  struct stat now {};
  if (::fstat(fd_.get(), &now) != 0) return io_error("look at it");
  if (identity(now) != identity(as_opened_)) return changed();
  std::uint8_t more = 0;
  const ssize_t got = retry([&] { return ::pread(fd_.get(), &more, 1, as_opened_.st_size); });
  if (got <= 0) return {};
  // It may have grown since it was looked at.
  if (::fstat(fd_.get(), &now) != 0) return io_error("look at it");
  if (now.st_size != 0) return changed();
  return fail(Code::kStale, "it holds more than its size says, as those of /proc do");
}

}  // namespace machine
