#include "transfer/job_files.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/wire.h"
#include "transfer/limits.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::Reader;
using base::Result;
using base::Status;
using base::Writer;
using base::crypto::Hash256;

constexpr std::uint64_t kVersion = 1;
constexpr std::size_t kFields = 17;
constexpr std::size_t kListMax = 1024;
constexpr std::size_t kListBytesMax = std::size_t{48} << 10;
constexpr std::size_t kNumbersMax = 8192;  // of a `want`
constexpr std::size_t kHashesMax = 1024;   // of a `have`
static_assert(kListMax * (kFields + 1) < base::kWireObjectsMax);
static_assert(kListBytesMax + kJobPathMax + kJobLinkMax + 256 < kRecordDataMax);
static_assert(kHashesMax * 32 + 16 < kRecordDataMax);
static_assert(kNumbersMax * 4 + 16 < kRecordDataMax);
static_assert(kJobPieceMax + 16 < kRecordDataMax);
static_assert(kJobChunk * kJobChunksMax < INT64_MAX);

Bytes message(JobFilesType type, ByteView body) {
  Bytes out{static_cast<std::uint8_t>(type)};
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

std::string text_of(ByteView bytes) { return std::string(base::as_text(bytes)); }

void put(Writer& w, const JobFile& file) {
  w.array(kFields).u64(static_cast<std::uint64_t>(file.kind)).bin(base::as_bytes(file.path));
  w.u64(file.mode).u64(file.uid).u64(file.gid).i64(file.mtime_seconds).u64(file.mtime_nanos);
  w.u64(file.size).u64(file.stored).bin(file.digest).bin(base::as_bytes(file.link)).u64(file.flags);
  w.u64(file.inode).i64(file.ctime_seconds).u64(file.ctime_nanos);
  w.i64(file.born_seconds).u64(file.born_nanos);
}

JobFile get(Reader& r) {
  JobFile file;
  r.array_of(kFields);
  file.kind = r.enumeration(JobFileKind::kHardLink);
  file.path = text_of(r.bin(kJobPathMax));
  file.mode = static_cast<std::uint32_t>(r.u64(0777));
  file.uid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  file.gid = static_cast<std::uint32_t>(r.u64(UINT32_MAX));
  file.mtime_seconds = r.i64();
  file.mtime_nanos = static_cast<std::uint32_t>(r.u64(999999999));
  file.size = r.u64(kJobChunk * kJobChunksMax);
  file.stored = r.u64(kJobChunk * kJobChunksMax);
  file.digest = r.fixed<32>();
  file.link = text_of(r.bin(kJobLinkMax));
  file.flags = static_cast<std::uint32_t>(r.u64(kJobFileFlags));
  file.inode = r.u64();
  file.ctime_seconds = r.i64();
  file.ctime_nanos = static_cast<std::uint32_t>(r.u64(999999999));
  file.born_seconds = r.i64();
  file.born_nanos = static_cast<std::uint32_t>(r.u64(999999999));
  return file;
}

Status check_kind(const JobFile& file) {
  const bool is_file = file.kind == JobFileKind::kFile;
  const bool links = file.kind == JobFileKind::kLink || file.kind == JobFileKind::kHardLink;
  if (file.stored > file.size || (!is_file && file.size != 0)) {
    return fail(Code::kInvalid, "more bytes than a file has");
  }
  if (!is_file && (file.digest != Hash256{})) {
    return fail(Code::kInvalid, "content where there is no file");
  }
  if (links == file.link.empty()) return fail(Code::kInvalid, "a link without its target");
  if (file.link.find('\0') != std::string::npos) return fail(Code::kInvalid, "an odd target");
  return {};
}

std::array<std::uint8_t, 8> two_numbers(std::uint32_t a, std::uint32_t b) {
  std::array<std::uint8_t, 8> out{};
  base::put_le32(out, a);
  base::put_le32(base::MutableByteView(out).subspan(4), b);
  return out;
}

base::Error odd_size() { return fail(Code::kInvalid, "a message about files of an odd size"); }

Decision refuse(const std::string& why) { return {Verdict::kRefuse, why}; }

// At home, where the kind may be another one now: a link where a file is wanted, or the other way.
Decision decide_changed(const JobFile& wanted, const FoundFile& found) {
  if (found.as_it_left) return {Verdict::kReturn, {}};
  if ((wanted.flags & kJobFileNeeded) == 0) return {Verdict::kBeside, {}};
  return refuse(wanted.path +
                " was changed at home since the job left, and the job has it open; move it away "
                "there, or let the job end where it is");
}

// Home's own, to a folder of the job's: what is in that cannot lie beside, so that it is home's
// that does, a file changed or not. A link may be how its owner moved the folder elsewhere
// meanwhile, and what is only on the way to the job's files was never the job's to change.
bool gives_way(const JobFile& wanted, const FoundFile& found) {
  if (found.placed || (wanted.flags & kJobFileAncestor) != 0) return false;
  if (found.kind == FoundFile::Kind::kLink) return found.as_it_left;
  return found.kind == FoundFile::Kind::kFile;
}

// Of a file whose content is the same, or of a folder.
bool marks_differ(const JobFile& wanted, const FoundFile& found) {
  if (wanted.mode != (found.mode & 0777)) return true;
  return wanted.kind != JobFileKind::kFolder &&
         !same_time({wanted.mtime_seconds, wanted.mtime_nanos},
                    {found.mtime_seconds, found.mtime_nanos});
}

// Where a folder stands. A guest's own, empty one is taken as it is, so that it has to be what the
// job needs: later its mode would go home as the job's.
Decision decide_folder(const JobFile& wanted, const FoundFile& found, bool at_home) {
  const bool whole = (wanted.flags & kJobFileWritten) != 0;  // below --dir
  if (!whole || found.same_inode) return {Verdict::kUse, {}};
  const bool marked = marks_differ(wanted, found);
  if (at_home) {
    return {marked && found.marks_as_they_left ? Verdict::kMark : Verdict::kUse, {}};
  }
  if ((found.taken || (found.empty && !found.placed)) && marked) {
    return refuse(wanted.path + " differs there (permissions)");
  }
  if (found.placed || found.empty) return {Verdict::kUse, {}};
  // What else is in it would be taken for the job's.
  return refuse(wanted.path +
                " is there already and not empty, and would be the job's; move it away there");
}

Decision decide_file(const JobFile& wanted, const FoundFile& found, bool at_home) {
  const bool same = found.size == wanted.size && found.digest == wanted.digest;
  const bool written = (wanted.flags & kJobFileWritten) != 0;
  if (found.same_inode) return {Verdict::kUse, {}};
  if (found.placed_for_another) {
    if (same && !written) return {Verdict::kUse, {}};
    return refuse(wanted.path + " is there for another job, with other content");
  }
  const bool marked = marks_differ(wanted, found);
  if (found.placed && !same) return {Verdict::kReplace, {}};
  if (found.placed) return {marked ? Verdict::kMark : Verdict::kUse, {}};
  if (at_home && same) {
    const bool by_the_job = marked && found.marks_as_they_left;
    return {by_the_job ? Verdict::kMark : Verdict::kUse, {}};
  }
  if (at_home) return decide_changed(wanted, found);
  if (!same) {
    return refuse(wanted.path +
                  " is another file there, and tern did not put it there; move it away there");
  }
  if (written) {
    return refuse(wanted.path +
                  " is there already, and the job would write to it; move it away there");
  }
  if ((found.mode & 07777) != wanted.mode) {
    return refuse(wanted.path + " differs there (permissions)");
  }
  return {Verdict::kUse, {}};
}

}  // namespace

Hash256 chunk_hash(ByteView chunk) { return base::crypto::hash256({chunk}); }

const Hash256& zero_chunk_hash() {
  static const Hash256 kHash = chunk_hash(Bytes(kJobChunk));
  return kHash;
}

Hash256 digest_of(const ChunkHashes& chunks, std::uint64_t size) {
  base::crypto::Hasher hasher;
  std::array<std::uint8_t, 8> length{};
  base::put_le64(length, size);
  hasher.add(base::as_bytes("tern job file 1"));
  hasher.add(length);
  for (const Hash256& chunk : chunks) hasher.add(chunk);
  return hasher.finish();
}

Hash256 link_digest(std::string_view target) {
  return base::crypto::hash256({base::as_bytes("tern job link 1"), base::as_bytes(target)});
}

const Hash256& folder_digest() {
  static const Hash256 kHash = base::crypto::hash256({base::as_bytes("tern job folder 1")});
  return kHash;
}

std::uint64_t chunks_of(std::uint64_t size) { return (size + kJobChunk - 1) / kJobChunk; }

bool in_system_folder(std::string_view path) {
  constexpr std::array<std::string_view, 15> kSystem = {
      "/bin", "/boot", "/etc",  "/lib",  "/lib32", "/lib64", "/libx32", "/lost+found",
      "/nix", "/opt",  "/proc", "/sbin", "/snap",  "/sys",   "/usr"};
  for (const std::string_view folder : kSystem) {
    if (path == folder || (path.starts_with(folder) && path[folder.size()] == '/')) return true;
  }
  // Of these a part is people's own.
  const auto below = [&](std::string_view folder) { return path.starts_with(folder); };
  if (path == "/run" || below("/run/")) return !below("/run/user/");
  if (path == "/dev" || below("/dev/")) return !below("/dev/shm/");
  if (path == "/var" || below("/var/")) return !below("/var/tmp/");
  return false;
}

bool valid_job_path(std::string_view path) {
  if (path.size() < 2 || path.size() > kJobPathMax || path[0] != '/') return false;
  if (std::any_of(path.begin(), path.end(), [](char c) { return c == '\0'; })) return false;
  for (std::string_view rest = path.substr(1);;) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == std::string_view::npos) return true;
    rest.remove_prefix(slash + 1);
  }
}

Status JobFileList::add(JobFile file) {
  if (files_.size() >= kJobFilesMax) {
    return fail(Code::kTooLarge, "more than " + std::to_string(kJobFilesMax) + " files");
  }
  if (!valid_job_path(file.path) || in_system_folder(file.path)) {
    return fail(Code::kInvalid, "a path that no job's file has");
  }
  if (!files_.empty() && file.path <= files_.back().path) {
    return fail(Code::kInvalid, "files out of order");
  }
  if (Status kind = check_kind(file); !kind) return kind;
  if (file.kind == JobFileKind::kHardLink) {
    const auto first = find(file.link);
    if (!first || at(*first).kind != JobFileKind::kFile) {
      return fail(Code::kInvalid, "a hard link to nothing");
    }
  }
  const std::uint64_t chunks = chunks_of(file.size);
  if (chunks > kJobChunksMax - chunks_) return fail(Code::kTooLarge, "more than 256 GiB of files");
  const std::size_t names = file.path.size() + file.link.size();
  if (names > kJobNamesMax - names_) return fail(Code::kTooLarge, "more than 16 MiB of names");
  chunks_ += chunks;
  names_ += names;
  files_.push_back(std::move(file));
  return {};
}

std::optional<std::uint32_t> JobFileList::find(std::string_view path) const {
  const auto it =
      std::lower_bound(files_.begin(), files_.end(), path,
                       [](const JobFile& file, std::string_view p) { return file.path < p; });
  if (it == files_.end() || it->path != path) return std::nullopt;
  return static_cast<std::uint32_t>(it - files_.begin());
}

bool same_time(const FileTime& a, const FileTime& b) {
  if (a.seconds != b.seconds) return false;
  return a.nanos == b.nanos || a.nanos % 100 == 0 || b.nanos % 100 == 0;
}

Decision decide(const JobFile& wanted, const FoundFile& found, bool at_home) {
  using Kind = FoundFile::Kind;
  if (found.kind == Kind::kUnreachable) {
    return refuse(wanted.path + " cannot be reached there by the job's user, or leads through a " +
                  "symbolic link");
  }
  if (found.kind == Kind::kNothing) return {Verdict::kMake, {}};
  switch (wanted.kind) {
    case JobFileKind::kFolder:
      if (at_home && gives_way(wanted, found)) return {Verdict::kReturn, {}};
      if (found.kind == Kind::kLink) {
        return refuse(wanted.path + " is no folder there, but a symbolic link");
      }
      if (found.kind != Kind::kFolder) return refuse(wanted.path + " is no folder there");
      return decide_folder(wanted, found, at_home);
    case JobFileKind::kLink:
      if (found.kind == Kind::kLink && found.link == wanted.link) return {Verdict::kUse, {}};
      if (found.placed && found.kind != Kind::kFolder) return {Verdict::kReplace, {}};
      if (at_home && (found.kind == Kind::kLink || found.kind == Kind::kFile)) {
        return decide_changed(wanted, found);
      }
      if (at_home && found.kind == Kind::kFolder && !found.placed) {
        return decide_changed(wanted, found);
      }
      return refuse(wanted.path + " is there already, and leads elsewhere");
    case JobFileKind::kFile:
    case JobFileKind::kHardLink:
      if (found.kind == Kind::kFile) return decide_file(wanted, found, at_home);
      if (found.kind == Kind::kLink && found.placed) return {Verdict::kReplace, {}};
      if (found.kind == Kind::kLink && at_home) return decide_changed(wanted, found);
      if (found.kind == Kind::kFolder && at_home && !found.placed) {
        return decide_changed(wanted, found);
      }
      if (found.kind == Kind::kLink) return refuse(wanted.path + " is a symbolic link there");
      return refuse(wanted.path + " is no regular file there");
  }
  return refuse(wanted.path + " is of an unknown kind");
}

// ---- messages

Bytes job_files_message(JobFilesType type) { return message(type, {}); }

Bytes encode_job_begin(const JobFilesBegin& begin) {
  Writer w;
  w.array(3).u64(kVersion).boolean(begin.final).bin(begin.who);
  return message(JobFilesType::kBegin, w.bytes());
}

Result<JobFilesBegin> decode_job_begin(ByteView body) {
  Reader r(body);
  JobFilesBegin begin;
  r.array_of(3);
  if (r.u64() != kVersion) r.reject("an unknown version of a job's files");
  begin.final = r.boolean();
  begin.who = base::to_bytes(r.bin(kJobWhoMax));
  if (Status status = r.finish(); !status) return status.error();
  return begin;
}

Bytes encode_job_entries(const JobFileList& list, std::uint32_t& at) {
  Writer items;
  std::size_t count = 0;
  for (; at < list.size() && count < kListMax && items.bytes().size() < kListBytesMax; ++count) {
    put(items, list.at(at++));
  }
  Writer whole;
  whole.array(count);
  Bytes body = whole.take();
  body.insert(body.end(), items.bytes().begin(), items.bytes().end());
  return message(JobFilesType::kEntries, body);
}

Result<std::vector<JobFile>> decode_job_entries(ByteView body) {
  Reader r(body);
  std::vector<JobFile> out;
  const std::size_t count = r.array(kListMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) out.push_back(get(r));
  if (Status status = r.finish(); !status) return status.error();
  return out;
}

Bytes encode_job_chunk_header(const ChunkAt& at) {
  return message(JobFilesType::kChunk, two_numbers(at.entry, at.chunk));
}

Bytes encode_job_holes(const ChunkAt& first, std::uint32_t count) {
  Bytes out = message(JobFilesType::kHoles, two_numbers(first.entry, first.chunk));
  out.resize(out.size() + 4);
  base::put_le32(base::MutableByteView(out).subspan(9), count);
  return out;
}

Bytes encode_job_end(std::uint32_t entry) {
  std::array<std::uint8_t, 4> body{};
  base::put_le32(body, entry);
  return message(JobFilesType::kEnd, body);
}

Bytes encode_job_want(const std::vector<std::uint32_t>& entries, std::size_t& at) {
  const std::size_t count = std::min(entries.size() - at, kNumbersMax);
  Bytes out = message(JobFilesType::kWant, {});
  out.resize(1 + count * 4);
  for (std::size_t i = 0; i < count; ++i) {
    base::put_le32(base::MutableByteView(out).subspan(1 + i * 4), entries[at++]);
  }
  return out;
}

Result<std::vector<std::uint32_t>> decode_job_want(ByteView body) {
  if (body.empty() || body.size() % 4 != 0 || body.size() / 4 > kNumbersMax) return odd_size();
  std::vector<std::uint32_t> out;
  for (; !body.empty(); body = body.subspan(4)) out.push_back(base::get_le32(body));
  return out;
}

Bytes encode_job_have(std::uint32_t entry, const ChunkHashes& hashes, std::size_t& at) {
  const std::size_t count = std::min(hashes.size() - at, kHashesMax);
  Bytes out = message(JobFilesType::kHave, two_numbers(entry, static_cast<std::uint32_t>(at)));
  for (std::size_t i = 0; i < count; ++i, ++at) {
    out.insert(out.end(), hashes[at].begin(), hashes[at].end());
  }
  return out;
}

Result<HavePart> decode_job_have(ByteView body) {
  if (body.size() <= 8 || (body.size() - 8) % 32 != 0) return odd_size();
  HavePart part;
  part.entry = base::get_le32(body);
  part.first = base::get_le32(body.subspan(4));
  for (body = body.subspan(8); !body.empty(); body = body.subspan(32)) {
    std::copy_n(body.begin(), 32, part.hashes.emplace_back().begin());
  }
  return part;
}

Bytes encode_job_refuse(JobFilesType type, std::string_view reason) {
  Writer w;
  w.array(1).text(reason.substr(0, kJobReasonMax));
  return message(type, w.bytes());
}

std::optional<base::Error> refusal_in(ByteView record) {
  if (record.empty()) return std::nullopt;
  const auto type = static_cast<JobFilesType>(record[0]);
  if (type != JobFilesType::kRefuse && type != JobFilesType::kFull) return std::nullopt;
  Reader r(record.subspan(1));
  r.array_of(1);
  const std::string reason = r.text(kJobReasonMax);
  if (Status status = r.finish(); !status) return status.error();
  return fail(type == JobFilesType::kFull ? Code::kFull : Code::kRefused, reason);
}

}  // namespace transfer
