// What CRIU's log says went wrong, in words for the person whose job it is.
//
// CRIU marks errors with "Error (file:line): text". The first one is the cause, later ones its
// echoes. Never the error: "Can't setup RLIMIT_NOFILE for self", which every run without
// CAP_SYS_RESOURCE logs and survives, and the closing "... FAILED".
#pragma once

#include <string>
#include <string_view>

namespace criu {

struct LogErrors {
  std::string message;   // a plain sentence without full stop; empty: the log names no error
  std::string original;  // the error lines as CRIU wrote them, at most kErrorTextMax bytes
};

// `log` may be cut anywhere and hold any bytes; what is not printable is replaced.
[[nodiscard]] LogErrors find_errors(std::string_view log);

}  // namespace criu
