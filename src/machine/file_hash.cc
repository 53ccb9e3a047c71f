#include "machine/file_hash.h"

#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "machine/fd.h"

namespace machine {
namespace {
constexpr std::size_t kReadSize = 256 * 1024;
}  // namespace

base::Result<base::crypto::Hash256> FileHashes::hash(int fd) {
  const auto identify = [fd](Key* key) {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return false;
    *key = {info.st_dev,          info.st_ino,         info.st_size,        info.st_mtim.tv_sec,
            info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
    return true;
  };
  Key before;
  if (!identify(&before)) return base::fail(base::Code::kInvalid, "not a regular file");
  if (const auto at = known_.find(before); at != known_.end()) return at->second;
  base::crypto::Hasher hasher;
  std::vector<std::uint8_t> buffer(kReadSize);
  const auto size = static_cast<std::uint64_t>(std::get<2>(before));
  for (std::uint64_t at = 0; at < size;) {
    const ssize_t got =
        retry([&] { return ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(at)); });
    if (got < 0) return io_error("read a file");
    if (got == 0) break;
    const auto count = static_cast<std::size_t>(got);
    hasher.add(base::ByteView(buffer).first(count));
    at += count;
    bytes_read_ += count;
  }
  Key after;
  if (!identify(&after) || after != before) {
    return base::fail(base::Code::kStale, "a file changed while it was read");
  }
  const base::crypto::Hash256 hash = hasher.finish();
  if (std::get<5>(before) + kSettled < ::time(nullptr)) {
    if (known_.size() >= kEntriesMax) known_.clear();
    known_.emplace(before, hash);
  }
  return hash;
}

}  // namespace machine
