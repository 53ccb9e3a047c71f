// The keeper's files: two spools that pipes are emptied into, the order they filled in, the exit.
// All paths are relative to the job folder, which is the keeper's working directory.
//
// One splice(2) moves bytes from pipe to file, at an offset that is the file's size. A SIGKILL ends
// it before or after a page, never between writing and consuming, so what left the pipe is in the
// file and the file's size is where the next keeper goes on: no journal, nothing to replay.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>

#include "init/contract.h"

namespace init {

enum class Moved { kSome, kEmpty, kEnded, kFailed };

// errno of a Stream that is at its limit; no file gives it.
inline constexpr int kAtLimit = ENOBUFS;

class Stream {
 public:
  // Opens or makes the file and learns its size. False with errno.
  [[nodiscard]] bool open_file(const char* name, std::uint64_t base);
  void attach(int pipe) { pipe_ = pipe; }
  void detach();
  // kFailed leaves the pipe as it is and errno set. Where more than `limit` bytes would lie on the
  // disk (what was punched out of the file's front does not), kFailed with kAtLimit; 0: no limit.
  [[nodiscard]] Moved move(std::uint64_t limit);
  [[nodiscard]] bool sync() const;
  [[nodiscard]] bool full(std::uint64_t limit) const;
  [[nodiscard]] int pipe() const { return pipe_; }
  [[nodiscard]] bool attached() const { return pipe_ >= 0; }
  [[nodiscard]] std::uint64_t end() const { return base_ + size_; }

 private:
  int pipe_ = -1;
  int file_ = -1;
  std::uint64_t base_ = 0;
  std::uint64_t size_ = 0;
};

// Advisory: failures are ignored and leave a gap that the next record covers.
class Order {
 public:
  void open_file(const char* name);
  void note(std::uint64_t stream, std::uint64_t end);

 private:
  int file_ = -1;
  std::uint64_t count_ = 0;
  std::uint64_t last_stream_ = ~std::uint64_t{0};
};

// Whole or not at all, on disk before it returns. False with errno.
[[nodiscard]] bool store_whole(const char* name, const void* data, std::size_t size);

enum class Loaded { kYes, kAbsent, kDamaged };
[[nodiscard]] Loaded load_whole(const char* name, void* data, std::size_t size);

}  // namespace init
