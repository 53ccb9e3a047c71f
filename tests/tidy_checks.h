// The checks of tidy_test.cc, apart from the tests so that they can be tried on planted files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace tidy {

struct File {
  std::string path;  // from the top of the checkout, '/' between parts
  std::string text;
};
struct Finding {
  std::string path;
  std::size_t line;
  std::string message;
};

// What a person wrote below `top`: sources, build files, scripts and docs; no recorded data.
[[nodiscard]] std::vector<File> read_tree(const std::filesystem::path& top);
// All findings, each with its fix. Lists (CMakeLists.txt) and headers are looked up among `files`.
[[nodiscard]] std::vector<Finding> check_tree(const std::vector<File>& files);
[[nodiscard]] const std::set<std::string>& modules();
[[nodiscard]] const std::set<std::string>& cores();

}  // namespace tidy
