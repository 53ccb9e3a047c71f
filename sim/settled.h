// What must have come about some time after the faults stopped, for the nodes that are still there
// (TigerBeetle's second phase: liveness). What is outside stays broken.
//
//   name               promise                                                   within
//   views-agree        each sees each that can be found (sim/meeting.h) alive    kViewsAgree
//   outcome            every handover has one: nothing stays frozen or held      kOutcomes
//   seats-end          no seat is kept for ever                                  kOutcomes
//   sheds              nobody who could shed stays PLUS while a MINUS could take kLevel
//   memory             nobody who could shed stays short of memory               kLevel
//   throttle-holds     what a node says of a throttle is so on its machine       kPaceSettled
//   throttles          a hog on an ERGODIC node is throttled                     kLevel
//   throttle-lifted    on a MINUS node nothing stays throttled                   kLevel
//   goes-on            where no owner is, no guest is paused                     kLevel
//   owner-gone         nor throttled for her                                     kPaceSettled
//   stays-up           no daemon that should run is down
//
// A triad survives the loss of any one of its members; a pair that of neither (design.md §3). A run
// that is stuck is accepted only if a majority of the triad that decides is gone, or a member of it
// lied or forgot. A seat ends even if the sink of a committed move is gone; the frozen original
// then waits for that very sink, or for a person, which is accepted too; and a job whose home is
// gone may have nobody to tell its end to. Where there is a third node a pair does not form, so
// nobody sheds while each third one sits in a triad that cannot end.
#pragma once

#include "base/time.h"

namespace sim {

class World;

// All include restarts, elections and the longest patience of the agreement (balance/limits.h) that
// a fault may have started at its last moment.
inline constexpr base::Duration kViewsAgree = std::chrono::seconds(75);
inline constexpr base::Duration kOutcomes = std::chrono::seconds(150);
inline constexpr base::Duration kLevel = std::chrono::seconds(150);       // without any change
inline constexpr base::Duration kPaceSettled = std::chrono::seconds(90);  // a minute and samples
inline constexpr base::Duration kSettleMin = std::chrono::seconds(240);

// Legal when at least kViewsAgree has passed since World::end_faults(). Breaches go to the world's
// promises.
void check_views(World& world);
// All of it; legal after kSettleMin.
void check_settled(World& world);

}  // namespace sim
