// libuv's handles as values that close themselves.
//
// One rule, owned here: a uv handle lives until its close callback. Each class below owns its
// handle on the heap; destroying the object forgets the callbacks at once (none is called
// afterwards) and lets the handle die when libuv has closed it. Callbacks may destroy the object
// they came from. Everything is used from the loop's thread only, `run_blocking` and Wakeup::wake()
// excepted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/result.h"
#include "base/time.h"

struct uv_loop_s;

namespace loop {

class Loop {
 public:
  Loop();
  ~Loop();  // every handle's owner must be gone; runs until the last close callback came
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  [[nodiscard]] uv_loop_s* raw();
  void run();  // until stop()
  void stop();
  // Runs what is ready and waits at most once; false when stop() was called.
  bool run_once();
  [[nodiscard]] static base::Time now();           // CLOCK_BOOTTIME
  [[nodiscard]] static base::WallTime wall_now();  // CLOCK_REALTIME

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_fire);
  ~Timer();
  void start(base::Duration after);  // once; a started timer is set anew
  void start_at(base::Time when);    // base::kNever stops it
  void stop();

 private:
  struct State;
  State* state_;
};

// Readiness of a descriptor that somebody else owns and closes after this object is gone.
class Poll {
 public:
  enum : int { kReadable = 1, kWritable = 2 };
  Poll(Loop& loop, int fd, std::function<void(int events)> on_ready);
  ~Poll();
  void set(int events);  // 0 stops

 private:
  struct State;
  State* state_;
};

class Signal {
 public:
  Signal(Loop& loop, int signal_number, std::function<void()> on_signal);
  ~Signal();

 private:
  struct State;
  State* state_;
};

// A byte stream: TCP or a unix socket.
class Stream {
 public:
  static constexpr std::size_t kReadSizeMax = 256 * 1024;
  static constexpr std::size_t kPartsMax = 16;
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  // `from`: the address to connect from; unspecified lets the system choose. Its port is not used.
  [[nodiscard]] static std::unique_ptr<Stream> connect_tcp(
      Loop& loop, const base::Endpoint& to, const base::Endpoint& from,
      std::function<void(base::Status)> on_connected);

  // on_data borrows the bytes; on_end gets ok at end of stream, or the error. After on_end nothing
  // more comes.
  void start_reading(std::function<void(base::ByteView)> on_data,
                     std::function<void(base::Status)> on_end);
  void pause_reading();  // back-pressure: the peer's writes stall
  void resume_reading();
  // Takes what the socket takes at once and returns how much that was; 0 means "not now":
  // on_writable is called when to try again.
  [[nodiscard]] base::Result<std::size_t> try_write(base::ByteView bytes);
  // The same for several pieces, in order, in one call of the kernel; more than kPartsMax are left
  // for the next.
  [[nodiscard]] base::Result<std::size_t> try_write(std::span<const base::ByteView> parts);
  void on_writable(std::function<void()> callback);
  void shut_down();  // no more writes; the peer sees end of stream after what was written
  [[nodiscard]] base::Endpoint peer() const;  // TCP only
  [[nodiscard]] int fd() const;

 private:
  friend class Listener;
  struct State;
  explicit Stream(State* state) : state_(state) {}
  State* state_;
};

class Listener {
 public:
  using OnStream = std::function<void(std::unique_ptr<Stream>)>;
  ~Listener();
  [[nodiscard]] static base::Result<std::unique_ptr<Listener>> tcp(Loop& loop,
                                                                   const base::Endpoint& at,
                                                                   OnStream on_stream);
  // Binds a unix socket, mode 0600 unless said otherwise; a stale one there is replaced.
  [[nodiscard]] static base::Result<std::unique_ptr<Listener>> unix_socket(Loop& loop,
                                                                           const std::string& path,
                                                                           unsigned mode,
                                                                           OnStream on_stream);
  [[nodiscard]] base::Endpoint local() const;  // TCP only: the port that ":0" picked

 private:
  struct State;
  explicit Listener(State* state) : state_(state) {}
  State* state_;
};

class UdpSocket {
 public:
  using OnDatagram = std::function<void(const base::Endpoint& from, base::ByteView)>;
  [[nodiscard]] static base::Result<std::unique_ptr<UdpSocket>> bind(Loop& loop,
                                                                     const base::Endpoint& at,
                                                                     OnDatagram on_datagram);
  ~UdpSocket();
  [[nodiscard]] base::Endpoint local() const;
  // Sends now or drops: datagrams may get lost anyway.
  void send(const base::Endpoint& to, base::ByteView bytes);

 private:
  struct State;
  explicit UdpSocket(State* state) : state_(state) {}
  State* state_;
};

// Wakes the loop from any thread; calls may coalesce.
class Wakeup {
 public:
  Wakeup(Loop& loop, std::function<void()> on_wake);
  ~Wakeup();
  void wake();

 private:
  struct State;
  State* state_;
};

// Runs `work` on a thread of libuv's pool, then `done` on the loop's thread. `done` is always
// called, also while the loop is being shut down.
void run_blocking(Loop& loop, std::function<void()> work, std::function<void()> done);
// The same for work that may fail; `done` hears how.
void run_blocking(Loop& loop, std::function<base::Status()> work,
                  std::function<void(const base::Status&)> done);
// Work items that have not called `done` yet.
[[nodiscard]] std::size_t blocking_in_flight();

}  // namespace loop
