// A daemon in the background, for those who have no service manager to ask.
#pragma once

#include "cli/context.h"
#include "control/daemon_options.h"

namespace cli {

struct Started {
  bool started = false;  // false: one answered already
  control::Ping ping;
};

// Makes sure that a daemon answers: asks; if none does, starts this program's own `daemon` in a
// session of its own with its log in STATE/tern.log, and waits until it answers or ends. The
// system's daemon counts for whoever is not root and never had a node of her own (STATE is absent).
[[nodiscard]] base::Result<Started> ensure_daemon(Context& context,
                                                  const control::DaemonOptions& options);

}  // namespace cli
