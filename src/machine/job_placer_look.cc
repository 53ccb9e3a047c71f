// What is at the paths of a job's files already.
#include <sys/stat.h>

#include <climits>

#include "machine/file_marks.h"
#include "machine/inbox.h"
#include "machine/job_placer.h"
#include "machine/path.h"

namespace machine {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::FoundFile;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::kJobChunk;

Result<base::Bytes> JobPlacer::read_chunk(int fd, std::uint64_t chunk, std::uint64_t size) {
  const std::uint64_t offset = chunk * kJobChunk;
  base::Bytes out(static_cast<std::size_t>(std::min(kJobChunk, size - offset)));
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = retry([&] {
      return ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    });
    if (got < 0) return io_error("read it");
    if (got == 0) return fail(Code::kStale, "it became shorter meanwhile");
    done += static_cast<std::size_t>(got);
  }
  return out;
}

JobPlacer::Stamp JobPlacer::stamp_of(const struct stat& info) {
  return {{info.st_dev, info.st_ino}, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

// Of a hard link that of its file, which comes before it in the list.
JobFile JobPlacer::with_content(const JobFile& file) const {
  JobFile out = file;
  if (file.kind != JobFileKind::kHardLink) return out;
  if (const auto first = list_->find(file.link)) {
    out.size = list_->at(*first).size;
    out.digest = list_->at(*first).digest;
  }
  return out;
}

// It is a link to its file already, and that one stays the file that it is.
bool JobPlacer::linked(const JobFile& wanted, const Inode& inode) const {
  const auto first = placed_.find(wanted.link);
  const auto entry = list_->find(wanted.link);
  return first != placed_.end() && first->second == inode && entry && !verdicts_.contains(*entry);
}

Result<JobPlacer::Look> JobPlacer::look(const JobFile& wanted, const std::atomic<bool>& cancelled) {
  Look out;
  FoundFile& found = out.found;
  const Fd parent = open_plainly(parent_of(wanted.path), O_PATH | O_DIRECTORY);
  if (!parent.valid()) {
    if (errno != ENOENT && !comes_below(wanted.path)) found.kind = FoundFile::Kind::kUnreachable;
    return out;  // a folder on the way is to be made first
  }
  struct stat info {};
  const std::string name = name_of(wanted.path);
  if (::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) found.kind = FoundFile::Kind::kUnreachable;
    return out;
  }
  out.stamp = stamp_of(info);
  const Inode inode{info.st_dev, info.st_ino};
  const auto here = placed_.find(wanted.path);
  found.placed_for_another = for_others_.contains({wanted.path, inode});
  found.placed = !found.placed_for_another && ((here != placed_.end() && here->second == inode) ||
                                               for_this_job_.contains({wanted.path, inode}));
  found.mode = info.st_mode & 07777;
  found.size = static_cast<std::uint64_t>(info.st_size);
  found.mtime_seconds = info.st_mtim.tv_sec;
  found.mtime_nanos = static_cast<std::uint32_t>(info.st_mtim.tv_nsec);
  const auto left = left_.find(wanted.path);
  found.marks_as_they_left =
      spec_.at_home && left != left_.end() && left->second.marks == to_text(marks_of(info));
  const bool same_time = info.st_ctim.tv_sec == wanted.ctime_seconds &&
                         static_cast<std::uint32_t>(info.st_ctim.tv_nsec) == wanted.ctime_nanos;
  // While the job runs it may write there between the two looks.
  const Birth born{wanted.born_seconds, wanted.born_nanos};
  const bool same_birth = born != Birth{} && born == birth_of(parent.get(), name);
  found.same_inode = info.st_ino == wanted.inode && (same_time || (same_birth && !final_));
  found.kind = FoundFile::Kind::kOther;
  if (S_ISDIR(info.st_mode)) {
    found.kind = FoundFile::Kind::kFolder;
    found.as_it_left = left_as(wanted.path, transfer::folder_digest());
    const auto made = folders_.find(wanted.path);
    const bool by_tern = made != folders_.end() && made->second == inode;
    found.taken = found.placed && !by_tern && here != placed_.end() && here->second == inode;
    found.placed = found.placed || by_tern;
    if ((wanted.flags & transfer::kJobFileWritten) != 0 && !found.placed && !found.same_inode) {
      const Fd folder = open_plainly(wanted.path, O_RDONLY | O_DIRECTORY);
      auto names = folder.valid() ? names_in(folder.get())
                                  : Result<std::vector<std::string>>(io_error("read it"));
      found.empty = names && names->empty();
    }
  }
  if (S_ISLNK(info.st_mode)) {
    found.kind = FoundFile::Kind::kLink;
    found.link.resize(PATH_MAX);
    const ssize_t size =
        ::readlinkat(parent.get(), name.c_str(), found.link.data(), found.link.size());
    found.link.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    found.as_it_left = left_as(wanted.path, transfer::link_digest(found.link));
  }
  if (!S_ISREG(info.st_mode)) return out;
  found.kind = FoundFile::Kind::kFile;
  if (wanted.kind == JobFileKind::kHardLink && linked(wanted, inode)) found.same_inode = true;
  const bool no_file =
      wanted.kind == JobFileKind::kFolder || (wanted.kind == JobFileKind::kLink && !spec_.at_home);
  if (no_file || found.same_inode) return out;
  if (Status read = look_at_file(wanted, out, cancelled); !read) return read.error();
  return out;
}

// In a trial the list has no digests, but at home perhaps of what the job has open. Otherwise files
// of the same size are taken for the same where that refuses nothing wrongly, and only what would
// be refused at home is read, if that is soon done.
bool JobPlacer::trial_needs_content(const JobFile& wanted, Look& look) const {
  const bool needed = (wanted.flags & transfer::kJobFileNeeded) != 0;
  const bool same_size = look.found.size == wanted.size;
  const bool has_digest = wanted.digest != base::crypto::Hash256{};
  if (spec_.at_home && needed && has_digest && look.found.size <= kTrialReadMax) return true;
  const bool same_times =
      look.stamp.seconds == wanted.mtime_seconds && look.stamp.nanos == wanted.mtime_nanos;
  if (same_size && (!spec_.at_home || needed || same_times)) look.found.digest = wanted.digest;
  if (look.found.digest || !spec_.at_home || !needed) return false;
  look.found.as_it_left = look.found.size > kTrialReadMax;
  return !look.found.as_it_left;
}

// Its content, where that matters: to tell whether it is the same, or to mend it.
Status JobPlacer::look_at_file(const JobFile& wanted, Look& look,
                               const std::atomic<bool>& cancelled) {
  const bool ours = look.found.placed || spec_.at_home;
  if (trial_ && !trial_needs_content(wanted, look)) return {};
  if (!ours && look.found.size != wanted.size) return {};
  look.fd = open_plainly(wanted.path, O_RDONLY | O_NONBLOCK);
  struct stat info {};
  if (!look.fd.valid() || ::fstat(look.fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    look.found.kind = FoundFile::Kind::kUnreachable;
    return {};
  }
  const auto before = known_.find(wanted.path);
  const bool unchanged = before != known_.end() && before->second.device == info.st_dev &&
                         before->second.inode == info.st_ino &&
                         before->second.changed_seconds == info.st_ctim.tv_sec &&
                         before->second.changed_nanos == info.st_ctim.tv_nsec;
  if (!unchanged) {
    Known known;
    known.device = info.st_dev;
    known.inode = info.st_ino;
    known.size = static_cast<std::uint64_t>(info.st_size);
    known.changed_seconds = info.st_ctim.tv_sec;
    known.changed_nanos = info.st_ctim.tv_nsec;
    for (std::uint64_t i = 0; i < transfer::chunks_of(known.size); ++i) {
      if (cancelled) return fail(Code::kTimeout, "it was stopped");
      auto chunk = read_chunk(look.fd.get(), i, known.size);
      if (!chunk) return about(wanted.path, chunk.error());
      known.chunks.push_back(transfer::chunk_hash(*chunk));
    }
    known_[wanted.path] = std::move(known);
  }
  const Known& known = known_.at(wanted.path);
  look.found.size = known.size;
  look.found.digest = transfer::digest_of(known.chunks, known.size);
  look.found.as_it_left = left_as(wanted.path, *look.found.digest);
  return {};
}

// A folder on the way is to come in the place of something else.
bool JobPlacer::comes_below(const std::string& path) const {
  for (std::string up = parent_of(path); up != "/"; up = parent_of(up)) {
    const auto entry = list_->find(up);
    const auto verdict = entry ? verdicts_.find(*entry) : verdicts_.end();
    if (verdict != verdicts_.end() && verdict->second == transfer::Verdict::kReturn) return true;
  }
  return false;
}

bool JobPlacer::left_as(const std::string& path, const base::crypto::Hash256& digest) const {
  const auto left = left_.find(path);
  return left != left_.end() && left->second.digest == digest;
}

}  // namespace machine
