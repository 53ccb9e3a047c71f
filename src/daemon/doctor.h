// `tern doctor`: whether a daemon that is started here and now could run jobs and move them. Looks
// by doing what the daemon would do, and leaves nothing behind. Needs no daemon, and asks none.
#pragma once

#include <vector>

#include "control/daemon_options.h"
#include "control/doctor.h"

namespace ternd {

// Blocking, up to some seconds (CRIU's own check, a bus that does not answer). `options` as the
// daemon would have them.
[[nodiscard]] std::vector<control::Check> examine_machine(const control::DaemonOptions& options);

}  // namespace ternd
