// Two libuv handles with their lifetimes settled: a watched file descriptor and a one-shot timer.
//
// Rules
//  - stop() and the destructor take effect at once: the callback never runs again, and a watched
//    descriptor is out of epoll, so that it may be closed in the next line. (CRIU briefly holds
//    duplicates of its pipe ends; closing one that epoll still knows would leave a ghost there.)
//  - The uv handle and the callback's captures live on until libuv's close callback, so a callback
//    may destroy the object it belongs to. Captures must not own what owns the watch, or nothing
//    but stop() ends either.
//  - Both keep the loop alive while they are started. One thread, the loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "base/result.h"
#include "base/time.h"

struct uv_loop_s;

namespace criu {

enum class Wants : std::uint8_t {
  kRead,
  kWrite,
  kChange,  // POLLPRI: how kernfs files such as cgroup.events say that they changed
};

class FdWatch {
 public:
  FdWatch() = default;
  ~FdWatch() { stop(); }
  FdWatch(FdWatch&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  FdWatch& operator=(FdWatch&& other) noexcept {
    stop();
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  // Watches `fd`, which stays the caller's and must stay open until stop(). Level triggered; errors
  // and hang-ups count as ready, so that the caller's next call reports them. Replaces an earlier
  // watch. kIo: libuv refused the descriptor.
  base::Status start(uv_loop_s* loop, int fd, Wants wants, std::function<void()> ready);
  void stop();
  [[nodiscard]] bool active() const { return handle_ != nullptr; }

 private:
  struct Handle;
  Handle* handle_ = nullptr;  // owned by the loop
};

class Alarm {
 public:
  Alarm() = default;
  ~Alarm() { stop(); }
  Alarm(Alarm&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Alarm& operator=(Alarm&& other) noexcept {
    stop();
    handle_ = std::exchange(other.handle_, nullptr);
    return *this;
  }
  // Calls `due` once, after `after` (0: in the loop's next turn). Replaces an earlier alarm.
  void start(uv_loop_s* loop, base::Duration after, std::function<void()> due);
  void stop();
  [[nodiscard]] bool active() const { return handle_ != nullptr; }

 private:
  struct Handle;
  Handle* handle_ = nullptr;  // owned by the loop
};

}  // namespace criu
