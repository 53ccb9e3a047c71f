#include "machine/file_marks.h"

#include <fcntl.h>

#include <charconv>

#include "machine/fd.h"
#include "machine/file_user.h"
#include "machine/path.h"
#include "transfer/job_files.h"

namespace machine {
namespace {

using base::Status;

bool same_time(const Marks& a, const Marks& b) {
  return transfer::same_time({a.seconds, static_cast<std::uint32_t>(a.nanos)},
                             {b.seconds, static_cast<std::uint32_t>(b.nanos)});
}

// Not hers, or not to be changed at all.
Status changed(const MarkChange& change, int result, const char* what) {
  if (result == 0 || errno == EPERM || errno == EROFS) return {};
  return about(change.path, io_error(what));
}

}  // namespace

Marks marks_of(const struct stat& info) {
  return {S_ISDIR(info.st_mode), info.st_mode & 0777U, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

std::string to_text(const Marks& marks) {
  const std::string mode = std::to_string(marks.mode & 0777U);
  if (marks.folder) return mode;
  return mode + " " + std::to_string(marks.seconds) + " " + std::to_string(marks.nanos);
}

std::optional<Marks> marks_from(std::string_view text) {
  std::int64_t numbers[3] = {};
  std::size_t count = 0;
  for (const char* at = text.data(); count < 3; ++at) {
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), numbers[count]);
    if (error != std::errc()) return std::nullopt;
    ++count;
    at = end;
    if (at == text.data() + text.size()) break;
    if (*at != ' ') return std::nullopt;
  }
  if (count == 2) return std::nullopt;
  return Marks{count == 1, static_cast<std::uint32_t>(numbers[0] & 0777), numbers[1], numbers[2]};
}

Status change_marks(const MarkChange& change) {
  const Fd at = open_plainly(change.path, O_PATH);
  struct stat info {};
  if (!at.valid() || ::fstat(at.get(), &info) != 0) return {};
  if (info.st_dev != change.device || info.st_ino != change.inode) return {};
  const Marks now = marks_of(info);
  if (now.folder != change.to.folder || S_ISLNK(info.st_mode)) return {};
  // By way of /proc/self/fd: who may change a mode need not be able to read.
  const std::string by = "/proc/self/fd/" + std::to_string(at.get());
  if (now.mode == change.from.mode && now.mode != change.to.mode) {
    const mode_t mode = (info.st_mode & 07000U) | (change.to.mode & 0777U);
    Status set = changed(change, ::chmod(by.c_str(), mode), "set its mode");
    if (!set) return set;
  }
  if (now.folder || !same_time(now, change.from) || same_time(now, change.to)) return {};
  const timespec times[2] = {{0, UTIME_OMIT}, {change.to.seconds, change.to.nanos}};
  return changed(change, ::utimensat(AT_FDCWD, by.c_str(), times, 0), "set its time");
}

}  // namespace machine
