// Mode and mtime of what stands at a path, and setting others in their place.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace machine {

// Of a folder only its mode: its time is that of what is in it.
struct Marks {
  bool folder = false;
  std::uint32_t mode = 0;  // permission bits
  std::int64_t seconds = 0;
  std::int64_t nanos = 0;
};
[[nodiscard]] Marks marks_of(const struct stat& info);

// "MODE", of a file "MODE SECONDS NANOSECONDS": as ledgers keep them.
[[nodiscard]] std::string to_text(const Marks& marks);
[[nodiscard]] std::optional<Marks> marks_from(std::string_view text);

// Where exactly this inode stands at `path`: of mode and time each that differs becomes `to`, if it
// still is as in `from`. Set-ID and sticky bits stay as they are. What is not there, or not the
// thread's user's to change, stays.
struct MarkChange {
  std::string path;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  Marks from;
  Marks to;
};
[[nodiscard]] base::Status change_marks(const MarkChange& change);

}  // namespace machine
