// Standard output and standard error as they are: a terminal with a width and perhaps colours, or
// a pipe or file. Data goes to the one, everything else to the other.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/table.h"

namespace cli {

class Screen {
 public:
  explicit Screen(int fd);  // borrowed; looks at NO_COLOR and TERM once
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_terminal() const { return terminal_; }
  [[nodiscard]] bool redraws() const { return redraws_; }  // a terminal that can clear a line
  [[nodiscard]] TableStyle style() const;                  // width as it is now
  // All of it. Where nobody reads any more, ends the process as SIGPIPE does. Other trouble (a
  // full disk) is remembered for status(), so that no command can end well after it.
  void write(std::string_view text);
  // One sentence from us: "tern: ...". Escaped, on its own line.
  void notice(std::string_view sentence);
  // Data as JSON on one line: exactly as it came, but for what a terminal would act on.
  void json(std::string_view json);
  // A sentence that the next one replaces where this redraws.
  void progress(std::string_view sentence);
  void end_progress();
  [[nodiscard]] const base::Status& status() const { return status_; }

 private:
  int fd_;
  bool terminal_;
  bool redraws_ = false;
  bool colour_;
  bool progress_shown_ = false;
  base::Status status_;
};

// Ends the process as if SIGPIPE had, whatever it was set to.
[[noreturn]] void die_of_broken_pipe();

}  // namespace cli
