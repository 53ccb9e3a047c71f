// What a job needs of the machine that it moves to, made on the source (machine/preflight.h),
// checked on the sink before anything is frozen. A refusal costs the job nothing.
//
// Encoding: one MessagePack array, at most kRequirementSizeMax bytes.
//
// | field        | type                               | limit | meaning                        |
// | version      | unsigned                           | 1     | of this table                  |
// | architecture | text                               | 32    | uname -m                       |
// | kernel       | text                               | 128   | uname -r                       |
// | criu         | text                               | 32    | the source's version           |
// | cpu flags    | array of text                      | 256, 32 each | what programs can use   |
// | memory       | unsigned, bytes                    |       | resident, shared counted once or
// more | | uids, gids   | arrays of unsigned                 | 64    | sorted, each once; gids: of
// all kinds | | files        | array of [path, size, mode, hash]  | 4096, path 1024 | below |
//
// Files are regular files that the job executes, maps or has open, by the paths under which CRIU
// will open them; or folders that it is in (mode says which; a folder's size and hash are zero).
// CRIU compares size, mode and build id only, so a file of the same size and other content would
// pass it: the hash (BLAKE2b-256 of the content) is what counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"

namespace machine {

inline constexpr std::size_t kRequirementSizeMax = 48 * 1024;
inline constexpr std::size_t kRequiredFilesMax = 4096;
inline constexpr std::size_t kRequiredPathSizeMax = 1024;
inline constexpr std::size_t kRequiredIdsMax = 64;
inline constexpr std::size_t kCpuFlagsMax = 256;

struct RequiredFile {
  std::string path;
  std::uint64_t size = 0;
  std::uint32_t mode = 0;  // st_mode: S_IFREG or S_IFDIR and permissions
  base::crypto::Hash256 hash{};
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
  friend bool operator==(const Requirement&, const Requirement&) = default;
};

// kTooLarge: the job uses too many files.
[[nodiscard]] base::Result<base::Bytes> encode_requirement(const Requirement& requirement);
[[nodiscard]] base::Result<Requirement> decode_requirement(base::ByteView bytes);

// Absolute, without "." or "..", empty parts or control characters, and not below /proc or /sys.
[[nodiscard]] bool valid_required_path(std::string_view path);

}  // namespace machine
