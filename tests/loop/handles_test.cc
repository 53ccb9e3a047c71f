#include "loop/handles.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <vector>

namespace loop {
namespace {

using base::Bytes;
using base::Endpoint;

Endpoint loopback(std::uint16_t port) { return Endpoint::v4({127, 0, 0, 1}, port); }

TEST(Handles, ATimerFiresOnceAndMayDestroyItself) {
  Loop loop;
  std::unique_ptr<Timer> timer;
  int fired = 0;
  timer = std::make_unique<Timer>(loop, [&] {
    ++fired;
    timer.reset();
    loop.stop();
  });
  timer->start(base::Duration(1));
  loop.run();
  EXPECT_EQ(fired, 1);
}

TEST(Handles, WorkThatWaitsDoesNotKeepOtherWork) {
  constexpr int kWaiting = 12;
  Loop loop;
  std::promise<void> go_on;
  const std::shared_future<void> wait = go_on.get_future().share();
  int ended = 0;
  for (int i = 0; i < kWaiting; ++i) {
    run_blocking(
        loop, [wait] { wait.wait(); }, [&] { ++ended; });
  }
  bool late = false;
  bool done = false;
  Timer limit(loop, [&] { late = true; });
  limit.start(std::chrono::seconds(30));
  run_blocking(
      loop, [] {}, [&] { done = true; });
  while (!done && !late) (void)loop.run_once();
  EXPECT_TRUE(done);
  EXPECT_EQ(ended, 0);
  go_on.set_value();
  while (ended < kWaiting) (void)loop.run_once();
  EXPECT_EQ(std::getenv("UV_THREADPOOL_SIZE"), nullptr) << "no job inherits it";
}

TEST(Handles, ADestroyedTimerStaysSilent) {
  Loop loop;
  bool silent = true;
  auto early = std::make_unique<Timer>(loop, [&] { silent = false; });
  early->start(base::Duration(0));
  early.reset();
  Timer late(loop, [&] { loop.stop(); });
  late.start(base::Duration(1000));
  loop.run();
  EXPECT_TRUE(silent);
}

TEST(Handles, BulkGoesThroughAStreamWithBackPressure) {
  Loop loop;
  constexpr std::size_t kTotal = 20 * 1024 * 1024;
  std::unique_ptr<Stream> server;
  std::size_t received = 0;
  auto listener = Listener::tcp(loop, loopback(0), [&](std::unique_ptr<Stream> stream) {
    server = std::move(stream);
    server->start_reading([&](base::ByteView bytes) { received += bytes.size(); },
                          [&](base::Status status) {
                            EXPECT_TRUE(status.ok());
                            loop.stop();
                          });
  });
  ASSERT_TRUE(listener.ok());
  const Bytes chunk(1024 * 1024, 7);
  std::size_t sent = 0;
  int stalls = 0;
  std::unique_ptr<Stream> client;
  const auto pump = [&] {
    while (sent < kTotal) {
      const std::size_t left = std::min(chunk.size(), kTotal - sent);
      auto n = client->try_write(base::ByteView(chunk).first(left));
      ASSERT_TRUE(n.ok());
      if (*n == 0) {
        ++stalls;
        return;
      }
      sent += *n;
    }
    client->shut_down();
  };
  client = Stream::connect_tcp(loop, (*listener)->local(), {}, [&](base::Status status) {
    ASSERT_TRUE(status.ok());
    client->on_writable(pump);
    pump();
  });
  loop.run();
  EXPECT_EQ(received, kTotal);
  EXPECT_GT(stalls, 0);
}

// What arrives is the pieces one after another, wherever a write broke off.
TEST(Handles, PiecesOfOneWriteArriveInOrder) {
  Loop loop;
  Bytes received;
  std::unique_ptr<Stream> server;
  auto listener = Listener::tcp(loop, loopback(0), [&](std::unique_ptr<Stream> stream) {
    server = std::move(stream);
    server->start_reading(
        [&](base::ByteView bytes) { received.insert(received.end(), bytes.begin(), bytes.end()); },
        [&](base::Status) { loop.stop(); });
  });
  ASSERT_TRUE(listener.ok());
  Bytes all(12 * 1024 * 1024);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i / 251 + i);
  std::size_t sent = 0;
  std::unique_ptr<Stream> client;
  const auto pump = [&] {
    while (sent < all.size()) {
      // Sizes that no buffer is a multiple of, one of them empty, more pieces than are taken.
      std::vector<base::ByteView> parts;
      base::ByteView rest = base::ByteView(all).subspan(sent);
      for (std::size_t size = 0; parts.size() < Stream::kPartsMax + 2; size += 7919) {
        const base::ByteView part = rest.first(std::min(size, rest.size()));
        rest = rest.subspan(part.size());
        parts.push_back(part);
      }
      auto n = client->try_write(parts);
      ASSERT_TRUE(n.ok());
      if (*n == 0) return;
      sent += *n;
    }
    client->shut_down();
  };
  client = Stream::connect_tcp(loop, (*listener)->local(), {}, [&](base::Status status) {
    ASSERT_TRUE(status.ok());
    client->on_writable(pump);
    pump();
  });
  loop.run();
  EXPECT_TRUE(received == all);
}

TEST(Handles, ARefusedConnectionIsTold) {
  Loop loop;
  Endpoint closed;
  {
    auto listener = Listener::tcp(loop, loopback(0), [](std::unique_ptr<Stream>) {});
    ASSERT_TRUE(listener.ok());
    closed = (*listener)->local();
  }
  bool told = false;
  auto client = Stream::connect_tcp(loop, closed, {}, [&](base::Status status) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, base::Code::kUnreachable);
    told = true;
    loop.stop();
  });
  loop.run();
  EXPECT_TRUE(told);
}

TEST(Handles, DatagramsArrive) {
  Loop loop;
  Bytes got;
  auto receiver = UdpSocket::bind(loop, loopback(0), [&](const Endpoint&, base::ByteView bytes) {
    got = base::to_bytes(bytes);
    loop.stop();
  });
  auto sender = UdpSocket::bind(loop, loopback(0), [](const Endpoint&, base::ByteView) {});
  ASSERT_TRUE(receiver.ok());
  ASSERT_TRUE(sender.ok());
  (*sender)->send((*receiver)->local(), Bytes{1, 2, 3});
  loop.run();
  EXPECT_EQ(got, (Bytes{1, 2, 3}));
}

TEST(Handles, BlockingWorkIsDoneBeforeTheLoopIsGone) {
  bool done = false;
  {
    Loop loop;
    run_blocking(
        loop, [] {}, [&] { done = true; });
  }
  EXPECT_TRUE(done);
  EXPECT_EQ(blocking_in_flight(), 0U);
}

}  // namespace
}  // namespace loop
