// The coordinator's plan: which of SOURCE's jobs go to SINK, in which order (design.md §2, §3).
//
// Highest SCUM first, each with room on SINK and never worse, projected after the moves before it,
// until SOURCE is no longer above 0.8; at most kMovesPerTriadMax.
#pragma once

#include <vector>

#include "balance/wire.h"

namespace balance {

[[nodiscard]] std::vector<JobId> plan_moves(const wire::Offer& offer, const wire::Room& room);

}  // namespace balance
