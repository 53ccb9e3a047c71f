#include "criu/loop_watch.h"

#include <uv.h>

#include <string>

namespace criu {

struct FdWatch::Handle {
  uv_poll_t poll;
  std::function<void()> ready;
};

struct Alarm::Handle {
  uv_timer_t timer;
  std::function<void()> due;
};

base::Status FdWatch::start(uv_loop_s* loop, int fd, Wants wants, std::function<void()> ready) {
  stop();
  auto* handle = new Handle{{}, std::move(ready)};
  if (const int rc = uv_poll_init(loop, &handle->poll, fd); rc != 0) {
    delete handle;
    return base::fail(base::Code::kIo,
                      std::string("cannot watch a descriptor: ") + uv_strerror(rc));
  }
  handle->poll.data = handle;
  const int events = wants == Wants::kRead    ? UV_READABLE | UV_DISCONNECT
                     : wants == Wants::kWrite ? UV_WRITABLE | UV_DISCONNECT
                                              : UV_PRIORITIZED;
  handle_ = handle;
  const int rc = uv_poll_start(&handle->poll, events, [](uv_poll_t* poll, int, int) {
    static_cast<Handle*>(poll->data)->ready();
  });
  CHECK(rc == 0);  // only a closing handle is refused
  return {};
}

void FdWatch::stop() {
  Handle* handle = std::exchange(handle_, nullptr);
  if (handle == nullptr) return;
  uv_poll_stop(&handle->poll);  // leaves epoll here, not in the close callback
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->poll),
           [](uv_handle_t* closed) { delete static_cast<Handle*>(closed->data); });
}

void Alarm::start(uv_loop_s* loop, base::Duration after, std::function<void()> due) {
  stop();
  auto* handle = new Handle{{}, std::move(due)};
  CHECK(uv_timer_init(loop, &handle->timer) == 0);
  handle->timer.data = handle;
  handle_ = handle;
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(after).count();
  // libuv counts from the loop's cached time, which long callbacks leave behind.
  uv_update_time(loop);
  const int rc = uv_timer_start(
      &handle->timer, [](uv_timer_t* timer) { static_cast<Handle*>(timer->data)->due(); },
      millis < 0 ? 0 : static_cast<std::uint64_t>(millis), 0);
  CHECK(rc == 0);
}

void Alarm::stop() {
  Handle* handle = std::exchange(handle_, nullptr);
  if (handle == nullptr) return;
  uv_timer_stop(&handle->timer);
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->timer),
           [](uv_handle_t* closed) { delete static_cast<Handle*>(closed->data); });
}

}  // namespace criu
