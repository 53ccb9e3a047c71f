#include "control/paths.h"

#include "control/limits.h"

namespace control {
namespace {

bool is_absolute(const std::string& path) { return path.starts_with('/'); }

std::string without_end_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

base::Result<std::string> user_state_dir(const Environment& environment) {
  if (is_absolute(environment.xdg_state_home)) {
    return without_end_slashes(environment.xdg_state_home) + "/tern";
  }
  if (is_absolute(environment.home)) {
    return without_end_slashes(environment.home) + "/.local/state/tern";
  }
  return base::fail(base::Code::kInvalid,
                    "neither HOME nor XDG_STATE_HOME names a folder; use --state DIR");
}

}  // namespace

base::Result<Paths> find_paths(const std::optional<std::string>& state,
                               const Environment& environment) {
  Paths paths;
  if (state) {
    if (state->empty() || state->find('\0') != std::string::npos) {
      return base::fail(base::Code::kInvalid, "--state needs the path of a folder");
    }
    if (!is_absolute(*state) && !is_absolute(environment.current_dir)) {
      return base::fail(base::Code::kInvalid, "the current folder has no path; use --state /DIR");
    }
    paths.state_given = true;
    paths.state_dir =
        without_end_slashes(is_absolute(*state) ? *state : environment.current_dir + "/" + *state);
    paths.socket = paths.state_dir + "/" + kSocketName;
  } else if (environment.uid == 0) {
    paths.state_dir = kSystemStateDir;
    paths.socket = kSystemSocket;
  } else {
    auto dir = user_state_dir(environment);
    if (!dir) return dir.error();
    paths.state_dir = std::move(*dir);
    paths.socket = is_absolute(environment.xdg_runtime_dir)
                       ? without_end_slashes(environment.xdg_runtime_dir) + "/tern/" + kSocketName
                       : paths.state_dir + "/" + kSocketName;
    paths.system_socket = kSystemSocket;
  }
  // Room for the files within.
  if (paths.state_dir.size() + kNameBytesMax >= kPathBytesMax ||
      paths.socket.size() >= kPathBytesMax) {
    return base::fail(base::Code::kInvalid, "the path of the state folder is too long");
  }
  return paths;
}

SplitPath split_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace control
