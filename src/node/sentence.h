// What the mesh is doing, in one sentence, and why nothing happens when nothing happens (`tern
// status`). Pure: of what one node knows at one moment. What keeps a PLUS node's jobs only that
// node knows; others ask it (node/job_wire.h, why query).
//
// The first that holds:
//   a move is under way      "nas moves encode to bob"; of others' only who with whom: "nas moves
//                            work to bob"
//   nobody else is live      "a mesh of one: nothing can move"; where others are known: "no other
//                            node is alive: nothing can move"
//   some are PLUS            what keeps the first of them, or what it is about to do
//   none is                  "all nodes are between 0.3 and 0.8: nothing to move"
//
// and after it what rests here: "; a job here waits to be woken: nothing is woken while S is 0";
// which guests this node holds: "; 2 guests here are paused: its owner is active", or
// sends away: "; a guest here is to leave: it is about to sleep".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "balance/event.h"
#include "base/ids.h"
#include "base/time.h"

namespace node {

struct Picture {
  struct Node {
    std::string name;
    balance::NodeLoad load;
    std::optional<base::TriadId> triad;  // of its seat
    balance::Seat seat = balance::Seat::kCoordinator;
  };
  struct Move {  // known here, as one of its three
    std::string job;
    std::string from;
    std::string to;
  };
  base::NodeId self;
  base::Time now{};
  std::vector<Node> nodes;  // the view, this node included
  balance::LocalState local;
  std::map<base::JobId, std::string> names;    // of local.jobs
  std::map<base::JobId, std::string> refused;  // why their last moves came to nothing, lately
  std::optional<Move> move;
  std::size_t paused = 0;  // guests here
  std::string paused_why;
  std::size_t slowed = 0;     // guests here, by the owner's policy
  std::string no_guests_why;  // the owner's policy, or a drain, refuses further ones
  std::size_t leaving = 0;    // jobs here, by the owner's policy
  bool leaving_own = false;   // those at home here too
  std::string leaving_why;
  std::map<base::NodeId, std::string> told;  // by PLUS nodes, of themselves
};

// Of this node: why its jobs stay, or what is about to move. Empty where it has nothing to shed.
[[nodiscard]] std::string why_nothing_moves(const Picture& picture);
[[nodiscard]] std::string mesh_sentence(const Picture& picture);

}  // namespace node
