// Finds the CRIU to use. 4.2 is the first that can dump inet sockets on current kernels; Debian
// 12's own 3.17 cannot dump anything there (scripts/install-criu fetches one that works).
//
// Looked at in this order: the given path (then nothing else), `criu` on PATH if it is 4.2 or
// newer, /opt/tern/criu/criu, $XDG_DATA_HOME (or ~/.local/share)/tern/criu/criu. Blocking, up to
// some seconds: at the daemon's start, off the loop.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace criu {

struct Version {
  int major = 0;
  int minor = 0;
  int patch = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
  [[nodiscard]] std::string text() const;
};
inline constexpr Version kVersionMin{4, 2, 0};

struct Program {
  std::string path;
  Version version;
};

// Of `criu --version`: a line "Version: 4.2.1" (a "v" before the number is fine).
[[nodiscard]] base::Result<Version> parse_version(std::string_view text);

struct Search {
  std::string explicit_path;  // a setting; empty: search
  std::string path;           // $PATH
  std::string data_home;      // $XDG_DATA_HOME or $HOME/.local/share; empty: not looked at
};
[[nodiscard]] Search search_from_environment();

// kUnsupported: none, or all too old or broken; the sentence says which and names the next step.
[[nodiscard]] base::Result<Program> find_program(const Search& search);
// CRIU's own `check` of this kernel and our permissions, a fraction of a second. kUnsupported with
// CRIU's words.
base::Status check_program(const Program& program);

}  // namespace criu
