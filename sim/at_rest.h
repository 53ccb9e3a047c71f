// What must be right when a mesh has come to rest, besides what sim/settled.h asks for.
//
//   name         promise
//   exit-told    home knows how each of its jobs ended, and has all of its output     design.md §8
//   home-knows   home knows where each of its jobs runs
//   starts       what a person started runs, or a reason was given
//   outcome      no copy stays held                                                   §4
//   acceptance   no acceptance outlives its patience                                  §3
//   forgets      of a job that is over no ownership record stays                      §4
//
// Between nodes that are up, to which no liar or forgetful store did anything.
#pragma once

#include "base/time.h"

namespace sim {

class World;

inline constexpr base::Duration kToldWithin = std::chrono::seconds(60);
inline constexpr base::Duration kAcceptanceMax = std::chrono::seconds(30);

// Legal when check_settled() is. Breaches go to the world's promises.
void check_at_rest(World& world);

}  // namespace sim
