// The control socket with somebody in CRIU's place who does not wait (criu/stream_server.h).
#include "criu/stream_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "criu/wire.h"

namespace criu {
namespace {

struct Server {
  Server() {
    std::string name = ::testing::TempDir() + "tern-stream-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    ::uv_loop_init(&loop);
    StreamServer::Callbacks callbacks;
    callbacks.request = [this](const std::string& image) { names.push_back(image); };
    callbacks.descriptor = [this](int fd) { fds.push_back(fd); };
    callbacks.ended = [this] { ended = true; };
    callbacks.failed = [](const base::Error& error) { ADD_FAILURE() << error.detail; };
    auto listening =
        StreamServer::listen(&loop, folder, Direction::kCapture, ::geteuid(), std::move(callbacks));
    EXPECT_TRUE(listening);
    if (listening) server = std::move(*listening);
  }
  ~Server() {
    server.reset();
    while (::uv_run(&loop, UV_RUN_NOWAIT) != 0) {
    }
    ::uv_loop_close(&loop);
    for (const int fd : fds) ::close(fd);
    std::filesystem::remove_all(folder);
  }
  void turn() { ::uv_run(&loop, UV_RUN_NOWAIT); }

  uv_loop_t loop{};
  std::string folder;
  std::unique_ptr<StreamServer> server;
  std::vector<std::string> names;
  std::vector<int> fds;
  bool ended = false;
};

int connect_to(const std::string& folder) {
  const int peer = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder + "/streamer-capture.sock";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(::connect(peer, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  return peer;
}

// As CRIU does for an image that fits into its pipe.
void offer(int peer, const std::string& name) {
  const base::Bytes request = encode_request(name);
  ASSERT_EQ(::send(peer, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), ends.data(), sizeof(int));
  ASSERT_EQ(::sendmsg(peer, &message, 0), 1);
  ::close(ends[0]);
  ::close(ends[1]);
}

constexpr std::size_t kImages = 40;

// Else the loop would read none of them before it had them all, and a busy machine too many.
TEST(StreamServer, GivesOnePipeATurnHoweverManyThereAre) {
  Server world;
  const int peer = connect_to(world.folder);
  for (std::size_t i = 0; i < kImages; ++i) offer(peer, "core-" + std::to_string(i) + ".img");
  ::close(peer);
  world.turn();  // connects
  for (std::size_t had = 0; had < kImages; had = world.fds.size()) {
    world.turn();
    ASSERT_LE(world.fds.size(), had + 1);
    ASSERT_EQ(world.names.size(), world.fds.size());
    if (world.fds.size() == had) world.turn();
  }
  world.turn();
  EXPECT_TRUE(world.ended);
  EXPECT_EQ(world.names.front(), "core-0.img");
  EXPECT_EQ(world.names.back(), "core-39.img");
}

TEST(StreamServer, GivesNothingWhileItIsPaused) {
  Server world;
  world.server->pause();
  const int peer = connect_to(world.folder);
  offer(peer, "core-1.img");
  offer(peer, "core-2.img");
  for (int i = 0; i < 5; ++i) world.turn();
  EXPECT_TRUE(world.names.empty()) << "before it was connected";
  world.server->resume();
  while (world.fds.empty()) world.turn();
  world.server->pause();
  for (int i = 0; i < 5; ++i) world.turn();
  EXPECT_EQ(world.fds.size(), 1U);
  world.server->resume();
  world.server->resume();  // once more changes nothing
  while (world.fds.size() < 2) world.turn();
  ::close(peer);
  while (!world.ended) world.turn();
}

}  // namespace
}  // namespace criu
