// Scenarios as text (the lines are told in sim/scenario.h): read from what people and shrinking
// write, written so that it reads back as the same scenario.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sim/scenario.h"

namespace sim {

inline constexpr std::size_t kScenarioSizeMax = 4 * 1024 * 1024;  // bytes; larger is refused
inline constexpr std::size_t kScenarioLinesMax = 100'000;

// kInvalid: "line 7: ..." and what would be right.
[[nodiscard]] base::Result<Scenario> parse_scenario(std::string_view text);
[[nodiscard]] std::string write_scenario(const Scenario& scenario);

}  // namespace sim
