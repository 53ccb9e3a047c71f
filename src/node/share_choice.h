// Whom to ask to take files (design.md §7): "the least loaded peer that accepts".
#pragma once

#include <string>
#include <vector>

#include "node/node.h"

namespace node {

// Live peers that are idle, in the order in which they are asked: MINUS ones first, then ERGODIC
// ones, the least effective ratio first in each; PLUS nodes have work enough and are not asked.
[[nodiscard]] std::vector<base::NodeId> share_candidates(const Status& status);
// Why those that are not among them are not: "desk is busy, nas does not answer"; of many the
// first few. Empty: all are.
[[nodiscard]] std::string why_not_asked(const Status& status);

}  // namespace node
