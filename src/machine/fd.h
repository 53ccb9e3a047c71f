// A descriptor that closes itself.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/result.h"

namespace machine {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(fd_);  // Linux frees the number even on EINTR: never twice
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// Repeats a call that a signal interrupted. errno is the call's.
template <typename Call>
auto retry(Call call) -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

// "cannot WHAT: reason", with the code that callers act on.
inline base::Error io_error(const std::string& what, int error = errno) {
  base::Code code = base::Code::kIo;
  if (error == ENOENT || error == ESRCH) code = base::Code::kNotFound;
  if (error == EEXIST) code = base::Code::kExists;
  if (error == EPERM || error == EACCES) code = base::Code::kRefused;
  if (error == ENOSYS) code = base::Code::kUnsupported;
  return base::fail(code, "cannot " + what + ": " + std::strerror(error));
}

// Likewise, of what needs room on a disk: kFull where there is none.
inline base::Error write_error(const std::string& what, int error = errno) {
  base::Error out = io_error(what, error);
  if (error == ENOSPC || error == EDQUOT) out.code = base::Code::kFull;
  return out;
}

// The whole of a small file, such as those of /proc and cgroups. kTooLarge above `size_max`.
[[nodiscard]] base::Result<std::string> read_small_file(const std::string& path,
                                                        std::size_t size_max);

}  // namespace machine
