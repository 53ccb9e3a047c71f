#include <uv.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "loop/handles.h"
#include "loop/internal.h"

namespace loop {
namespace {

std::atomic<std::size_t> blocking_count{0};

std::int64_t micros_of(clockid_t clock) {
  timespec now{};
  CHECK(::clock_gettime(clock, &now) == 0);
  return static_cast<std::int64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}

}  // namespace

struct Loop::State {
  uv_loop_t loop;
  bool stopped = false;
};

Loop::Loop() : state_(std::make_unique<State>()) { CHECK(uv_loop_init(&state_->loop) == 0); }

Loop::~Loop() {
  uv_run(&state_->loop, UV_RUN_DEFAULT);  // close callbacks, and work that is still under way
  CHECK(uv_loop_close(&state_->loop) == 0);
}

uv_loop_t* Loop::raw() { return &state_->loop; }

void Loop::run() {
  while (run_once()) {
  }
}

bool Loop::run_once() {
  if (!state_->stopped) uv_run(&state_->loop, UV_RUN_ONCE);
  return !state_->stopped;
}

void Loop::stop() {
  state_->stopped = true;
  uv_stop(&state_->loop);
}

base::Time Loop::now() { return base::Time(base::Duration(micros_of(CLOCK_BOOTTIME))); }

base::WallTime Loop::wall_now() {
  return static_cast<base::WallTime>(micros_of(CLOCK_REALTIME) / 1000000);
}

struct Timer::State {
  uv_timer_t timer;
  std::function<void()> on_fire;
};

Timer::Timer(Loop& loop, std::function<void()> on_fire)
    : state_(new State{{}, std::move(on_fire)}) {
  CHECK(uv_timer_init(loop.raw(), &state_->timer) == 0);
  state_->timer.data = state_;
}

Timer::~Timer() {
  state_->on_fire = nullptr;
  close_state(state_, &state_->timer);
}

// libuv's loop time is CLOCK_MONOTONIC, which stands still while a lid is closed: after a sleep a
// timer may fire late, and the caller looks at Loop::now() to see what is due.
void Timer::start(base::Duration after) {
  const std::int64_t micros = std::max<std::int64_t>(after.count(), 0);
  uv_update_time(state_->timer.loop);
  const auto fire = [](uv_timer_t* timer) {
    auto callback = static_cast<State*>(timer->data)->on_fire;  // it may destroy the Timer
    if (callback) callback();
  };
  CHECK(uv_timer_start(&state_->timer, fire, static_cast<std::uint64_t>((micros + 999) / 1000),
                       0) == 0);
}

void Timer::start_at(base::Time when) {
  if (when == base::kNever) {
    stop();
    return;
  }
  // Not 0: libuv would run a timer that is due and sets itself again for ever, and nothing else.
  start(std::max(when - Loop::now(), base::Duration(std::chrono::milliseconds(1))));
}

void Timer::stop() { uv_timer_stop(&state_->timer); }

struct Poll::State {
  uv_poll_t poll;
  std::function<void(int)> on_ready;
};

Poll::Poll(Loop& loop, int fd, std::function<void(int)> on_ready)
    : state_(new State{{}, std::move(on_ready)}) {
  CHECK(uv_poll_init(loop.raw(), &state_->poll, fd) == 0);
  state_->poll.data = state_;
}

Poll::~Poll() {
  state_->on_ready = nullptr;
  close_state(state_, &state_->poll);
}

void Poll::set(int events) {
  if (events == 0) {
    uv_poll_stop(&state_->poll);
    return;
  }
  int wanted = 0;
  if ((events & kReadable) != 0) wanted |= UV_READABLE;
  if ((events & kWritable) != 0) wanted |= UV_WRITABLE;
  const auto ready = [](uv_poll_t* poll, int status, int got) {
    auto callback = static_cast<State*>(poll->data)->on_ready;
    if (!callback) return;
    // An error shows when the owner reads or writes.
    if (status < 0) return callback(kReadable | kWritable);
    callback(((got & UV_READABLE) != 0 ? kReadable : 0) |
             ((got & UV_WRITABLE) != 0 ? kWritable : 0));
  };
  CHECK(uv_poll_start(&state_->poll, wanted, ready) == 0);
}

struct Signal::State {
  uv_signal_t signal;
  std::function<void()> on_signal;
};

Signal::Signal(Loop& loop, int signal_number, std::function<void()> on_signal)
    : state_(new State{{}, std::move(on_signal)}) {
  CHECK(uv_signal_init(loop.raw(), &state_->signal) == 0);
  state_->signal.data = state_;
  const auto arrived = [](uv_signal_t* signal, int /*number*/) {
    auto callback = static_cast<State*>(signal->data)->on_signal;
    if (callback) callback();
  };
  CHECK(uv_signal_start(&state_->signal, arrived, signal_number) == 0);
}

Signal::~Signal() {
  state_->on_signal = nullptr;
  close_state(state_, &state_->signal);
}

struct Wakeup::State {
  uv_async_t async;
  std::function<void()> on_wake;
};

Wakeup::Wakeup(Loop& loop, std::function<void()> on_wake)
    : state_(new State{{}, std::move(on_wake)}) {
  const auto woken = [](uv_async_t* async) {
    auto callback = static_cast<State*>(async->data)->on_wake;
    if (callback) callback();
  };
  CHECK(uv_async_init(loop.raw(), &state_->async, woken) == 0);
  state_->async.data = state_;
}

Wakeup::~Wakeup() {
  state_->on_wake = nullptr;
  close_state(state_, &state_->async);
}

void Wakeup::wake() { uv_async_send(&state_->async); }

namespace {

// What waits (for processes to end, for a slow disk) must not keep what is quick. libuv has four
// threads unless the environment says otherwise when the first work comes, and no other way to say.
void queue_first(const std::function<void()>& queue) {
  constexpr const char* kName = "UV_THREADPOOL_SIZE";
  constexpr const char* kThreads = "16";
  const bool ours = ::getenv(kName) == nullptr && ::setenv(kName, kThreads, 0) == 0;
  queue();
  if (ours) ::unsetenv(kName);  // nobody inherits it
}

}  // namespace

void run_blocking(Loop& loop, std::function<void()> work, std::function<void()> done) {
  struct Item {
    uv_work_t request;
    std::function<void()> work;
    std::function<void()> done;
  };
  auto* item = new Item{{}, std::move(work), std::move(done)};
  item->request.data = item;
  ++blocking_count;
  const auto run = [](uv_work_t* request) { static_cast<Item*>(request->data)->work(); };
  const auto finish = [](uv_work_t* request, int /*status*/) {
    std::unique_ptr<Item> owned(static_cast<Item*>(request->data));
    --blocking_count;
    if (owned->done) owned->done();
  };
  const auto queue = [&] { CHECK(uv_queue_work(loop.raw(), &item->request, run, finish) == 0); };
  static bool pool_is_there = false;
  std::exchange(pool_is_there, true) ? queue() : queue_first(queue);
}

void run_blocking(Loop& loop, std::function<base::Status()> work,
                  std::function<void(const base::Status&)> done) {
  auto status = std::make_shared<base::Status>();
  run_blocking(
      loop, [work = std::move(work), status] { *status = work(); },
      [status, done = std::move(done)] { done(*status); });
}

std::size_t blocking_in_flight() { return blocking_count; }

}  // namespace loop
