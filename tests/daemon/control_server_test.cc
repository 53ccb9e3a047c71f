// The daemon's side of the control socket, with clients that do as they like.
#include "daemon/control_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/limits.h"
#include "loop_rig.h"

namespace ternd::testing {
namespace {

constexpr const char* kPing = "{\"v\":1,\"command\":\"ping\"}\n";

// A client's end, non-blocking: the server runs on the same thread.
class Caller {
 public:
  explicit Caller(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    EXPECT_LT(path.size(), sizeof(address.sun_path));
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    (void)::fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~Caller() { hang_up(); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  void hang_up() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // How much of it the socket took.
  std::size_t say(std::string_view text) {
    const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  // Everything that is there; true at the end of the stream.
  bool listen() {
    char piece[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_, piece, sizeof(piece), 0);
      if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
      if (n < 0) return false;
      heard.append(piece, static_cast<std::size_t>(n));
    }
  }
  bool connected = false;
  std::string heard;

 private:
  int fd_;
};

class ControlServerTest : public ::testing::Test {
 protected:
  ControlServerTest() : path_(dir_.path() + "/control.sock") {
    auto server = ControlServer::start(
        loop_, path_, base::null_log(),
        [this](control::Request request, std::shared_ptr<Client> client) {
          ++requests_;
          if (std::holds_alternative<control::PingRequest>(request) && answers_) {
            return client->done();
          }
          waiting_.push_back(std::move(client));
        });
    EXPECT_TRUE(server.ok());
    server_ = std::move(*server);
  }
  bool until(const std::function<bool()>& done) {
    // The callers' ends are not on the loop: it is woken to look at them.
    loop::Timer again(loop_, [] {});
    return run_until(loop_, [&] {
      again.start(std::chrono::milliseconds(5));
      return done();
    });
  }
  [[nodiscard]] static std::size_t slots() {
    return ::geteuid() == 0 ? kClientsMax : kClientsOfUserMax;
  }

  TempDir dir_;
  std::string path_;
  loop::Loop loop_;
  std::unique_ptr<ControlServer> server_;
  std::vector<std::shared_ptr<Client>> waiting_;
  int requests_ = 0;
  bool answers_ = true;
};

TEST_F(ControlServerTest, ARequestIsAnsweredInWhateverPiecesItComes) {
  Caller caller(path_);
  const std::string line = kPing;
  for (const char c : line) {
    ASSERT_EQ(caller.say(std::string(1, c)), 1U);
    (void)loop_.run_once();
  }
  ASSERT_TRUE(until([&] { return caller.listen(); }));
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(caller.heard, "{\"ok\":true,\"data\":{}}\n");
}

TEST_F(ControlServerTest, HalfALineIsNoRequest) {
  Caller caller(path_);
  (void)caller.say("{\"v\":1,\"comm");
  Caller other(path_);
  (void)other.say(kPing);
  ASSERT_TRUE(until([&] { return other.listen(); }));
  EXPECT_EQ(requests_, 1);
  EXPECT_FALSE(caller.listen());
  caller.hang_up();
  ASSERT_TRUE(until([&] { return server_->idle(); }));
  EXPECT_EQ(requests_, 1);
}

TEST_F(ControlServerTest, AClientThatSaysNothingIsSentAwayInTime) {
  Caller caller(path_);
  ASSERT_TRUE(until([&] { return caller.listen(); }));
  EXPECT_NE(caller.heard.find("no request came in time"), std::string::npos);
}

TEST_F(ControlServerTest, AnOverLongLineIsRefused) {
  Caller caller(path_);
  const std::string rubbish(64 * 1024, 'x');
  std::size_t said = 0;
  ASSERT_TRUE(until([&] {
    if (said <= control::kLineBytesMax) said += caller.say(rubbish);
    return caller.listen();
  }));
  EXPECT_NE(caller.heard.find("too long"), std::string::npos);
  EXPECT_NE(caller.heard.find("\"exit\":1"), std::string::npos) << caller.heard;
  EXPECT_EQ(requests_, 0);
}

TEST_F(ControlServerTest, WhatIsNoRequestIsRefusedInASentence) {
  Caller caller(path_);
  (void)caller.say("{\"v\":1,\"command\":\"dance\"}\n");
  ASSERT_TRUE(until([&] { return caller.listen(); }));
  EXPECT_NE(caller.heard.find("\"ok\":false"), std::string::npos);
  EXPECT_EQ(requests_, 0);
}

TEST_F(ControlServerTest, SlotsAreBoundedAndComeFreeAgain) {
  std::vector<std::unique_ptr<Caller>> callers;
  for (std::size_t i = 0; i < slots(); ++i) {
    callers.push_back(std::make_unique<Caller>(path_));
    (void)loop_.run_once();
  }
  Caller late(path_);
  (void)late.say(kPing);
  ASSERT_TRUE(until([&] { return late.listen(); }));
  EXPECT_EQ(late.heard, "");
  callers.erase(callers.begin(), callers.begin() + 3);
  ASSERT_TRUE(until([&] {
    Caller again(path_);
    (void)again.say(kPing);
    return until([&] { return again.listen(); }) && !again.heard.empty();
  }));
  EXPECT_GE(requests_, 1);
}

// One that does not read is cut off; nothing grows without bound for it.
TEST_F(ControlServerTest, ASlowReaderIsCutOff) {
  answers_ = false;
  Caller caller(path_);
  (void)caller.say(kPing);
  ASSERT_TRUE(until([&] { return waiting_.size() == 1; }));
  const std::string line(100'000, 'y');
  int lines = 0;
  bool told = false;
  waiting_[0]->on_closed([&] { told = true; });
  while (!waiting_[0]->closed() && lines < 1000) {
    waiting_[0]->line(line);
    ++lines;
  }
  EXPECT_TRUE(waiting_[0]->closed());
  EXPECT_TRUE(told);
  EXPECT_LT(static_cast<std::size_t>(lines) * line.size(), 3 * kClientBacklogMax);
}

// Who asks for room gets as much as the client reads, and all of it arrives.
TEST_F(ControlServerTest, ASenderThatWaitsForRoomLosesNothing) {
  answers_ = false;
  Caller caller(path_);
  (void)caller.say(kPing);
  ASSERT_TRUE(until([&] { return waiting_.size() == 1; }));
  const std::shared_ptr<Client> client = waiting_[0];
  const std::string line(50'000, 'z');
  int sent = 0;
  constexpr int kLines = 400;
  bool sending = false;
  const auto send = [&] {
    if (std::exchange(sending, true)) return;
    while (sent < kLines && client->has_room()) {
      ++sent;
      client->line(line);
    }
    sending = false;
  };
  client->on_room(send);
  send();
  EXPECT_LT(sent, kLines) << "it has to wait";
  ASSERT_TRUE(until([&] {
    (void)caller.listen();
    return caller.heard.size() == kLines * line.size();
  }));
  EXPECT_FALSE(client->closed());
}

TEST_F(ControlServerTest, AClientThatGoesAwayInTheMiddleOfAnAnswerIsNoticed) {
  answers_ = false;
  auto caller = std::make_unique<Caller>(path_);
  (void)caller->say(kPing);
  ASSERT_TRUE(until([&] { return waiting_.size() == 1; }));
  bool told = false;
  waiting_[0]->on_closed([&] { told = true; });
  waiting_[0]->line("{\"progress\":\"half way\"}\n");
  EXPECT_FALSE(server_->idle());
  caller.reset();
  ASSERT_TRUE(until([&] { return told; }));
  EXPECT_TRUE(waiting_[0]->closed());
  waiting_[0]->line("into the void");
  waiting_[0]->done();
  EXPECT_TRUE(server_->idle());
}

}  // namespace
}  // namespace ternd::testing
