// What `tern adopt`, and `tern migrate PID --dry-run`, show (control/report.h has the rules).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace control {

inline constexpr std::size_t kAdoptedProcessesMax = 512;  // in one report

// {"pid","command","job","name","processes":[{"pid","command"}],"notes":[...],"obstacles":[...],
//  "moving":[...]}
struct AdoptReport {
  std::int64_t pid = 0;
  std::string command;
  std::string job;  // its id; empty in a dry run
  std::string name;
  std::vector<std::pair<std::int64_t, std::string>> processes;  // the first is `pid`
  std::vector<std::string> notes;                               // what changes, and for whom
  std::vector<std::string> obstacles;                           // none: it is or can be adopted
  std::vector<std::string> moving;                              // what a move would meet now
};

[[nodiscard]] std::string to_json(const AdoptReport& report);
[[nodiscard]] base::Result<AdoptReport> parse_adopt(std::string_view json);

}  // namespace control
