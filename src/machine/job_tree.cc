#include "machine/job_tree.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <climits>
#include <ctime>

#include "machine/file_hash.h"
#include "machine/file_marks.h"
#include "machine/file_user.h"
#include "machine/inbox.h"
#include "machine/path.h"

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::ChunkHashes;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::kJobChunk;

constexpr std::string_view kOwnNames = ".tern-";  // of files that are not whole yet

// Or a folder on its way became something else.
bool is_gone(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

bool comes_with(const std::string& placed) {
  return transfer::valid_job_path(placed) && !transfer::in_system_folder(placed);
}

// Whether nothing is stored there, so that it need not be read.
bool is_hole(int fd, std::uint64_t offset, std::size_t size) {
  const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  return data < 0 ? errno == ENXIO : static_cast<std::uint64_t>(data) >= offset + size;
}

Result<std::size_t> read_at(int fd, std::uint64_t offset, base::MutableByteView into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = retry([&] {
      return ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    });
    if (got < 0) return io_error("read it");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

struct Hashed {
  ChunkHashes chunks;
  std::uint64_t size = 0;  // that was read: it may have become shorter
  std::uint64_t stored = 0;
};

Result<Hashed> hash_file(int fd, std::uint64_t size, const std::atomic<bool>& cancelled) {
  Hashed out;
  base::Bytes buffer(kJobChunk);
  while (out.size < size) {
    if (cancelled) return fail(Code::kTimeout, "it was stopped");
    const auto wanted = static_cast<std::size_t>(std::min(kJobChunk, size - out.size));
    if (wanted == kJobChunk && is_hole(fd, out.size, wanted)) {
      out.chunks.push_back(transfer::zero_chunk_hash());
      out.size += wanted;
      continue;
    }
    auto got = read_at(fd, out.size, base::MutableByteView(buffer).first(wanted));
    if (!got) return got.error();
    if (*got == 0) break;
    out.chunks.push_back(transfer::chunk_hash(base::ByteView(buffer).first(*got)));
    if (out.chunks.back() != transfer::zero_chunk_hash()) out.stored += *got;
    out.size += *got;
    if (*got < wanted) break;
  }
  return out;
}

}  // namespace

bool was_changed(const transfer::LedgerRecord& record) {
  const Fd found = open_plainly(record.path);
  struct stat info {};
  if (!found.valid() || ::fstat(found.get(), &info) != 0) return true;
  if (!S_ISREG(info.st_mode)) return false;
  const Fd fd = open_plainly(record.path, O_RDONLY | O_NONBLOCK);
  if (!fd.valid()) return true;
  const std::atomic<bool> never{false};
  auto hashed = hash_file(fd.get(), static_cast<std::uint64_t>(info.st_size), never);
  return !hashed || transfer::digest_of(hashed->chunks, hashed->size) != record.digest;
}

Result<std::set<std::string>> missing_files(const JobTreeSpec& spec) {
  const FileUser user(spec.uid, spec.gids);
  if (!user.good()) {
    return fail(Code::kRefused, "this node cannot look at files as the job's user");
  }
  std::set<std::string> missing;
  for (const std::string& path : spec.placed) {
    if (!comes_with(path)) continue;
    const Fd parent = open_plainly(parent_of(path), O_PATH | O_DIRECTORY);
    struct stat info {};
    const bool there = parent.valid() && ::fstatat(parent.get(), name_of(path).c_str(), &info,
                                                   AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && is_gone(errno)) missing.insert(path);
  }
  return missing;
}

class JobTree::Collector {
 public:
  Collector(JobTree& tree, const JobTree* before, const std::atomic<bool>& cancelled)
      : tree_(tree), before_(before), cancelled_(cancelled) {}

  Status run() {
    const FileUser user(tree_.spec_.uid, tree_.spec_.gids);
    if (!user.good()) {
      return fail(Code::kRefused, "this node cannot look at files as the job's user");
    }
    for (const RequiredFile& file : tree_.spec_.files) {
      if ((file.flags & kRequiredTravels) == 0) continue;
      const bool written = (file.flags & kRequiredWritten) != 0;
      if (Status added =
              add(file.path, transfer::kJobFileNeeded | (written ? transfer::kJobFileWritten : 0U));
          !added) {
        return added;
      }
    }
    for (const std::string& path : tree_.spec_.placed) {
      if (!comes_with(path)) continue;
      if (Status added = add(path, transfer::kJobFileWritten); !added) return added;
    }
    if (!tree_.spec_.dir.empty()) {
      if (Status walked = walk(); !walked) return walked;
    }
    add_ancestors();
    for (const auto& [path, flags] : found_) {
      if (Status put = entry(path, flags); !put) return put;
    }
    return {};
  }

 private:
  Status add(const std::string& path, std::uint32_t flags) {
    found_[path] |= flags;
    if (found_.size() <= transfer::kJobFilesMax) return {};
    return fail(Code::kTooLarge, "more than " + std::to_string(transfer::kJobFilesMax) +
                                     " files would have to move");
  }

  Status walk() {
    std::vector<std::string> folders = {tree_.spec_.dir};
    if (Status added = add(tree_.spec_.dir, transfer::kJobFileWritten); !added) return added;
    while (!folders.empty()) {
      if (cancelled_) return fail(Code::kTimeout, "it was stopped");
      const std::string path = std::move(folders.back());
      folders.pop_back();
      const Fd folder = open_plainly(path, O_RDONLY | O_DIRECTORY);
      if (!folder.valid()) {
        const bool gone = is_gone(errno);
        if (errno == ENOENT && path != tree_.spec_.dir) continue;  // went since it was listed
        if (gone && path == tree_.spec_.dir) {
          return fail(Code::kRefused, path + ", which was named with --dir, is no folder any more");
        }
        return about(path, io_error("read it"));
      }
      auto names = names_in(folder.get());
      if (!names) return about(path, names.error());
      for (const std::string& name : *names) {
        struct stat info {};
        if (name.starts_with(kOwnNames) ||
            ::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
          continue;
        }
        const bool is_folder = S_ISDIR(info.st_mode);
        if (!is_folder && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) continue;
        std::string child = path;
        child.append("/").append(name);
        if (Status added = add(child, transfer::kJobFileWritten); !added) return added;
        if (is_folder) folders.push_back(std::move(child));
      }
    }
    return {};
  }

  [[nodiscard]] bool must_be_there(const std::string& path) const {
    const auto& spec = tree_.spec_;
    return spec.removed && !spec.removed->contains(path) &&
           std::find(spec.placed.begin(), spec.placed.end(), path) != spec.placed.end();
  }

  void add_ancestors() {
    std::vector<std::string> all;
    for (const auto& [path, flags] : found_) {
      for (std::string up = parent_of(path); up != "/"; up = parent_of(up)) all.push_back(up);
    }
    for (const std::string& path : all) {
      if (!transfer::in_system_folder(path)) {
        found_.try_emplace(path, transfer::kJobFileAncestor);
      }
    }
  }

  Status entry(const std::string& path, std::uint32_t flags) {
    const Fd parent = open_plainly(parent_of(path), O_PATH | O_DIRECTORY);
    const std::string name = name_of(path);
    struct stat info {};
    if (!parent.valid() || ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      const int error = errno;
      if (is_gone(error) && must_be_there(path)) {
        return fail(Code::kRefused, path + " was removed here since the job ended");
      }
      if (error == ENOENT) return {};  // it went; an open one travels in the image then
      // A folder on its way became something else, which is on the list by itself.
      const bool needed = (flags & transfer::kJobFileNeeded) != 0;
      if (!needed && (error == ENOTDIR || error == ELOOP)) return {};
      return about(path, io_error("look at it as the job's user"));
    }
    JobFile file;
    file.path = path;
    file.flags = flags;
    file.mode = info.st_mode & 0777;
    file.uid = info.st_uid;
    file.gid = info.st_gid;
    file.mtime_seconds = info.st_mtim.tv_sec;
    file.mtime_nanos = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
    file.inode = info.st_ino;
    file.ctime_seconds = info.st_ctim.tv_sec;
    file.ctime_nanos = static_cast<std::uint32_t>(info.st_ctim.tv_nsec);
    const Birth born = birth_of(parent.get(), name);
    file.born_seconds = born.seconds;
    file.born_nanos = born.nanos;
    ChunkHashes chunks;
    if (S_ISDIR(info.st_mode)) {
      file.kind = JobFileKind::kFolder;
    } else if (S_ISLNK(info.st_mode)) {
      file.kind = JobFileKind::kLink;
      file.link.resize(PATH_MAX);
      const ssize_t size =
          ::readlinkat(parent.get(), name.c_str(), file.link.data(), file.link.size());
      file.link.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    } else if (const auto first = first_.find({info.st_dev, info.st_ino});
               info.st_nlink > 1 && first != first_.end()) {
      file.kind = JobFileKind::kHardLink;
      file.link = first->second;
    } else if (S_ISREG(info.st_mode)) {
      if (Status read = content(path, info, file, chunks); !read) return read;
      first_.emplace(std::make_pair(info.st_dev, info.st_ino), path);
    } else {
      return fail(Code::kInvalid, path + " is of no kind that moves");
    }
    if (Status added = tree_.content_->list.add(std::move(file)); !added) {
      return about(path, added.error());
    }
    tree_.content_->chunks.push_back(std::move(chunks));
    tree_.inodes_.push_back({info.st_dev, info.st_ino});
    return {};
  }

  Status content(const std::string& path, const struct stat& info, JobFile& file,
                 ChunkHashes& chunks) {
    const Key key{info.st_dev,         info.st_ino,          info.st_size,
                  info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                  info.st_ctim.tv_nsec};
    if (tree_.spec_.names_only) return names_only(path, info, file);
    const std::uint32_t unseen = transfer::kJobFileNeeded | transfer::kJobFileWritten;
    const bool settled = info.st_ctim.tv_sec + FileHashes::kSettled < ::time(nullptr) &&
                         (file.flags & unseen) != unseen;
    if (before_ != nullptr && (file.flags & unseen) != unseen) {
      const auto known = before_->known_.find(path);
      if (known != before_->known_.end() && known->second.key == key) {
        file.size = static_cast<std::uint64_t>(info.st_size);
        file.stored = known->second.stored;
        chunks = known->second.chunks;
        file.digest = transfer::digest_of(chunks, file.size);
        tree_.known_.emplace(path, known->second);
        return {};
      }
    }
    const Fd fd = open_plainly(path, O_RDONLY | O_NONBLOCK);
    if (!fd.valid()) return about(path, io_error("read it as the job's user"));
    auto hashed = hash_file(fd.get(), static_cast<std::uint64_t>(info.st_size), cancelled_);
    if (!hashed) return about(path, hashed.error());
    file.size = hashed->size;
    file.stored = hashed->stored;
    file.digest = transfer::digest_of(hashed->chunks, hashed->size);
    chunks = std::move(hashed->chunks);
    if (settled) tree_.known_.emplace(path, Known{key, chunks, file.stored});
    return {};
  }

  Status names_only(const std::string& path, const struct stat& info, JobFile& file) {
    const Fd fd = open_plainly(path, O_RDONLY | O_NONBLOCK);
    if (!fd.valid() && errno != ENOENT) return about(path, io_error("read it as the job's user"));
    file.size = static_cast<std::uint64_t>(info.st_size);
    file.stored = std::min(file.size, static_cast<std::uint64_t>(info.st_blocks) * 512);
    const bool needed = (file.flags & transfer::kJobFileNeeded) != 0;
    if (!needed || !fd.valid() || file.size > tree_.spec_.needed_bytes_max) return {};
    auto hashed = hash_file(fd.get(), file.size, cancelled_);
    if (!hashed) return about(path, hashed.error());
    if (hashed->size == file.size) file.digest = transfer::digest_of(hashed->chunks, file.size);
    return {};
  }

  JobTree& tree_;
  const JobTree* before_;
  const std::atomic<bool>& cancelled_;
  std::map<std::string, std::uint32_t> found_;  // flags
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> first_;
};

Result<std::shared_ptr<JobTree>> JobTree::collect(const JobTreeSpec& spec, const JobTree* before,
                                                  const std::atomic<bool>& cancelled) {
  std::shared_ptr<JobTree> tree(new JobTree);
  tree->spec_ = spec;
  if (Status done = Collector(*tree, before, cancelled).run(); !done) return done.error();
  return tree;
}

Result<base::Bytes> JobTree::read(const transfer::JobFilesSender::Read& what) {
  const std::string& path = content_->list.at(what.at.entry).path;
  base::Bytes out(what.size);
  if (path != open_path_) {
    const FileUser user(spec_.uid, spec_.gids);
    open_ = user.good() ? open_plainly(path, O_RDONLY | O_NONBLOCK) : Fd();
    open_path_ = path;
  }
  if (!open_.valid()) return out;  // it went; the final round sees that
  auto got = read_at(open_.get(), what.offset, out);
  if (!got) return about(path, got.error());
  return out;
}

std::vector<LeftFile> left_of(const JobTree& tree) {
  std::vector<LeftFile> left;
  const transfer::JobFileList& list = tree.content()->list;
  for (std::uint32_t i = 0; i < list.size(); ++i) {
    const JobFile& file = list.at(i);
    if ((file.flags & transfer::kJobFileAncestor) != 0) continue;
    LeftFile one{file.path, tree.inode(i).device, tree.inode(i).number,
                 file.kind == JobFileKind::kFolder, file.digest};
    if (file.kind == JobFileKind::kLink) one.digest = transfer::link_digest(file.link);
    const auto first = file.kind == JobFileKind::kHardLink ? list.find(file.link) : std::nullopt;
    if (first) one.digest = list.at(*first).digest;
    one.marks = to_text({one.folder, file.mode, file.mtime_seconds, file.mtime_nanos});
    left.push_back(std::move(one));
  }
  return left;
}

}  // namespace machine
