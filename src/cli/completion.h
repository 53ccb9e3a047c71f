// Completion scripts, made from the commands themselves so that they cannot disagree with them.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace cli {

// For "bash", "zsh" or "fish"; empty for any other shell.
[[nodiscard]] std::string completion_script(const CLI::App& root, const std::string& shell);

}  // namespace cli
