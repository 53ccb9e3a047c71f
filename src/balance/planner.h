// The coordinator's plan: which of SOURCE's jobs go to SINK, in which order (design.md §2, §3).
//
// Highest SCUM first, each with room on SINK and never worse, projected after the moves before it,
// until SOURCE is no longer above 0.8; at most kMovesPerTriadMax. For memory: what SOURCE offers,
// which is what it has to lose, the largest first, each with room on SINK. To wake: the offer's own
// order, oldest first, each with room on SINK; SOURCE loses no load by that.
//
// What is planned where. This is one triad's plan, on the loads that its two ends say they have and
// on those that its own earlier moves will make (virtual load): each job is in it once. Nothing is
// planned over several triads: SOURCE wishes again with the loads after this one, another triad may
// take a job at the same time only from another SOURCE, and a job that has moved stays for its
// residence. IOUs passed on between triads (design.md §3) are not made.
#pragma once

#include <vector>

#include "balance/wire.h"

namespace balance {

[[nodiscard]] std::vector<JobId> plan_moves(const wire::Offer& offer, const wire::Room& room,
                                            Cause cause = Cause::kShed);

}  // namespace balance
