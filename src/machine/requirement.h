// What a job needs of the machine that it moves to, made on the source (machine/preflight.h),
// checked on the sink before anything is frozen. A refusal costs the job nothing.
//
// Encoding: one MessagePack array, at most kRequirementSizeMax bytes.
//
// | field        | type                               | limit | meaning                        |
// | version      | unsigned                           | 4     | of this table; 3 has no packages |
// | architecture | text                               | 32    | uname -m                       |
// | kernel       | text                               | 128   | uname -r                       |
// | criu         | text                               | 32    | the source's version           |
// | cpu flags    | array of text                      | 256, 32 each | what programs can use   |
// | memory       | unsigned, bytes                    |       | resident, shared counted again |
// | uids, gids   | arrays of unsigned                 | 64    | sorted, each once; of all kinds |
// | files        | array of [path, size, mode, hash, package] | 4096 | below; path 1024, text 128 |
// |              | or, of those that travel, [path, size, mode, hash, flags, inode, born seconds, |
// |              | nanoseconds]                       |       |                                |
// | ports        | array of [TCP (else UDP), packed base::Endpoint] | 256 | that its sockets     |
// |              |                                    |       | hold; sorted, each once        |
//
// Files are regular files that the job executes, maps or has open, by the paths under which CRIU
// will open them; or folders that it is in (mode says which; a folder's size and hash are zero).
// CRIU compares size, mode and build id only, so a file of the same size and other content would
// pass it: the hash (BLAKE2b-256 of the content) is what counts.
//
// What is the job's own (not in a system folder) travels where the sink lacks it
// (transfer/job_files.h); one that it writes to has no hash, as that would be old at once. Inode
// and time of birth tell a sink that looks at the same file system.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"
#include "machine/ports.h"

namespace machine {

inline constexpr std::size_t kRequirementSizeMax = 48 * 1024;
inline constexpr std::size_t kRequiredFilesMax = 4096;
inline constexpr std::size_t kRequiredPathSizeMax = 1024;
inline constexpr std::size_t kRequiredIdsMax = 64;
inline constexpr std::size_t kCpuFlagsMax = 256;
inline constexpr std::size_t kRequiredPortsMax = 256;

inline constexpr std::uint32_t kRequiredTravels = 1;
inline constexpr std::uint32_t kRequiredWritten = 2;  // open for writing, or below --dir

struct RequiredFile {
  std::string path;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  // st_mode: S_IFREG or S_IFDIR and permissions
  base::crypto::Hash256 hash{};
  std::uint32_t flags = 0;
  std::uint64_t inode = 0;  // this and the time only of what travels
  std::int64_t born_seconds = 0;
  std::uint32_t born_nanos = 0;
  std::string package = {};  // of a system's file "NAME VERSION", for sentences; empty: not known
  friend auto operator<=>(const RequiredFile&, const RequiredFile&) = default;
};

struct Requirement {
  std::string architecture;
  std::string kernel;
  std::string criu;
  std::vector<std::string> cpu_flags;  // sorted
  std::uint64_t memory_bytes = 0;
  std::vector<std::uint32_t> uids;
  std::vector<std::uint32_t> gids;
  std::vector<RequiredFile> files;  // sorted by path
  std::vector<BoundPort> ports;     // sorted, each once
  friend bool operator==(const Requirement&, const Requirement&) = default;
};

// kTooLarge: the job uses too many files.
[[nodiscard]] base::Result<base::Bytes> encode_requirement(const Requirement& requirement);
[[nodiscard]] base::Result<Requirement> decode_requirement(base::ByteView bytes);

// Absolute, without "." or "..", empty parts or control characters, and not below /proc or /sys.
[[nodiscard]] bool valid_required_path(std::string_view path);

}  // namespace machine
