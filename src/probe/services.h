// What the services of a desktop say (bus/services.h), judged. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"

namespace probe {

// NetworkManager's NMMetered: 1 yes, 3 guessed yes; 0 unknown, 2 no, 4 guessed no. Others are no.
[[nodiscard]] bool is_metered(std::uint32_t said);

// The login manager's InhibitDelayMaxUSec, of which there are days at most.
[[nodiscard]] base::Duration inhibit_delay(std::uint64_t micros);

// A session of the login manager (org.freedesktop.login1.Session).
struct DesktopSession {
  std::string type;           // "x11", "wayland", "tty", ...
  std::string session_class;  // "user", "greeter", ...
  bool remote = false;
  bool active = false;  // in the foreground
  bool idle = false;    // as its desktop said last
  bool locked = false;
  std::uint64_t hinted_micros = 0;  // when it did; 0: never
};
inline constexpr std::size_t kSessionWordMax = 64;  // of type and class; the rest is cut off

// Somebody works at it: a desktop in the foreground of this machine, not locked, that says that it
// is not idle. One that has never said anything may belong to a desktop that never does, so it says
// nothing; nor does a text console, whose terminal shows itself (probe/terminals.h).
[[nodiscard]] bool somebody_works(const DesktopSession& session);

}  // namespace probe
