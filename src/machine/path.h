// Absolute paths as the files that travel have them: without an end slash, never "/" itself.
#pragma once

#include <string>

#include "base/result.h"

namespace machine {

[[nodiscard]] inline std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}
[[nodiscard]] inline std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}
// The same error, with the path that it is about.
[[nodiscard]] inline base::Error about(const std::string& path, const base::Error& error) {
  return base::fail(error.code, path + ": " + error.detail);
}

}  // namespace machine
