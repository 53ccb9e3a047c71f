#include "sim/meeting.h"

#include <algorithm>
#include <numeric>

#include "sim/world.h"

namespace sim {

bool can_be_asked(const World& world, std::uint32_t host) {
  return world.node(host) != nullptr && !world.is_off(host) && !world.is_clone(host) &&
         !world.promises().excused_host(host);
}

Meeting::Meeting(const World& world) : groups_(world.hosts()) {
  if (world.hosts() > kWatchedHostsMax) return;
  std::iota(groups_.begin(), groups_.end(), 0U);
  for (std::uint32_t a = 0; a < world.hosts(); ++a) {
    for (std::uint32_t b = 0; b < world.hosts(); ++b) {
      const bool asks = can_be_asked(world, a) && can_be_asked(world, b);
      if (a == b || !asks || !world.knows_where(a, b)) continue;
      const std::uint32_t low = std::min(groups_[a], groups_[b]);
      const std::uint32_t high = std::max(groups_[a], groups_[b]);
      for (std::uint32_t& group : groups_) group = group == high ? low : group;
    }
  }
}

}  // namespace sim
