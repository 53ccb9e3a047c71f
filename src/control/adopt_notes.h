// What adopting changes, and for whom, told before it begins: an event {"notes":[sentence...]} of
// adopt and migrate.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace control {

[[nodiscard]] std::string notes_to_json(const std::vector<std::string>& notes);
[[nodiscard]] base::Result<std::vector<std::string>> parse_notes(std::string_view json);

}  // namespace control
