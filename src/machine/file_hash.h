// Content hashes of files, remembered as long as the file's identity does not change.
//
// Key: device, inode, size, mtime and ctime. A file whose ctime is younger than kSettled when it is
// hashed is not remembered: a write in the same clock tick would leave the key unchanged. Not
// thread-safe: one user at a time. Blocking.
#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <tuple>

#include "base/crypto.h"
#include "base/result.h"

namespace machine {

class FileHashes {
 public:
  static constexpr std::size_t kEntriesMax = 8192;  // full: forgets all and begins anew
  static constexpr std::time_t kSettled = 2;        // seconds
  // BLAKE2b-256 of a regular file, read through `fd` (pread; its offset stays). kStale: it changed
  // meanwhile; kInvalid: no regular file.
  [[nodiscard]] base::Result<base::crypto::Hash256> hash(int fd);
  [[nodiscard]] std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  using Key = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, std::int64_t>;
  std::map<Key, base::crypto::Hash256> known_;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace machine
