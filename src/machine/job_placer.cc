#include "machine/job_placer.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "machine/inbox.h"
#include "machine/path.h"

namespace machine {
namespace {

using base::Code;
using base::fail;
using base::Result;
using base::Status;
using transfer::ChunkAt;
using transfer::ChunkHashes;
using transfer::Decision;
using transfer::FoundFile;
using transfer::JobFile;
using transfer::JobFileKind;
using transfer::kJobChunk;
using transfer::LedgerKind;
using transfer::Verdict;

base::Error disk_error(const std::string& path, const std::string& what) {
  if (errno == ENOSPC) return fail(Code::kFull, path + ": the disk is full there");
  if (errno == EDQUOT) return fail(Code::kFull, path + ": its user's quota is used up there");
  return about(path, io_error(what));
}

Status write_at(int fd, std::uint64_t offset, base::ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put =
        retry([&] { return ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (put < 0) return disk_error(path, "write it");
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

constexpr std::uint64_t kLookEvery = std::uint64_t{16} << 20;

}  // namespace

Result<std::unique_ptr<JobPlacer>> JobPlacer::open(const PlacerSpec& spec) {
  // What the user may do here is this machine's to say, before anything is looked at for her.
  if (::geteuid() == 0 && spec.uid != 0 && !spec.groups_known) {
    if (Status member = check_groups(spec.uid, spec.gids); !member) return member.error();
  }
  std::unique_ptr<JobPlacer> self(new JobPlacer(spec));
  if (Status read = self->read_others(); !read) return read.error();
  auto ledger = LedgerFile::open(spec.ledgers, arrival_ledger(spec.job, spec.epoch));
  if (!ledger) return ledger.error();
  self->ledger_ = std::move(*ledger);
  std::vector<std::uint32_t> gids = spec.gids;
  if (gids.empty()) gids.push_back(spec.uid);
  for (const std::uint32_t gid : gids) {
    if (Status put = self->note({LedgerKind::kUser, {}, {}, spec.uid, gid, {}}); !put) {
      return put.error();
    }
  }
  if (Status synced = self->ledger_->sync(); !synced) return synced.error();
  return self;
}

Status JobPlacer::note(const transfer::LedgerRecord& record) { return ledger_->append(record); }

Status JobPlacer::read_others() {
  auto all = read_ledgers(spec_.ledgers);
  if (!all) return all.error();
  const std::string job = spec_.job.hex() + "-";
  for (const Ledger& ledger : *all) {
    const bool own = ledger.name.starts_with(job);
    for (const transfer::LedgerRecord& record : ledger.records) {
      if (record.kind == LedgerKind::kPlaced || record.kind == LedgerKind::kFolder) {
        auto& to = own ? for_this_job_ : for_others_;
        to.insert({record.path, {record.device, record.inode}});
      }
      if (own && record.kind == LedgerKind::kLeft)
        left_[record.path] = {record.digest, record.other};
      const bool kept = record.kind == LedgerKind::kKept;  // by an attempt that broke off
      if (kept && ledger.name == arrival_ledger(spec_.job, spec_.epoch)) {
        laid_.kept.push_back(record.other);
      }
    }
  }
  return {};
}

std::string JobPlacer::fresh_name(std::uint32_t entry) const {
  return ".tern-" + arrival_ledger(spec_.job, spec_.epoch) + "-" + std::to_string(entry);
}

// The same in each round, whatever else is on the list.
std::string JobPlacer::aside_name(const std::string& path) const {
  const auto hash = base::crypto::hash256({base::as_bytes(path)});
  return ".tern-home-" + arrival_ledger(spec_.job, spec_.epoch) + "-" +
         base::to_hex(base::ByteView(hash).first(8));
}

Result<JobPlacer::Plan> JobPlacer::plan(std::shared_ptr<const transfer::JobFileList> list,
                                        bool final, const std::atomic<bool>& cancelled) {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot look at files as the job's user");
  list_ = std::move(list);
  final_ = final;
  verdicts_.clear();
  found_.clear();
  keep_as_.clear();
  coming_.clear();
  marked_.clear();
  Plan plan;
  std::vector<transfer::LedgerRecord> taken;  // folders that are there
  for (std::uint32_t i = 0; i < list_->size(); ++i) {
    if (cancelled) return fail(Code::kTimeout, "it was stopped");
    const JobFile wanted = with_content(list_->at(i));
    auto seen = look(wanted, cancelled);
    if (!seen) return seen.error();
    const Decision decision = transfer::decide(wanted, seen->found, spec_.at_home);
    if (decision.verdict == Verdict::kRefuse) {
      plan.refusal = decision.why;
      return plan;
    }
    // Only the last version is worth its place beside another's.
    const bool later = decision.verdict == Verdict::kBeside && !final_;
    const bool mark = decision.verdict == Verdict::kMark;
    if (mark) marked_[i] = seen->stamp.inode;
    if (decision.verdict == Verdict::kUse || mark || later) {
      const bool folder = seen->found.kind == FoundFile::Kind::kFolder;
      if (folder && (seen->found.empty || seen->found.placed_for_another)) {
        taken.push_back({LedgerKind::kFolder,
                         wanted.path,
                         seen->found.empty ? kNotMade : "",
                         seen->stamp.inode.first,
                         seen->stamp.inode.second,
                         {}});
      }
      continue;
    }
    verdicts_[i] = decision.verdict;
    if (seen->found.kind != FoundFile::Kind::kNothing) found_[i] = seen->stamp;
    const bool folder = wanted.kind == JobFileKind::kFolder;
    if (decision.verdict == Verdict::kReturn &&
        folder != (seen->found.kind == FoundFile::Kind::kFolder)) {
      auto name = keep_name(wanted.path);
      if (!name) return name.error();
      keep_as_[i] = std::move(*name);
    }
    if (wanted.kind != JobFileKind::kFile) continue;
    plan.wanted.push_back(i);
    const auto known = known_.find(wanted.path);
    if (!seen->fd.valid() || known == known_.end()) continue;
    ChunkHashes have = known->second.chunks;
    have.resize(std::min<std::size_t>(have.size(), transfer::chunks_of(wanted.size)));
    // A last chunk that is cut off or longer than there has another hash, and is sent.
    if (!have.empty()) plan.have[i] = std::move(have);
  }
  sync_each_ = plan.wanted.size() < kSyncEachMax;
  plan.refusal = space_refusal();
  plan.full = !plan.refusal.empty();
  if (plan.full) return plan;
  for (const transfer::LedgerRecord& record : taken) {
    if (Status noted = note(record); !noted) return noted.error();
    if (!record.other.empty()) placed_[record.path] = {record.device, record.inode};
  }
  if (Status made = make_folders(); !made) {
    plan.refusal = made.error().detail;
    plan.full = made.error().code == Code::kFull;
  }
  return plan;
}

// What has other names may be another file of the job's by now, what has another inode is somebody
// else's.
bool JobPlacer::mends(const std::string& path, const struct stat& info) const {
  const auto here = placed_.find(path);
  return here != placed_.end() && here->second == Inode{info.st_dev, info.st_ino} &&
         info.st_nlink == 1 && S_ISREG(info.st_mode) && known_.contains(path);
}

// Bytes that the disk has again when this entry has taken the place of what is there.
std::uint64_t JobPlacer::gives_back(std::uint32_t entry, const struct stat& info) const {
  const Verdict verdict = verdicts_.at(entry);
  const bool goes = (verdict == Verdict::kReplace || verdict == Verdict::kReturn) &&
                    !keep_as_.contains(entry) && S_ISREG(info.st_mode) && info.st_nlink == 1;
  return goes ? static_cast<std::uint64_t>(info.st_blocks) * 512 : 0;
}

std::string JobPlacer::make_room() const {
  return spec_.ended ? "make room there" : "make room there, or move it to another node";
}

// Free space is checked of each file system, by the nearest folder that is there.
std::string JobPlacer::space_refusal() const {
  struct Need {
    std::uint64_t all = 0;
    std::uint64_t grows = 0;
    std::string at;
  };
  std::map<std::uint64_t, Need> needs;  // by device
  for (const auto& [entry, verdict] : verdicts_) {
    const JobFile& file = list_->at(entry);
    if (file.stored == 0) continue;
    std::string at = parent_of(file.path);
    Fd folder = open_plainly(at, O_RDONLY | O_DIRECTORY);
    struct stat info {};
    std::uint64_t back = 0;
    bool in_place = false;
    if (folder.valid() &&
        ::fstatat(folder.get(), name_of(file.path).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      back = std::min(gives_back(entry, info), file.stored);
      in_place = verdict == Verdict::kReplace && mends(file.path, info);
    }
    while (!folder.valid() && at != "/") {
      at = parent_of(at);
      folder = open_plainly(at, O_PATH | O_DIRECTORY);
    }
    if (!folder.valid() || ::fstat(folder.get(), &info) != 0) continue;
    Need& need = needs[info.st_dev];
    need.grows += file.stored - back;
    need.all += file.stored - (in_place ? back : 0);
    need.at = at;
  }
  for (const auto& [device, need] : needs) {
    struct statvfs info {};
    if (::statvfs(need.at.c_str(), &info) != 0) continue;
    const bool grows = need.grows > room_of(info);
    if (!grows && need.all <= room_of(info, true)) continue;
    return "no space for the job's files in " + need.at + ": they need " +
           std::to_string(((grows ? need.grows : need.all) >> 20) + 1) + " MiB, " +
           std::to_string(room_of(info, !grows) >> 20) + " MiB are free there; " + make_room();
  }
  return {};
}

Status JobPlacer::make_folders() {
  for (const auto& [entry, verdict] : verdicts_) {
    const JobFile& file = list_->at(entry);
    if (file.kind != JobFileKind::kFolder) continue;
    const Fd parent = open_plainly(parent_of(file.path), O_PATH | O_DIRECTORY);
    const std::string name = name_of(file.path);
    struct stat info {};
    if (parent.valid() && keep_as_.contains(entry)) {
      if (Status kept = keep_home(entry, parent.get()); !kept) return kept;
    }
    if (!parent.valid() || ::mkdirat(parent.get(), name.c_str(), 0700) != 0 ||
        ::fstatat(parent.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      const bool full = errno == ENOSPC || errno == EDQUOT;
      return fail(
          full ? Code::kFull : Code::kRefused,
          "the folder " + file.path +
              " is missing there, and the job's user cannot make it: " + std::strerror(errno));
    }
    folders_[file.path] = {info.st_dev, info.st_ino};
    touched_.insert(parent_of(file.path));
    Status noted = note({LedgerKind::kFolder, file.path, {}, info.st_dev, info.st_ino, {}});
    if (!noted) return noted;
  }
  return {};
}

// ---- one file

Status JobPlacer::open_fresh(std::uint32_t entry, Fd& parent) {
  const JobFile& file = list_->at(entry);
  const std::string folder = parent_of(file.path);
  parent = open_plainly(folder, O_PATH | O_DIRECTORY);
  if (!parent.valid()) return about(file.path, io_error("find its folder"));
  if (fresh_folders_.insert(folder).second) {
    Status noted = note({LedgerKind::kFresh, folder, {}, 0, 0, {}});
    if (noted) noted = ledger_->sync();
    if (!noted) return noted;
  }
  return {};
}

Status JobPlacer::open_file(std::uint32_t entry) {
  const JobFile& file = list_->at(entry);
  const Verdict verdict = verdicts_.at(entry);
  at_ = entry;
  base_.reset();
  base_chunks_.clear();
  Coming coming;
  coming.verdict = verdict;
  const auto known = known_.find(file.path);
  if (verdict != Verdict::kMake && known != known_.end()) base_chunks_ = known->second.chunks;
  struct stat info {};
  if (verdict == Verdict::kReplace && placed_.contains(file.path)) {
    file_ = open_plainly(file.path, O_RDWR);  // mended in place
    const bool good = file_.valid() && ::fstat(file_.get(), &info) == 0 && mends(file.path, info);
    if (!good) file_.reset();
  }
  covered_ = 0;
  if (file_.valid()) {
    const auto cut = std::min(known->second.size, file.size);
    if (::ftruncate(file_.get(), static_cast<off_t>(cut)) != 0)
      return disk_error(file.path, "cut it");
  } else {
    Fd parent;
    if (Status opened = open_fresh(entry, parent); !opened) return opened;
    coming.fresh = fresh_name(entry);
    (void)::unlinkat(parent.get(), coming.fresh.c_str(), 0);
    file_ = Fd(::openat(parent.get(), coming.fresh.c_str(),
                        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_.valid()) return disk_error(file.path, "make it as the job's user");
    if (::fstatat(parent.get(), name_of(file.path).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      covered_ = gives_back(entry, info);
    }
    if (!base_chunks_.empty()) base_ = open_plainly(file.path, O_RDONLY | O_NONBLOCK);
  }
  if (::ftruncate(file_.get(), static_cast<off_t>(file.size)) != 0) {
    return disk_error(file.path, "make it");
  }
  if (::fstat(file_.get(), &info) != 0) return about(file.path, io_error("look at it"));
  device_ = info.st_dev;
  coming.device = info.st_dev;
  coming.inode = info.st_ino;
  coming_[entry] = std::move(coming);
  chunks_.assign(transfer::chunks_of(file.size), {});
  came_.assign(chunks_.size(), false);
  return {};
}

// Others fill the disk too, and what the files need is their sender's word.
Status JobPlacer::take_room(std::uint64_t bytes) {
  const bool covered = bytes <= covered_;
  if (covered) covered_ -= bytes;
  std::uint64_t& left = room_[{device_, covered}];
  if (bytes > left) {
    struct statvfs info {};
    if (::fstatvfs(file_.get(), &info) != 0) return io_error("look at the disk");
    const std::uint64_t room = room_of(info, covered);
    if (room < bytes) {
      return fail(Code::kFull, list_->at(*at_).path +
                                   ": no space there for more of the job's files, as what is still "
                                   "free is kept for that machine's own use; " +
                                   make_room());
    }
    left = std::max(bytes, std::min(room, kLookEvery));
  }
  left -= bytes;
  return {};
}

// What is mended in place has its place, but where it was a hole.
bool JobPlacer::has_place(std::uint32_t chunk, std::uint64_t bytes) const {
  if (!coming_.at(*at_).fresh.empty() || chunk >= base_chunks_.size()) return false;
  const std::uint64_t before = known_.at(list_->at(*at_).path).size;
  return base_chunks_[chunk] != transfer::zero_chunk_hash() && chunk * kJobChunk + bytes <= before;
}

Status JobPlacer::chunk(const ChunkAt& at, base::ByteView bytes) {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot write as the job's user");
  if (at_ != at.entry) {
    if (Status opened = open_file(at.entry); !opened) return opened;
  }
  if (!has_place(at.chunk, bytes.size())) {
    if (Status room = take_room(bytes.size()); !room) return room;
  }
  const std::string& path = list_->at(at.entry).path;
  chunks_[at.chunk] = transfer::chunk_hash(bytes);
  came_[at.chunk] = true;
  return write_at(file_.get(), at.chunk * kJobChunk, bytes, path);
}

Status JobPlacer::holes(const ChunkAt& first, std::uint32_t count) {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot write as the job's user");
  if (at_ != first.entry) {
    if (Status opened = open_file(first.entry); !opened) return opened;
  }
  const std::string& path = list_->at(first.entry).path;
  for (std::uint32_t i = first.chunk; i < first.chunk + count; ++i) {
    chunks_[i] = transfer::zero_chunk_hash();
    came_[i] = true;
  }
  const auto offset = static_cast<off_t>(std::uint64_t{first.chunk} * kJobChunk);
  const auto size = static_cast<off_t>(std::uint64_t{count} * kJobChunk);
  const bool fresh = !coming_.at(first.entry).fresh.empty();
  if (fresh ||
      ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size) == 0) {
    return {};
  }
  const base::Bytes zeros(kJobChunk);
  for (std::uint32_t i = first.chunk; i < first.chunk + count; ++i) {
    if (!has_place(i, zeros.size())) {
      if (Status room = take_room(zeros.size()); !room) return room;
    }
    Status put = write_at(file_.get(), std::uint64_t{i} * kJobChunk, zeros, path);
    if (!put) return put;
  }
  return {};
}

// What did not come is the same in what was here.
Status JobPlacer::fill(std::uint32_t entry) {
  const JobFile& file = list_->at(entry);
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    if (came_[i]) continue;
    if (i >= base_chunks_.size()) return fail(Code::kInvalid, file.path + " came with a gap");
    chunks_[i] = base_chunks_[i];
    const bool mended = coming_.at(entry).fresh.empty();
    if (mended || chunks_[i] == transfer::zero_chunk_hash()) continue;
    if (!base_.valid()) return fail(Code::kStale, file.path + " was changed there meanwhile");
    auto bytes = read_chunk(base_.get(), i, file.size);
    if (!bytes) return about(file.path, bytes.error());
    if (transfer::chunk_hash(*bytes) != chunks_[i]) {
      return fail(Code::kStale, file.path + " was changed there meanwhile");
    }
    if (Status room = take_room(bytes->size()); !room) return room;
    if (Status put = write_at(file_.get(), i * kJobChunk, *bytes, file.path); !put) return put;
  }
  return {};
}

Status JobPlacer::look_after(const JobFile& file, int fd) const {
  if (spec_.uid == 0) {
    if (::fchown(fd, file.uid, file.gid) != 0) return about(file.path, write_error("give it away"));
  } else if (std::find(spec_.gids.begin(), spec_.gids.end(), file.gid) != spec_.gids.end()) {
    (void)::fchown(fd, UINT32_MAX, file.gid);
  }
  if (::fchmod(fd, file.mode) != 0) return about(file.path, io_error("set its mode"));
  timespec at{};
  at.tv_sec = file.mtime_seconds;
  at.tv_nsec = static_cast<long>(file.mtime_nanos);
  const timespec times[2] = {{0, UTIME_OMIT}, at};
  if (::futimens(fd, times) != 0) return about(file.path, io_error("set its time"));
  return {};
}

Status JobPlacer::end(std::uint32_t entry) {
  const FileUser user(spec_.uid, spec_.gids);
  if (!user.good()) return fail(Code::kRefused, "cannot write as the job's user");
  const JobFile& file = list_->at(entry);
  if (at_ != entry) {  // nothing of it was sent
    if (Status opened = open_file(entry); !opened) return opened;
  }
  if (Status filled = fill(entry); !filled) return filled;
  if (final_ && transfer::digest_of(chunks_, file.size) != file.digest) {
    return fail(Code::kStale, file.path + " did not arrive as it was sent");
  }
  if (Status looked = look_after(file, file_.get()); !looked) return looked;
  if (sync_each_ && ::fsync(file_.get()) != 0) return disk_error(file.path, "write it");
  if (!sync_each_ && !unsynced_.contains(device_)) {
    Fd same(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
    if (!same.valid()) return about(file.path, io_error("keep it open"));
    unsynced_.emplace(device_, Unsynced{file.path, std::move(same)});
  }
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) return about(file.path, io_error("look at it"));
  Known known;
  known.device = info.st_dev;
  known.inode = info.st_ino;
  known.size = file.size;
  known.changed_seconds = info.st_ctim.tv_sec;
  known.changed_nanos = info.st_ctim.tv_nsec;
  known.chunks = std::move(chunks_);
  known_[file.path] = std::move(known);
  at_.reset();
  file_.reset();
  base_.reset();
  return {};
}

}  // namespace machine
