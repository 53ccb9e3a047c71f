#include "cli/own_terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>

namespace cli {
namespace {

// For a handler, which finds nothing else.
termios before;
volatile sig_atomic_t raw_fd = -1;

constexpr int kFatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSYS, SIGXCPU};

void on_fatal(int number) {
  if (raw_fd >= 0) (void)::tcsetattr(raw_fd, TCSANOW, &before);
  (void)::signal(number, SIG_DFL);
  (void)::raise(number);
}

// A terminal that is not ours any more may not stop us when we give it back.
void set(int fd, const termios& how) {
  sigset_t one;
  sigset_t was;
  ::sigemptyset(&one);
  ::sigaddset(&one, SIGTTOU);
  (void)::pthread_sigmask(SIG_BLOCK, &one, &was);
  (void)::tcsetattr(fd, TCSADRAIN, &how);
  (void)::pthread_sigmask(SIG_SETMASK, &was, nullptr);
}

}  // namespace

bool in_foreground(int fd) { return ::tcgetpgrp(fd) == ::getpgrp(); }

std::optional<control::InputWindow> window_of(int fd) {
  winsize size = {};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return std::nullopt;
  return control::InputWindow{size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};
}

void OwnTerminal::take() {
  if (taken_ || !in_foreground(fd_)) return;
  if (::tcgetattr(fd_, &before) != 0) return;
  termios raw = before;
  ::cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  raw_fd = fd_;
  struct sigaction action = {};
  action.sa_handler = on_fatal;
  for (const int number : kFatal) (void)::sigaction(number, &action, nullptr);
  set(fd_, raw);
  taken_ = true;
}

void OwnTerminal::give_back() {
  if (!taken_) return;
  set(fd_, before);
  raw_fd = -1;
  for (const int number : kFatal) (void)::signal(number, SIG_DFL);
  taken_ = false;
}

void OwnTerminal::suspend() {
  give_back();
  (void)::kill(::getpid(), SIGSTOP);
}

}  // namespace cli
