// Where a node keeps its state and where its control socket is: the rules that the program and the
// daemon share. Pure: the environment is read by the command line program and passed in.
//
//   --state DIR given        state DIR               socket DIR/control.sock
//   root                     state /var/lib/tern     socket /run/tern/control.sock
//   anybody else             state $XDG_STATE_HOME/tern, or $HOME/.local/state/tern
//                            socket $XDG_RUNTIME_DIR/tern/control.sock, or, where the session has
//                            no runtime folder, beside the state
//
// Somebody else's commands that find no daemon there ask the system's: its socket is for everybody
// to connect to, and it tells them apart by their uid. Where a node of her own is started or
// stopped, only her own counts once it was made (cli/starter.h).
//
// As the XDG base directory specification asks, a variable that is no absolute path is ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace control {

inline constexpr char kSocketName[] = "control.sock";
inline constexpr char kLogName[] = "tern.log";
inline constexpr char kSettingsName[] = "tern.toml";
inline constexpr char kSystemStateDir[] = "/var/lib/tern";
inline constexpr char kSystemSocket[] = "/run/tern/control.sock";

struct Environment {  // empty: not set
  std::uint32_t uid = 0;
  std::string home;
  std::string xdg_state_home;
  std::string xdg_runtime_dir;
  std::string current_dir;  // absolute; relative --state folders are taken from here
  std::optional<std::uint32_t> sudo_uid = std::nullopt;  // root's only: of who used sudo
};

struct Paths {
  std::string state_dir;
  std::string socket;
  // --state was given: other processes have to be told too.
  bool state_given = false;
  // Where the system's daemon may answer when nobody does at `socket`; empty: nowhere else.
  std::string system_socket;
  [[nodiscard]] std::string log_file() const { return state_dir + "/" + kLogName; }
  [[nodiscard]] std::string settings_file() const { return state_dir + "/" + kSettingsName; }
};

// kInvalid where neither --state nor the environment names a folder, or a path is too long.
[[nodiscard]] base::Result<Paths> find_paths(const std::optional<std::string>& state,
                                             const Environment& environment);

struct SplitPath {
  std::string dir;
  std::string name;
};
[[nodiscard]] SplitPath split_path(const std::string& path);

}  // namespace control
