// The files that travel with a job: what the two ends of a move say about them, and what the sink
// does with a path at which there is something already. Since 1.
//
// In the connection of a checkpoint (image_stream.h), behind its hello, come one or two rounds: one
// before the job is frozen, one after it. A record each: type 1, body; integers are little-endian,
// [...] is MessagePack. The types are above those of images, whose hash does not cover these.
//
//   source -> sink
//   64 begin    [version = 1, final, who bytes]     whose they are: opaque here
//   65 entries  [[kind, path, mode, uid, gid, seconds, nanoseconds, size, stored, digest, link,
//                 flags, inode, ctime seconds, ctime nanoseconds, born seconds, born
//                 nanoseconds]...]
//                                                   by path, folders first
//   66 sealed   -                                   the list is whole
//   67 chunk    entry 4, chunk 4, bytes 1..         pieces of one chunk, in their order
//   68 holes    entry 4, first 4, count 4           chunks of zeros
//   69 end      entry 4                             all that differed was sent
//   70 all      -
//   sink -> source
//   96 want     entry 4, ...
//   97 have     entry 4, first 4, hashes 32...      chunks of the file that is there, before
//                                                   `ready`
//   98 ready    -                                   send
//   99 placed   -                                   the round is over, all are where they belong
//   100 refuse  [reason <= 512]                     and the move with it; the checkpoint, too
//   101 alive   -                                   still at work; any time
//   102 full    [reason <= 512]                     as refuse, but another attempt may find room:
//                                                   only where no handover follows. Since 1, later
//                                                   than the rest: to who does not know it an
//                                                   attempt has failed, which is made again
// A refusal may come before the source has said anything. Where no handover follows `refuse` may
// come from the source, too: it cannot send them, for good. Since 1, later than the rest.
//
// A file is hashed in chunks of kJobChunk; its digest covers their hashes and its size, so that
// what one end has of an older version need not travel, and no file is read twice to be checked.
//
// Rules of a list (add() is the only way in)
//  - Paths are absolute, without "." and "..", sorted, each once, none in a system folder (below).
//  - A hard link names the first file of its inode, which came before it.
//  - No set-user-ID, set-group-ID or sticky bit travels.
//
// What stands at a path is never replaced unless tern put it there, or it is at the job's home what
// the job left with (decide()); the same goes for mode and mtime of what has the content already.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"

namespace transfer {

inline constexpr std::size_t kJobFilesMax = std::size_t{1} << 16;  // more: the job does not move
inline constexpr std::size_t kJobPathMax = 1024;
inline constexpr std::size_t kJobLinkMax = 4095;
inline constexpr std::size_t kJobNamesMax = std::size_t{16} << 20;  // bytes of paths and targets
inline constexpr std::uint64_t kJobChunk = std::uint64_t{256} << 10;
inline constexpr std::uint64_t kJobChunksMax = std::uint64_t{1} << 20;  // 256 GiB of all files
inline constexpr std::size_t kJobPieceMax = std::size_t{60} << 10;
inline constexpr std::size_t kJobWhoMax = std::size_t{48} << 10;
inline constexpr std::size_t kJobReasonMax = 512;
inline constexpr std::size_t kJobRoundsMax = 2;

using ChunkHashes = std::vector<base::crypto::Hash256>;
[[nodiscard]] base::crypto::Hash256 chunk_hash(base::ByteView chunk);
[[nodiscard]] const base::crypto::Hash256& zero_chunk_hash();  // of a whole one
[[nodiscard]] base::crypto::Hash256 digest_of(const ChunkHashes& chunks, std::uint64_t size);
// Of a symbolic link; never a file's.
[[nodiscard]] base::crypto::Hash256 link_digest(std::string_view target);
[[nodiscard]] const base::crypto::Hash256& folder_digest();  // that it is one, no more
[[nodiscard]] std::uint64_t chunks_of(std::uint64_t size);

// Only compared, never sent: the machine's own folders. `path` as in a list.
[[nodiscard]] bool in_system_folder(std::string_view path);
[[nodiscard]] bool valid_job_path(std::string_view path);

enum class JobFileKind : std::uint8_t { kFolder = 0, kFile = 1, kLink = 2, kHardLink = 3 };
inline constexpr std::uint32_t kJobFileWritten = 1;   // the job writes it, or may
inline constexpr std::uint32_t kJobFileNeeded = 2;    // open, mapped, executed: a restore opens it
inline constexpr std::uint32_t kJobFileAncestor = 4;  // only on the way to another entry
inline constexpr std::uint32_t kJobFileFlags = 7;

struct JobFile {
  JobFileKind kind = JobFileKind::kFile;
  std::string path;
  std::uint32_t mode = 0644;  // permission bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::uint64_t size = 0;          // of a file, bytes
  std::uint64_t stored = 0;        // of them, without chunks of zeros
  base::crypto::Hash256 digest{};  // of a file
  std::string link;                // of a link its target, of a hard link the first path
  std::uint32_t flags = 0;
  // Of the source's inode: the same at the sink means that both look at one file system. The time
  // of birth is for a file that is being written to; clones of a disk have it in common, too.
  std::uint64_t inode = 0;
  std::int64_t ctime_seconds = 0;
  std::uint32_t ctime_nanos = 0;
  std::int64_t born_seconds = 0;  // 0: not known
  std::uint32_t born_nanos = 0;
  friend bool operator==(const JobFile&, const JobFile&) = default;
};

class JobFileList {
 public:
  // kInvalid, kTooLarge: nothing was added.
  [[nodiscard]] base::Status add(JobFile file);
  [[nodiscard]] const std::vector<JobFile>& files() const { return files_; }
  [[nodiscard]] const JobFile& at(std::uint32_t index) const { return files_[index]; }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(files_.size()); }
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view path) const;

 private:
  std::vector<JobFile> files_;
  std::size_t names_ = 0;
  std::uint64_t chunks_ = 0;
};

// ---- what the sink does with one path

// Where one file system keeps less of a time than another: down to 100 ns, or whole seconds.
struct FileTime {
  std::int64_t seconds = 0;
  std::uint32_t nanos = 0;
};
[[nodiscard]] bool same_time(const FileTime& a, const FileTime& b);

struct FoundFile {
  enum class Kind : std::uint8_t { kNothing, kFolder, kFile, kLink, kOther, kUnreachable };
  Kind kind = Kind::kNothing;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;
  std::int64_t mtime_seconds = 0;
  std::uint32_t mtime_nanos = 0;
  std::string link;
  std::optional<base::crypto::Hash256> digest;  // of a file whose size is the one that is wanted
  bool same_inode = false;                      // it is the source's own, on a shared disk
  bool placed = false;                          // by tern, for this job alone
  bool placed_for_another = false;              // by tern, for another job
  bool empty = false;                           // of a folder
  bool taken = false;                           // of one: it was there, empty, before tern came
  bool as_it_left = false;  // this is the job's home, and this the content that left with it
  bool marks_as_they_left = false;  // likewise mode and mtime, of a folder its mode
};
enum class Verdict : std::uint8_t {
  kUse,      // it is what the job needs
  kMake,     // nothing is there
  kReplace,  // tern put it there
  kReturn,   // home: what the job made of its file replaces it; where one of them is a folder,
             // home's own is kept beside it
  kBeside,   // home: changed here meanwhile; the job's version is laid beside it
  kMark,  // its content is what the job needs; it gets the job's mode and mtime, a folder its mode
  kRefuse,
};
struct Decision {
  Verdict verdict = Verdict::kRefuse;
  std::string why;  // of kRefuse: a sentence with the path
};
// `at_home`: the job's home is here. Of a hard link `wanted` has size and digest of its file.
[[nodiscard]] Decision decide(const JobFile& wanted, const FoundFile& found, bool at_home);

// ---- messages

enum class JobFilesType : std::uint8_t {
  kBegin = 64,
  kEntries,
  kSealed,
  kChunk,
  kHoles,
  kEnd,
  kAll,
  kWant = 96,
  kHave,
  kReady,
  kPlaced,
  kRefuse,
  kAlive,
  kFull,
};
// Whether a record of a checkpoint's stream is one of these.
[[nodiscard]] inline bool is_job_files_record(base::ByteView record) {
  return !record.empty() && record[0] >= 64 && record[0] < 128;
}

[[nodiscard]] base::Bytes job_files_message(JobFilesType type);  // without a body
struct JobFilesBegin {
  bool final = false;  // nothing of it changes any more: the job is frozen
  base::Bytes who;     // of the second round of no account
};
[[nodiscard]] base::Bytes encode_job_begin(const JobFilesBegin& begin);
// As many as fit into one record, from `at` on; `at` is moved behind them.
[[nodiscard]] base::Bytes encode_job_entries(const JobFileList& list, std::uint32_t& at);
struct ChunkAt {
  std::uint32_t entry = 0;
  std::uint32_t chunk = 0;
};
[[nodiscard]] base::Bytes encode_job_chunk_header(const ChunkAt& at);
[[nodiscard]] base::Bytes encode_job_holes(const ChunkAt& first, std::uint32_t count);
[[nodiscard]] base::Bytes encode_job_end(std::uint32_t entry);
[[nodiscard]] base::Bytes encode_job_want(const std::vector<std::uint32_t>& entries,
                                          std::size_t& at);
[[nodiscard]] base::Bytes encode_job_have(std::uint32_t entry, const ChunkHashes& hashes,
                                          std::size_t& at);
// kRefuse, kFull.
[[nodiscard]] base::Bytes encode_job_refuse(JobFilesType type, std::string_view reason);

// Bodies, without the type. kInvalid, kTruncated, kTooLarge.
[[nodiscard]] base::Result<JobFilesBegin> decode_job_begin(base::ByteView body);
[[nodiscard]] base::Result<std::vector<JobFile>> decode_job_entries(base::ByteView body);
[[nodiscard]] base::Result<std::vector<std::uint32_t>> decode_job_want(base::ByteView body);
struct HavePart {
  std::uint32_t entry = 0;
  std::uint32_t first = 0;
  ChunkHashes hashes;
};
[[nodiscard]] base::Result<HavePart> decode_job_have(base::ByteView body);
// Of a whole record: what it refuses, kRefused or kFull, or that it makes no sense; none: it is
// another one.
[[nodiscard]] std::optional<base::Error> refusal_in(base::ByteView record);

}  // namespace transfer
