// The few words that the static programs share. No exceptions, no iostream, and no allocation in
// init and keeper: they stay below a megabyte of memory each, and every job has a pair of them.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace init {

template <typename Call>
auto retry(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

// Writes all of it or fails with errno set.
inline bool write_all(int fd, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t wrote = retry([&] { return ::write(fd, at, size); });
    if (wrote <= 0) return false;
    at += wrote;
    size -= static_cast<std::size_t>(wrote);
  }
  return true;
}

// A number that fills the whole text (up to `end`, or to its terminator).
inline bool parse_number(const char* text, int base, std::uint64_t max, std::uint64_t* out,
                         char end = '\0', const char** rest = nullptr) {
  if (*text < '0' || *text > '9') return false;
  char* stop = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(text, &stop, base);
  if (errno != 0 || value > max) return false;
  if (*stop != '\0' && *stop != end) return false;
  *out = value;
  if (rest != nullptr) *rest = *stop == '\0' ? stop : stop + 1;
  return true;
}

}  // namespace init
