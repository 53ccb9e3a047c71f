// Who can find whom: a node that moved while it was cut off is found by those whom it has reached
// since, or who have not moved and whose addresses it has. If all have moved, nobody is left to ask
// (a mesh on one LAN would ask by multicast, which this world does not have).
#pragma once

#include <cstdint>
#include <vector>

namespace sim {

class World;

// Up, in a life of its own, and nothing that a liar, a clone or a forgetful store did concerns it.
[[nodiscard]] bool can_be_asked(const World& world, std::uint32_t host);
// Which hosts find each other, directly or through others who can be asked. In worlds of more than
// kWatchedHostsMax hosts all do.
class Meeting {
 public:
  Meeting() = default;  // nobody asks
  explicit Meeting(const World& world);
  [[nodiscard]] bool finds(std::uint32_t host, std::uint32_t other) const {
    return groups_[host] == groups_[other];
  }

 private:
  std::vector<std::uint32_t> groups_;  // by host: the lowest one of its group
};

}  // namespace sim
