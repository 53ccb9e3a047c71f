// What progress looks like on a terminal, and on one that cannot clear a line (cli/screen.h).
#include "cli/screen.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

namespace cli {
namespace {

// What a terminal of that kind is sent for two sentences of progress and a notice.
std::string shown(const char* term) {
  int master = -1;
  int slave = -1;
  winsize size{24, 60, 0, 0};
  if (::openpty(&master, &slave, nullptr, nullptr, &size) != 0) std::abort();
  const char* const before = std::getenv("TERM");
  const std::string kept = before == nullptr ? "" : before;
  term == nullptr ? ::unsetenv("TERM") : ::setenv("TERM", term, 1);
  Screen screen(slave);
  before == nullptr ? ::unsetenv("TERM") : ::setenv("TERM", kept.c_str(), 1);
  EXPECT_TRUE(screen.is_terminal());
  screen.progress("one");
  screen.progress("two");
  screen.notice("done");
  ::close(slave);
  std::string all;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(master, buffer.data(), buffer.size())) > 0;) {
    all.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(master);
  return all;
}

TEST(Screen, ProgressIsOneLineThatIsDrawnAnew) {
  EXPECT_EQ(shown("xterm"), "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Ktern: done\r\n");
}

TEST(Screen, ADumbTerminalGetsPlainLines) {
  for (const char* term : {"dumb", static_cast<const char*>(nullptr)}) {
    EXPECT_EQ(shown(term), "tern: one\r\ntern: two\r\ntern: done\r\n");
  }
}

}  // namespace
}  // namespace cli
