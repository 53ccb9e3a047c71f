#include "daemon/job_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/wire.h"
#include "init/contract.h"
#include "machine/fd.h"
#include "machine/keeper_client.h"
#include "node/limits.h"

namespace ternd::job_folder {
namespace {

using base::Code;
using base::fail;
using base::Status;
using node::StreamEnds;

constexpr const char* kSpoolFiles[] = {"/stdout.log", "/stderr.log"};
constexpr std::size_t kHeldSizeMax = 64 * 1024;

base::Error io_error(const std::string& what) {
  return fail(Code::kIo, what + ": " + std::strerror(errno));
}

std::uint64_t file_size(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

Status write_all(int fd, base::ByteView bytes, std::uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error("cannot write " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
  return {};
}

// Of a file whose front may have been punched out: where its data begin, its size if there are
// none.
std::uint64_t first_byte(int fd) {
  const off_t first = ::lseek(fd, 0, SEEK_DATA);
  if (first >= 0) return static_cast<std::uint64_t>(first);
  const off_t size = errno == ENXIO ? ::lseek(fd, 0, SEEK_END) : 0;
  return size > 0 ? static_cast<std::uint64_t>(size) : 0;
}

Status punch(int fd, std::uint64_t size, const std::string& path) {
  for (;;) {
    if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)) ==
        0) {
      return {};
    }
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      return fail(Code::kUnsupported, "this file system cannot free the front of a file");
    }
    return io_error("cannot free the front of " + path);
  }
}

std::string held_name(base::Epoch epoch) { return "held-e" + std::to_string(epoch.value); }
std::string released_name(base::Epoch epoch) { return "released-e" + std::to_string(epoch.value); }

std::string paused_name(base::Epoch epoch) { return "paused-e" + std::to_string(epoch.value); }
std::string thawed_name(base::Epoch epoch) { return "thawed-e" + std::to_string(epoch.value); }

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

Status sync_folder(const std::string& dir) {
  const int folder = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return io_error("cannot open " + dir);
  Status status;
  if (::fsync(folder) != 0) status = io_error("cannot sync " + dir);
  ::close(folder);
  return status;
}

Status write_file(const std::string& dir, const std::string& name, base::ByteView bytes) {
  const std::string path = dir + "/" + name;
  const std::string fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return io_error("cannot create " + fresh);
  Status status = write_all(fd, bytes, 0, fresh);
  if (status && ::fsync(fd) != 0) status = io_error("cannot sync " + fresh);
  ::close(fd);
  if (status && ::rename(fresh.c_str(), path.c_str()) != 0) {
    status = io_error("cannot rename " + fresh);
  }
  if (!status) {
    (void)::unlink(fresh.c_str());
    return status;
  }
  return sync_folder(dir);
}

Status make(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return io_error("cannot make " + dir);
  return {};
}

StreamEnds bases(const std::string& dir) {
  auto stored = machine::read_bases(dir);
  if (!stored) return {};
  return {stored->stdout_base, stored->stderr_base};
}

StreamEnds ends(const std::string& dir) {
  StreamEnds at = bases(dir);
  for (std::size_t s = 0; s < at.size(); ++s) at[s] += file_size(dir + kSpoolFiles[s]);
  return at;
}

std::optional<std::uint64_t> synced_end(const std::string& dir, int stream) {
  const std::uint64_t start = bases(dir)[static_cast<std::size_t>(stream)];
  const int fd = ::open((dir + kSpoolFiles[stream]).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? std::optional(start) : std::nullopt;
  struct stat info {};
  const bool known = ::fdatasync(fd) == 0 && ::fstat(fd, &info) == 0;
  ::close(fd);
  if (!known) return std::nullopt;
  return start + static_cast<std::uint64_t>(info.st_size);
}

Status sync_output(const std::string& dir) {
  for (int stream = 0; stream < node::kStreams; ++stream) {
    if (!synced_end(dir, stream)) return io_error("cannot bring the job's output to the disk");
  }
  return {};
}

Piece read(const std::string& dir, int stream, std::uint64_t offset, std::size_t size_max) {
  const std::uint64_t start = bases(dir)[static_cast<std::size_t>(stream)];
  Piece piece{offset, {}};
  if (offset < start) return piece;
  const machine::Fd fd(::open((dir + kSpoolFiles[stream]).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return piece;
  for (;;) {
    piece.bytes.resize(size_max);
    const ssize_t n = ::pread(fd.get(), piece.bytes.data(), piece.bytes.size(),
                              static_cast<off_t>(piece.offset - start));
    piece.bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    // Asked afterwards: what was punched out while we read came as zeros.
    const std::uint64_t first = start + first_byte(fd.get());
    if (piece.offset >= first || piece.bytes.empty()) return piece;
    piece.offset = first;
  }
}

Status append(const std::string& dir, int stream, std::uint64_t offset, base::ByteView bytes,
              std::uint64_t limit) {
  const auto s = static_cast<std::size_t>(stream);
  if (ends(dir)[s] != offset) return fail(Code::kStale, "the log does not end there");
  const std::string path = dir + kSpoolFiles[stream];
  const machine::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return io_error("cannot open " + path);
  const std::uint64_t at = offset - bases(dir)[s];
  if (limit > 0 && at + bytes.size() - first_byte(fd.get()) > limit) {
    return fail(Code::kFull, "the log is full of what its reader has not read");
  }
  Status status = write_all(fd.get(), bytes, at, path);
  if (status && ::fdatasync(fd.get()) != 0) status = io_error("cannot sync " + path);
  if (!status)
    (void)!::ftruncate(fd.get(), static_cast<off_t>(at));  // what is not on the disk is not told
  return status;
}

base::Result<std::uint64_t> trim(const std::string& dir, int stream, std::uint64_t floor,
                                 std::uint64_t limit) {
  const std::uint64_t start = bases(dir)[static_cast<std::size_t>(stream)];
  const std::string path = dir + kSpoolFiles[stream];
  const machine::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return io_error("cannot open " + path);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t first = first_byte(fd.get());
  if (size - first <= limit / 4 * 3 || floor <= start) return start + first;
  const std::uint64_t to = std::min(size - limit / 2, floor - start) / kTrimUnit * kTrimUnit;
  if (to <= first) return start + first;
  if (Status done = punch(fd.get(), to, path); !done) return done.error();
  return start + to;
}

bool can_trim(const std::string& dir) {
  const std::string path = dir + "/trim-probe";
  const machine::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  (void)::unlink(path.c_str());
  const base::Bytes bytes(2 * kTrimUnit, 1);
  return fd.valid() && write_all(fd.get(), bytes, 0, path) && punch(fd.get(), kTrimUnit, path) &&
         first_byte(fd.get()) == kTrimUnit;
}

Status prepare_arrival(const std::string& dir, bool is_home, const node::MoveMetadata& metadata,
                       std::vector<transfer::OutputTail> tails) {
  if (is_home) {
    (void)::unlink((dir + "/exit").c_str());  // of a copy that died before it left
  } else {
    std::error_code error;
    std::filesystem::remove_all(dir, error);
    if (::mkdir(dir.c_str(), 0700) != 0) return io_error("cannot make " + dir);
    if (Status synced = sync_folder(dir.substr(0, dir.rfind('/'))); !synced) return synced;
    const init::Bases begin{init::kBasesMagic, metadata.acknowledged[0], metadata.acknowledged[1]};
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&begin);
    if (Status written = write_file(dir, "bases", {raw, sizeof(begin)}); !written) return written;
  }
  for (transfer::OutputTail& tail : tails) {
    const int stream = tail.stream - 1;
    const std::uint64_t have = ends(dir)[static_cast<std::size_t>(stream)];
    const std::uint64_t end = tail.offset + tail.bytes.size();
    if (tail.offset > have) return fail(Code::kInvalid, "a piece of the job's output is missing");
    if (end <= have) continue;
    tail.bytes.drop_front(static_cast<std::size_t>(have - tail.offset));
    if (Status done = append(dir, stream, have, tail.bytes.view(), 0); !done) return done;
  }
  if (ends(dir) != metadata.ends) {
    return fail(Code::kInvalid, "the job's output does not end where its source says");
  }
  return {};
}

Status mark_held(const std::string& dir, base::Epoch epoch,
                 const std::vector<std::int32_t>& stopped) {
  base::Writer w;
  w.array(2).u64(1).array(stopped.size());
  for (const std::int32_t pid : stopped) w.i64(pid);
  return write_file(dir, held_name(epoch), w.bytes());
}

bool is_held(const std::string& dir, base::Epoch epoch) {
  return exists(dir + "/" + held_name(epoch));
}

std::vector<pid_t> stopped_when_held(const std::string& dir, base::Epoch epoch) {
  const int fd = ::open((dir + "/" + held_name(epoch)).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  base::Bytes bytes(kHeldSizeMax);
  const ssize_t n = ::read(fd, bytes.data(), bytes.size());
  ::close(fd);
  base::Reader r(base::ByteView(bytes).first(n > 0 ? static_cast<std::size_t>(n) : 0));
  r.array_of(2);
  (void)r.u64(1);
  std::vector<pid_t> stopped(r.array(node::kStoppedMax));
  for (pid_t& pid : stopped) pid = static_cast<pid_t>(r.i64());
  return r.finish() ? stopped : std::vector<pid_t>();
}

Status mark_released(const std::string& dir, base::Epoch epoch) {
  return write_file(dir, released_name(epoch), {});
}

bool is_released(const std::string& dir, base::Epoch epoch) {
  return exists(dir + "/" + released_name(epoch));
}

Status mark_thawed(const std::string& dir, base::Epoch handover) {
  return write_file(dir, thawed_name(handover), {});
}

bool is_thawed(const std::string& dir, base::Epoch handover) {
  return exists(dir + "/" + thawed_name(handover));
}

Status mark_paused(const std::string& dir, base::Epoch born, bool held_too) {
  return write_file(dir, paused_name(born),
                    base::Bytes{held_too ? std::uint8_t{1} : std::uint8_t{0}});
}

std::optional<bool> is_paused(const std::string& dir, base::Epoch born) {
  const std::string path = dir + "/" + paused_name(born);
  if (!exists(path)) return std::nullopt;
  const machine::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::uint8_t held_too = 0;
  const bool read = fd.valid() && ::read(fd.get(), &held_too, 1) == 1;
  return read && held_too != 0;
}

void unmark_paused(const std::string& dir, base::Epoch born) {
  (void)::unlink((dir + "/" + paused_name(born)).c_str());
}

void unmark_held(const std::string& dir, base::Epoch epoch) {
  (void)::unlink((dir + "/" + held_name(epoch)).c_str());
}

}  // namespace ternd::job_folder
