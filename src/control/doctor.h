// What `tern doctor` finds: one line for each thing that migration and throttling need of a
// machine.
#pragma once

#include <string>
#include <vector>

namespace control {

struct Check {
  std::string name;    // "CRIU"
  bool ok = false;     // false: something does not work without it
  std::string detail;  // what there is, or what is missing and what that means
  std::string mend;    // the command that mends it; empty where there is none
  bool note = false;   // with ok: it is not there, and is missed by some machines only
};

// {"checks":[{"name","ok","detail","mend","note"}]}; "note" only where it is true
[[nodiscard]] std::string checks_to_json(const std::vector<Check>& checks);

}  // namespace control
