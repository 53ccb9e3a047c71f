// A daemon that says what a test tells it to, on a real socket, and remembers what it was asked.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace cli {

// What one connection gets: pieces written one after another, then the end. A piece "@N" is no
// text but signal N to the program that is tested; "!next" serves the next connection
// in between, "!deaf" hears no more from the client, "!closed" waits for its end, "!line" hears one
// more line from the client, "!close" listens no more, "+N" is N milliseconds in which nothing is
// said.
struct Script {
  std::vector<std::string> pieces;
  bool stay_open = false;  // keep the connection until the client closes it
};

// One line in pieces of `size` bytes.
inline std::vector<std::string> in_pieces(const std::string& text, std::size_t size) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size(); at += size) out.push_back(text.substr(at, size));
  return out;
}

class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "tern-cli-XXXXXX").string();
    path_ = ::mkdtemp(path.data());
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class FakeDaemon {
 public:
  // Serves one script per connection, in order, then stops listening.
  FakeDaemon(std::string dir, std::deque<Script> scripts) : scripts_(std::move(scripts)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = dir + "/control.sock";
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 16) != 0) {
      std::abort();
    }
    thread_ = std::thread([this] {
      while (serve_next()) {
      }
    });
  }
  ~FakeDaemon() { stop(); }
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  // Waits until every script was served.
  void finish() {
    thread_.join();
    ::close(listener_);
  }
  // Ends it; returns what it was asked, without the newlines.
  std::vector<std::string> stop() {
    if (thread_.joinable()) {
      ::shutdown(listener_, SHUT_RDWR);
      thread_.join();
      ::close(listener_);
    }
    return requests_;
  }

 private:
  bool serve_next() {
    if (scripts_.empty()) return false;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return false;
    const Script script = scripts_.front();
    scripts_.pop_front();
    answer(client, script);
    ::close(client);
    return true;
  }

  void answer(int client, const Script& script) {
    std::string request;
    char byte = 0;
    while (::read(client, &byte, 1) == 1 && byte != '\n') request += byte;
    requests_.push_back(request);
    ucred peer{};
    socklen_t size = sizeof peer;
    (void)::getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    for (const std::string& piece : script.pieces) {
      if (piece == "!close") {
        (void)::shutdown(listener_, SHUT_RDWR);
      } else if (piece == "!deaf") {
        (void)::shutdown(client, SHUT_RD);
      } else if (piece == "!closed") {
        pollfd hung_up = {client, 0, 0};
        (void)::poll(&hung_up, 1, -1);
      } else if (piece == "!line") {
        std::string line;
        while (::read(client, &byte, 1) == 1 && byte != '\n') line += byte;
        requests_.push_back(line);
      } else if (piece == "!next") {
        (void)serve_next();
      } else if (piece.starts_with('+')) {
        pollfd silent = {client, POLLIN, 0};
        (void)::poll(&silent, 1, std::stoi(piece.substr(1)));
      } else if (piece.starts_with('@')) {
        (void)::kill(peer.pid, std::stoi(piece.substr(1)));
      } else {
        (void)::send(client, piece.data(), piece.size(), MSG_NOSIGNAL);
      }
    }
    if (script.stay_open) {
      while (::read(client, &byte, 1) > 0) {
      }
    }
  }

  std::deque<Script> scripts_;
  std::vector<std::string> requests_;
  int listener_ = -1;
  std::thread thread_;
};

}  // namespace cli
