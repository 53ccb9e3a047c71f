#include "stand_in_bus.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

namespace bus::testing {
namespace {

constexpr int kPatienceMs = 30'000;
constexpr char kAddress[] = "DBUS_SYSTEM_BUS_ADDRESS";

}  // namespace

Child::Child(const std::vector<std::string>& command) {
  int to[2];
  int from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) std::abort();
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  in_ = to[1];
  out_ = from[0];
}

void Child::end() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::close(in_);
  ::close(out_);
  pid_ = -1;
}

void Child::write(const std::string& line) const {
  const std::string whole = line + "\n";
  EXPECT_EQ(::write(in_, whole.data(), whole.size()), static_cast<ssize_t>(whole.size()));
}

std::string Child::read_line(int patience_ms) {
  for (;;) {
    const std::size_t end = read_.find('\n');
    if (end != std::string::npos) {
      const std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    pollfd one{out_, POLLIN, 0};
    char buffer[512];
    if (::poll(&one, 1, patience_ms) <= 0) return {};
    const ssize_t size = ::read(out_, buffer, sizeof buffer);
    if (size <= 0) return {};
    read_.append(buffer, static_cast<std::size_t>(size));
  }
}

StandInBus::StandInBus() {
  std::string name = ::testing::TempDir() + "tern-bus-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  folder_ = name;
  std::ofstream(folder_ + "/bus.conf")
      << "<busconfig><listen>unix:path=" << folder_ << "/bus</listen>"
      << "<auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\"/>"
      << "<allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>";
  bus_ = std::make_unique<Child>(std::vector<std::string>{"dbus-daemon", "--nofork", "--nosyslog",
                                                          "--print-address=1", "--config-file",
                                                          folder_ + "/bus.conf"});
  const std::string address = bus_->read_line(kPatienceMs);
  EXPECT_NE(address, "") << "no dbus-daemon: scripts/install-deps installs it";
  ::setenv(kAddress, address.c_str(), 1);
  services_ = std::make_unique<Child>(std::vector<std::string>{STAND_IN_SERVICES});
  EXPECT_EQ(heard(kPatienceMs), "ready");
}

StandInBus::~StandInBus() {
  services_.reset();
  bus_.reset();
  ::unsetenv(kAddress);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void StandInBus::end() { bus_->end(); }

void StandInBus::say(const std::string& order) {
  services_->write(order);
  std::string line;
  while (!(line = services_->read_line(kPatienceMs)).empty() && line != "done") {
    heard_.push_back(line);
  }
  EXPECT_EQ(line, "done") << "the services do not answer: " << order;
}

std::string StandInBus::heard(int patience_ms) {
  if (heard_.empty()) return services_->read_line(patience_ms);
  std::string line = std::move(heard_.front());
  heard_.pop_front();
  return line;
}

}  // namespace bus::testing
