// What a job is called that nobody named, and what its description says of its command.
#pragma once

#include <string>
#include <vector>

#include "control/request.h"
#include "node/limits.h"

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

// The first arguments, whole ones, as many as a description may hold (node::JobSpec); of a first
// one that is too long, its beginning. So the longest commands are said in part; a description that
// said more could not be read again.
inline std::vector<std::string> described_command(const std::vector<std::string>& argv) {
  std::vector<std::string> said;
  std::size_t total = 0;
  for (const std::string& argument : argv) {
    total += argument.size();
    if (said.size() == node::kArgumentsMax || total > node::kArgumentsSizeMax) break;
    said.push_back(argument);
  }
  if (said.empty() && !argv.empty())
    said.push_back(argv.front().substr(0, node::kArgumentsSizeMax));
  return said;
}

}  // namespace ternd
