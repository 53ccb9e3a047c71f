#include "init/spool.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "init/sys.h"

namespace init {
namespace {
constexpr std::size_t kSpliceMax = 1 << 20;  // the largest pipe; most hold 64 KiB
constexpr std::uint64_t kBlockBytes = 512;   // of st_blocks, whatever the file system
constexpr mode_t kFileMode = 0600;
constexpr int kNameMax = 64;
}  // namespace

bool Stream::open_file(const char* name, std::uint64_t base) {
  // Without O_APPEND, which splice refuses.
  file_ =
      retry([&] { return ::open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode); });
  struct stat info = {};
  if (file_ < 0 || fstat(file_, &info) != 0) return false;
  base_ = base;
  size_ = static_cast<std::uint64_t>(info.st_size);
  return true;
}

void Stream::detach() {
  if (pipe_ >= 0) close(pipe_);
  pipe_ = -1;
}

bool Stream::full(std::uint64_t limit) const {
  struct stat info = {};
  if (limit == 0 || fstat(file_, &info) != 0) return false;
  return static_cast<std::uint64_t>(info.st_blocks) * kBlockBytes + kSpliceMax > limit;
}

Moved Stream::move(std::uint64_t limit) {
  if (pipe_ < 0) return Moved::kEnded;
  if (full(limit)) {
    errno = kAtLimit;
    return Moved::kFailed;
  }
  loff_t offset = static_cast<loff_t>(size_);
  const ssize_t moved =
      retry([&] { return splice(pipe_, nullptr, file_, &offset, kSpliceMax, SPLICE_F_NONBLOCK); });
  if (moved > 0) {
    size_ += static_cast<std::uint64_t>(moved);
    return Moved::kSome;
  }
  if (moved == 0) return Moved::kEnded;  // nobody holds a write end
  return errno == EAGAIN ? Moved::kEmpty : Moved::kFailed;
}

bool Stream::sync() const {
  return retry([this] { return fdatasync(file_); }) == 0;
}

void Order::open_file(const char* name) {
  file_ = retry([&] { return ::open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode); });
  struct stat info = {};
  if (file_ < 0 || fstat(file_, &info) != 0) return;
  count_ = static_cast<std::uint64_t>(info.st_size) / sizeof(OrderRecord);
  OrderRecord last = {};
  if (count_ > 0 && pread(file_, &last, sizeof last,
                          static_cast<off_t>((count_ - 1) * sizeof last)) == sizeof last) {
    last_stream_ = last.stream;
  }
}

void Order::note(std::uint64_t stream, std::uint64_t end) {
  const bool extends = count_ > 0 && stream == last_stream_;
  if (!extends && count_ == kOrderRecordsMax) return;
  const OrderRecord record = {stream, end};
  const std::uint64_t slot = extends ? count_ - 1 : count_;
  const off_t at = static_cast<off_t>(slot * sizeof record);
  if (retry([&] { return pwrite(file_, &record, sizeof record, at); }) != sizeof record) return;
  count_ = slot + 1;
  last_stream_ = stream;
}

bool store_whole(const char* name, const void* data, std::size_t size) {
  char temporary[kNameMax];
  if (std::snprintf(temporary, sizeof temporary, "%s.new", name) >= kNameMax) return false;
  const int fd = retry([&] {
    return ::open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, kFileMode);
  });
  if (fd < 0) return false;
  const bool written = write_all(fd, data, size) && retry([fd] { return fsync(fd); }) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  if (!written || rename(temporary, name) != 0) return false;
  const int folder = retry([] { return ::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (folder < 0) return false;
  const bool synced = retry([folder] { return fsync(folder); }) == 0;
  close(folder);
  return synced;
}

Loaded load_whole(const char* name, void* data, std::size_t size) {
  const int fd = retry([&] { return ::open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW); });
  if (fd < 0) return errno == ENOENT ? Loaded::kAbsent : Loaded::kDamaged;
  struct stat info = {};
  const bool whole = fstat(fd, &info) == 0 && info.st_size == static_cast<off_t>(size) &&
                     retry([&] { return read(fd, data, size); }) == static_cast<ssize_t>(size);
  close(fd);
  return whole ? Loaded::kYes : Loaded::kDamaged;
}

}  // namespace init
