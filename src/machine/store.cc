#include "machine/store.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/crypto.h"
#include "base/wire.h"

namespace machine {
namespace {

using base::Bytes;
using base::ByteView;
using base::Code;
using base::fail;
using base::Result;
using base::Status;

constexpr char kMagic[] = "ternstor";
constexpr std::uint32_t kVersion = 1;
constexpr int kLockTries = 20;
constexpr int kLockPauseMs = 50;
constexpr std::size_t kHeaderSize = 8 + 4 + 16 + 4;
constexpr std::size_t kSizeSumSize = 4;
constexpr std::size_t kPayloadSumSize = 8;
constexpr std::size_t kRecordHeaderSize = 4 + kSizeSumSize + kPayloadSumSize;
constexpr std::size_t kRecordOverhead = kRecordHeaderSize + 16;
constexpr std::size_t kBatchHeaderSize = 16;

base::Error io_error(const std::string& what) {
  return fail(Code::kIo, what + ": " + std::strerror(errno));
}

Status write_all(int fd, ByteView bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error("cannot write the store");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<Bytes> read_all(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error("cannot examine the store");
  Bytes bytes(static_cast<std::size_t>(info.st_size));
  std::size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t n = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read the store");
    if (n == 0) break;
    at += static_cast<std::size_t>(n);
  }
  bytes.resize(at);
  return bytes;
}

Status sync_dir(const std::string& dir) {
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error("cannot open " + dir);
  const int rc = ::fsync(fd);
  ::close(fd);
  if (rc != 0) return io_error("cannot sync " + dir);
  return {};
}

// The position is hashed too, so that a stale record left by an earlier, longer journal at another
// place is never taken for one of this journal.
Bytes record_header(std::uint64_t at, ByteView payload) {
  std::array<std::uint8_t, 8> position{};
  base::put_le64(position, at);
  Bytes header(kRecordHeaderSize);
  base::put_le32(header, static_cast<std::uint32_t>(payload.size()));
  const auto size_sum = base::crypto::hash128({position, ByteView(header).first(4)});
  std::copy_n(size_sum.begin(), kSizeSumSize, header.begin() + 4);
  const auto payload_sum = base::crypto::hash128({position, payload});
  std::copy_n(payload_sum.begin(), kPayloadSumSize, header.begin() + 4 + kSizeSumSize);
  return header;
}

bool size_holds(std::uint64_t at, ByteView header) {
  std::array<std::uint8_t, 8> position{};
  base::put_le64(position, at);
  const auto sum = base::crypto::hash128({position, header.first(4)});
  return std::equal(sum.begin(), sum.begin() + kSizeSumSize, header.begin() + 4);
}

Status write_record(int fd, ByteView payload, std::uint64_t at) {
  Bytes record = record_header(at, payload);
  record.insert(record.end(), payload.begin(), payload.end());
  return write_all(fd, record, at);
}

Bytes header_bytes(base::StoreId id) {
  Bytes header(kHeaderSize);
  std::memcpy(header.data(), kMagic, 8);
  base::put_le32(base::MutableByteView(header).subspan(8), kVersion);
  std::copy(id.bytes.begin(), id.bytes.end(), header.begin() + 12);
  return header;
}

Bytes encode(const std::vector<StoreWrite>& batch) {
  base::Writer writer;
  writer.array(batch.size());
  for (const StoreWrite& write : batch) {
    writer.array(3).text(write.key).boolean(write.value.has_value());
    writer.bin(write.value ? ByteView(*write.value) : ByteView());
  }
  return writer.take();
}

Result<std::vector<StoreWrite>> decode(ByteView payload) {
  base::Reader reader(payload);
  std::vector<StoreWrite> batch(reader.array(base::kWireObjectsMax));
  for (StoreWrite& write : batch) {
    reader.array_of(3);
    write.key = reader.text(kStoreKeySizeMax);
    const bool present = reader.boolean();
    const ByteView value = reader.bin(kStoreValueSizeMax);
    if (present) write.value = base::to_bytes(value);
  }
  if (Status status = reader.finish(); !status) return status.error();
  return batch;
}

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

}  // namespace

Store::Store(Store&& other) noexcept { *this = std::move(other); }

Store& Store::operator=(Store&& other) noexcept {
  if (this == &other) return *this;
  close_files();
  dir_ = std::move(other.dir_);
  lock_fd_ = std::exchange(other.lock_fd_, -1);
  fd_ = std::exchange(other.fd_, -1);
  size_ = other.size_;
  live_size_ = other.live_size_;
  id_ = other.id_;
  map_ = std::move(other.map_);
  tail_was_torn_ = other.tail_was_torn_;
  broken_ = other.broken_;
  return *this;
}

Store::~Store() { close_files(); }

void Store::close_files() {
  if (fd_ >= 0) ::close(fd_);
  if (lock_fd_ >= 0) ::close(lock_fd_);
  fd_ = lock_fd_ = -1;
}

Result<Store> Store::open(const std::string& dir, base::StoreId fresh_id) {
  Store store;
  store.dir_ = dir;
  const std::string lock = dir + "/lock";
  store.lock_fd_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (store.lock_fd_ < 0) return io_error("cannot open " + lock);
  // A daemon that was killed while it started a program leaves a child that holds the lock too,
  // until it has become that program.
  int tries = kLockTries;
  while (::flock(store.lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return io_error("cannot lock " + lock);
    if (--tries > 0) {
      (void)::poll(nullptr, 0, kLockPauseMs);
      continue;
    }
    return fail(Code::kExists, "another tern daemon uses the state folder " + dir);
  }
  (void)::unlink((dir + "/journal.new").c_str());  // a compaction that did not finish
  const std::string journal = dir + "/journal";
  store.fd_ = ::open(journal.c_str(), O_RDWR | O_CLOEXEC);
  if (store.fd_ < 0 && errno != ENOENT) return io_error("cannot open " + journal);
  Status status = store.fd_ < 0 ? store.create(fresh_id) : store.load();
  if (!status) return status.error();
  return store;
}

// Written under another name first, so that a crash never leaves a journal without its header.
Status Store::create(base::StoreId fresh_id) {
  id_ = fresh_id;
  return compact();
}

Status Store::load() {
  auto file = read_all(fd_);
  if (!file) return file.error();
  const std::string journal = dir_ + "/journal";
  if (file->size() < kHeaderSize || std::memcmp(file->data(), kMagic, 8) != 0) {
    return fail(Code::kInvalid, journal + " is not a tern store");
  }
  const std::uint32_t version = base::get_le32(ByteView(*file).subspan(8));
  if (version > kVersion) {
    return fail(Code::kUnsupported, journal + " was written by a newer tern; install that version");
  }
  if (version == 0) return fail(Code::kInvalid, journal + " is not a tern store");
  std::copy_n(file->begin() + 12, id_.bytes.size(), id_.bytes.begin());
  std::size_t at = kHeaderSize;
  while (at < file->size()) {
    auto whole = load_record(*file, at);
    if (!whole) return whole.error();
    if (*whole) continue;
    tail_was_torn_ = true;
    if (::ftruncate(fd_, static_cast<off_t>(at)) != 0) return io_error("cannot mend " + journal);
    break;
  }
  size_ = at;
  // What an earlier process wrote may not be on the disk yet, nor what it renamed: it was killed.
  if (::fsync(fd_) != 0) return io_error("cannot sync " + journal);
  return sync_dir(dir_);
}

// True: a record was applied and `at` moved past it. False: what starts at `at` is a torn tail.
Result<bool> Store::load_record(ByteView file, std::size_t& at) {
  const ByteView rest = file.subspan(at);
  if (rest.size() < kRecordHeaderSize || all_zero(rest)) return false;
  if (size_holds(at, rest)) {
    const std::size_t size = base::get_le32(rest);
    if (size > rest.size() - kRecordHeaderSize) return false;
    const ByteView payload = rest.subspan(kRecordHeaderSize, size);
    if (record_header(at, payload) == base::to_bytes(rest.first(kRecordHeaderSize))) {
      auto batch = decode(payload);
      if (!batch) return batch.error();
      apply(*batch);
      at += kRecordHeaderSize + size;
      return true;
    }
    if (kRecordHeaderSize + size == rest.size()) return false;
  }
  return fail(Code::kInvalid, dir_ + "/journal is damaged at byte " + std::to_string(at) +
                                  "; this node must join again with a new state folder");
}

std::size_t store_batch_size(const std::vector<StoreWrite>& batch) {
  std::size_t size = kBatchHeaderSize;
  for (const StoreWrite& write : batch) {
    size += write.key.size() + kRecordOverhead + (write.value ? write.value->size() : 0);
  }
  return size;
}

Status Store::append(const std::vector<StoreWrite>& batch) {
  if (broken_)
    return fail(Code::kIo, "the store failed to sync before and is not trusted any more");
  for (const StoreWrite& write : batch) {
    CHECK(write.key.size() <= kStoreKeySizeMax);
    CHECK(!write.value || write.value->size() <= kStoreValueSizeMax);
  }
  const Bytes payload = encode(batch);
  CHECK(payload.size() <= kStoreBatchSizeMax);
  if (Status status = write_record(fd_, payload, size_); !status) {
    if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0) broken_ = true;
    return status;
  }
  if (::fdatasync(fd_) != 0) {
    broken_ = true;
    return io_error("cannot sync the store");
  }
  size_ += kRecordHeaderSize + payload.size();
  apply(batch);
  if (size_ > kStoreCompactSizeMin && size_ > 4 * (live_size_ + kHeaderSize)) {
    // The batch is safe already: a compaction that fails (a full disk) is tried again later.
    (void)compact().ok();
  }
  return {};
}

Status Store::compact() {
  const std::string fresh = dir_ + "/journal.new";
  const int fd = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return io_error("cannot create " + fresh);
  std::uint64_t at = kHeaderSize;
  Status status = write_all(fd, header_bytes(id_), 0);
  for (auto it = map_.begin(); status && it != map_.end(); ++it) {
    const Bytes payload = encode({{it->first, it->second}});
    status = write_record(fd, payload, at);
    at += kRecordHeaderSize + payload.size();
  }
  if (status && ::fsync(fd) != 0) status = io_error("cannot sync " + fresh);
  if (status && ::rename(fresh.c_str(), (dir_ + "/journal").c_str()) != 0) {
    status = io_error("cannot rename " + fresh);
  }
  if (!status) {
    ::close(fd);
    (void)::unlink(fresh.c_str());
    return status;
  }
  // From here on the new file is the journal, whether or not the folder's sync succeeds.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  size_ = at;
  status = sync_dir(dir_);
  if (!status) broken_ = true;
  return status;
}

void Store::apply(const std::vector<StoreWrite>& batch) {
  for (const StoreWrite& write : batch) {
    const auto old = map_.find(write.key);
    if (old != map_.end()) {
      live_size_ -= old->first.size() + old->second.size() + kRecordOverhead;
      map_.erase(old);
    }
    if (!write.value) continue;
    live_size_ += write.key.size() + write.value->size() + kRecordOverhead;
    map_.emplace(write.key, *write.value);
  }
}

}  // namespace machine
