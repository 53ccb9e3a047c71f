// What a process does on which signal, from its leader's core image (CRIU's images/core.proto).
#pragma once

#include <cstdint>
#include <map>

#include "base/bytes.h"

namespace transfer {

struct SignalAction {
  std::uint64_t handler = 0;  // SIG_DFL (0), SIG_IGN (1) or an address
  std::uint64_t flags = 0;    // of sigaction(2)
};

// By signal, of the task's part of a core that was checked. Empty: the image does not tell (older
// CRIU writes another one); that is no list of defaults.
[[nodiscard]] std::map<int, SignalAction> signal_actions(base::ByteView task);

}  // namespace transfer
