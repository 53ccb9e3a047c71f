#include "cli/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "cli/text.h"

namespace cli {

void die_of_broken_pipe() {
  (void)std::signal(SIGPIPE, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  (void)sigprocmask(SIG_UNBLOCK, &set, nullptr);
  (void)raise(SIGPIPE);
  _exit(128 + SIGPIPE);
}

Screen::Screen(int fd) : fd_(fd), terminal_(isatty(fd) == 1) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  // no-color.org: present and not empty, whatever its value.
  const bool wanted = no_colour == nullptr || *no_colour == '\0';
  redraws_ = terminal_ && term != nullptr && std::string_view(term) != "dumb";
  colour_ = redraws_ && wanted;
}

TableStyle Screen::style() const {
  winsize size{};
  const bool known = terminal_ && ioctl(fd_, TIOCGWINSZ, &size) == 0;
  return {known ? std::size_t{size.ws_col} : 0, colour_};
}

void Screen::write(std::string_view text) {
  while (!text.empty() && status_.ok()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
      die_of_broken_pipe();
    } else if (errno == EAGAIN) {
      pollfd wait{fd_, POLLOUT, 0};
      (void)poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      status_ = base::fail(base::Code::kIo, std::string("cannot write: ") + strerror(errno));
    }
  }
}

void Screen::notice(std::string_view sentence) {
  end_progress();
  write("tern: " + escape_line(sentence) + "\n");
}

void Screen::json(std::string_view json) {
  write((terminal_ ? escape_json(json) : std::string(json)) + "\n");
}

void Screen::progress(std::string_view sentence) {
  if (!redraws_) return notice(sentence);
  const std::size_t width = style().width;
  const std::string shown = escape_line(sentence);
  write("\r\x1b[K" + (width > 1 ? clip(shown, width - 1) : shown));
  progress_shown_ = true;
}

void Screen::end_progress() {
  if (progress_shown_) write("\r\x1b[K");
  progress_shown_ = false;
}

}  // namespace cli
