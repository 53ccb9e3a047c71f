// What a run says: for people, for scripts (cli.md, `tern-sim run --json`) and for joining reports
// of many machines (one JSON object a line).
#pragma once

#include <string>

#include "sim/run.h"

namespace sim {

[[nodiscard]] std::string json_of(const Outcome& outcome);     // one line, no newline
[[nodiscard]] std::string summary_of(const Outcome& outcome);  // a few lines
// Seed, commit, promises, the last events of the nodes concerned, and the command that repeats it.
[[nodiscard]] std::string failure_of(const Outcome& outcome, const std::string& commit,
                                     const std::string& command);
[[nodiscard]] std::string fault_table(const FaultCounts& faults);

}  // namespace sim
