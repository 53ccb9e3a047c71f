// What the tests of the daemon's sockets share: waiting on a loop, and a wire that can be hurt.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/entropy.h"
#include "loop/handles.h"
#include "transfer/buffer.h"

namespace ternd::testing {

inline constexpr base::Duration kLimit = std::chrono::seconds(30);  // of every wait

// Until `done`, or kLimit: then false.
inline bool run_until(loop::Loop& loop, const std::function<bool()>& done) {
  bool late = false;
  loop::Timer timer(loop, [&] { late = true; });
  timer.start(kLimit);
  while (!done() && !late) (void)loop.run_once();
  return done();
}

inline base::Endpoint loopback(std::uint16_t port = 0, std::uint8_t last = 1) {
  return base::Endpoint::v4({127, 0, 0, last}, port);
}

inline std::string text_of(const transfer::Buffer& bytes) {
  return std::string(base::as_text(bytes.view()));
}

// A folder of its own, gone at the end.
class TempDir {
 public:
  TempDir() : path_(::testing::TempDir() + "ternd-" + random_id<base::TriadId>().hex()) {
    std::filesystem::create_directories(path_);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Between a client and a server: passes bytes on, from the client in pieces of `piece` bytes.
class Relay {
 public:
  Relay(loop::Loop& loop, const base::Endpoint& to, std::size_t piece)
      : loop_(loop), piece_(piece) {
    auto listener = loop::Listener::tcp(loop, loopback(), [this, to](auto stream) {
      client_ = std::move(stream);
      server_ = loop::Stream::connect_tcp(loop_, to, {}, [this](base::Status status) {
        ASSERT_TRUE(status.ok());
        server_->on_writable([this] { pump(); });
        client_->start_reading([this](base::ByteView bytes) { from_client(bytes); },
                               [this](base::Status) { server_->shut_down(); });
        server_->start_reading([this](base::ByteView bytes) { write(*client_, bytes); },
                               [this](base::Status) { client_->shut_down(); });
      });
    });
    EXPECT_TRUE(listener.ok());
    listener_ = std::move(*listener);
  }
  [[nodiscard]] base::Endpoint at() const { return listener_->local(); }
  void damage_next() { damage_ = true; }
  void cut() {
    client_.reset();
    server_.reset();
  }
  // The client's bytes stay here from now on.
  void hold() { held_ = true; }
  [[nodiscard]] std::size_t holding() const { return waiting_.size(); }

 private:
  void from_client(base::ByteView bytes) {
    const std::size_t at = waiting_.size();
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    if (std::exchange(damage_, false)) waiting_[at + bytes.size() / 2] ^= 0x40;
    pump();
  }
  void pump() {
    while (!held_ && server_ && !waiting_.empty()) {
      const base::ByteView next = base::ByteView(waiting_).first(std::min(piece_, waiting_.size()));
      auto n = server_->try_write(next);
      if (!n || *n == 0) return;
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(*n));
    }
  }
  static void write(loop::Stream& to, base::ByteView bytes) {  // little, so that it fits at once
    auto n = to.try_write(bytes);
    EXPECT_TRUE(!n || *n == bytes.size());
  }

  loop::Loop& loop_;
  std::size_t piece_;
  bool damage_ = false;
  bool held_ = false;
  base::Bytes waiting_;
  std::unique_ptr<loop::Listener> listener_;
  std::unique_ptr<loop::Stream> client_;
  std::unique_ptr<loop::Stream> server_;
};

}  // namespace ternd::testing
