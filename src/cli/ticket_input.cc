#include "cli/ticket_input.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/secret.h"
#include "cli/waiting.h"
#include "control/limits.h"

namespace cli {
namespace {

using base::Code;
using base::fail;

// The terminal shows nothing while this lives; signals wait for SignalWatch meanwhile, so that it
// is always put back.
class HiddenInput {
 public:
  HiddenInput() : changed_(tcgetattr(0, &before_) == 0) {
    if (!changed_) return;
    termios hidden = before_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    hidden.c_lflag |= ECHONL;
    changed_ = tcsetattr(0, TCSADRAIN, &hidden) == 0;
  }
  ~HiddenInput() {
    if (changed_) (void)tcsetattr(0, TCSADRAIN, &before_);
  }
  HiddenInput(const HiddenInput&) = delete;
  HiddenInput& operator=(const HiddenInput&) = delete;

 private:
  termios before_{};
  bool changed_;
};

struct Buffer {
  // Room for the longest ticket, what surrounds it, and the byte that shows it was too long.
  std::array<char, control::kTicketBytesMax + 64> bytes{};
  std::size_t size = 0;
  ~Buffer() { base::wipe({reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}); }
};

struct Found {
  std::string_view text;
  bool whole = false;  // its line has ended
};

// The first line that holds anything, without the blanks around it.
Found ticket_in(const Buffer& buffer) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::string_view rest(buffer.bytes.data(), buffer.size);
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  const std::size_t line_break = rest.find('\n');
  const std::string_view line = rest.substr(0, line_break);
  return {line.substr(0, line.find_last_not_of(kBlanks) + 1), line_break != rest.npos};
}

// Up to the first line break or the end of the input.
base::Status read_line(Buffer& buffer, SignalWatch& signals) {
  while (buffer.size < buffer.bytes.size()) {
    std::array<pollfd, 2> fds = {pollfd{0, POLLIN, 0}, pollfd{signals.fd(), POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return fail(Code::kStale, "no ticket was read");
    const ssize_t got =
        ::read(0, buffer.bytes.data() + buffer.size, buffer.bytes.size() - buffer.size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return machine::io_error("read the ticket");
    if (got == 0) return {};
    buffer.size += static_cast<std::size_t>(got);
    if (ticket_in(buffer).whole) return {};
  }
  return {};
}

}  // namespace

base::Result<control::SecretText> read_ticket(Screen& err) {
  SignalWatch signals;
  std::optional<HiddenInput> hidden;
  if (::isatty(0) == 1) {
    hidden.emplace();
    err.write("Ticket from tern invite (it is not shown): ");
  }
  Buffer buffer;
  const auto status = read_line(buffer, signals);
  if (!status) return status.error();
  const std::string_view text = ticket_in(buffer).text;
  if (text.empty()) return fail(Code::kInvalid, "there was no ticket to read");
  if (text.size() > control::kTicketBytesMax) return fail(Code::kInvalid, "that is no ticket");
  return control::SecretText(std::string(text));
}

}  // namespace cli
