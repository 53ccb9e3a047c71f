#include "probe/services.h"

#include <algorithm>

namespace probe {

bool is_metered(std::uint32_t said) { return said == 1 || said == 3; }

base::Duration inhibit_delay(std::uint64_t micros) {
  constexpr base::Duration kMax = std::chrono::hours(24);
  return base::Duration(
      static_cast<std::int64_t>(std::min(micros, static_cast<std::uint64_t>(kMax.count()))));
}

bool somebody_works(const DesktopSession& session) {
  const bool graphical =
      session.type == "x11" || session.type == "wayland" || session.type == "mir";
  return graphical && session.session_class == "user" && !session.remote && session.active &&
         !session.idle && !session.locked && session.hinted_micros != 0;
}

}  // namespace probe
