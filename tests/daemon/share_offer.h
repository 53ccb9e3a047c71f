// One file that alice offers.
#pragma once

#include "transfer/share_wire.h"

namespace ternd::testing {

inline transfer::ShareOffer offer_of(std::uint8_t id, std::uint64_t bytes = 5) {
  transfer::ShareOffer offer;
  offer.id = transfer::ShareId{{id}};
  offer.user = "alice";
  offer.label = "notes.txt";
  offer.tops = offer.entries = 1;
  offer.bytes = offer.disk_bytes = bytes;
  return offer;
}

}  // namespace ternd::testing
