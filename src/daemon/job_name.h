// What a job is called that nobody named.
#pragma once

#include <string>
#include <vector>

#include "control/request.h"

namespace ternd {

// Its program's name, as far as that can be a job's; else "job". `argv` is not empty.
inline std::string default_name(const std::vector<std::string>& argv) {
  std::string name = argv.front().substr(argv.front().rfind('/') + 1);
  std::string clean;
  for (const char c : name.substr(0, 32)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (!clean.empty() && (c == '-' || c == '_' || c == '.'));
    if (fine) clean.push_back(c);
  }
  return control::check_name(clean) ? clean : "job";
}

}  // namespace ternd
