// Which of the services that tern asks are on the system bus here, for `tern doctor`.
#pragma once

#include <string>

namespace bus {

struct Presence {
  std::string no_bus;    // why there is none to be spoken to; empty: there is one
  bool login = false;    // org.freedesktop.login1
  bool network = false;  // org.freedesktop.NetworkManager
};

// Blocking, at most two seconds where the bus does not answer or lets nobody in. Starts no service.
[[nodiscard]] Presence find_services();

}  // namespace bus
