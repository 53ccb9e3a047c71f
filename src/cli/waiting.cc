#include "cli/waiting.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <array>

#include "control/paths.h"

namespace cli {
namespace {
constexpr std::chrono::milliseconds kRetryDelayMax{500};
}

SignalWatch::SignalWatch(bool terminal) {
  sigset_t set;
  sigemptyset(&set);
  if (terminal) {
    for (const int signal : {SIGWINCH, SIGTSTP, SIGCONT}) sigaddset(&set, signal);
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    const bool ignored = sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&set, signal);
  }
  (void)sigprocmask(SIG_BLOCK, &set, &before_);
  fd_ = machine::Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

SignalWatch::~SignalWatch() { (void)sigprocmask(SIG_SETMASK, &before_, nullptr); }

std::optional<int> SignalWatch::take() {
  signalfd_siginfo info{};
  const ssize_t got = machine::retry([&] { return ::read(fd_.get(), &info, sizeof info); });
  if (got != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

SocketRetry::SocketRetry(const std::string& socket_path)
    : dir_(control::split_path(socket_path).dir),
      inotify_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  (void)inotify_add_watch(inotify_.get(), dir_.c_str(), IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
}

bool SocketRetry::wait(int other_fd) {
  std::array<pollfd, 2> fds = {pollfd{inotify_.get(), POLLIN, 0}, pollfd{other_fd, POLLIN, 0}};
  const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(delay_.count()));
  delay_ = std::min(delay_ * 2, kRetryDelayMax);
  if (ready > 0 && fds[0].revents != 0) {
    std::array<char, 4096> events;
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
    delay_ = std::chrono::milliseconds(10);  // bind was seen; listen follows at once
  }
  return ready > 0 && fds[1].revents != 0;
}

}  // namespace cli
