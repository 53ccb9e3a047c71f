// Gossip: who is there and how they are (design.md §5). A core: no sockets, no clock, no entropy.
//
// What it does: keeps a bounded view of the mesh; spreads this node's signed digest when it changed
// and tells others' on; repairs what was missed; watches for silence; says when it needs a contact
// over TCP. Its parts: digest.h (what is told), envelope.h (how a datagram is trusted), wire.h (the
// messages), rumors.h (spreading at once), core_sync.cc (anti-entropy), detector.h (who is
// reachable), view.h (whom to know).
//
//   State of a node in the view:
//
//     alive --detector--> suspect --detector, or not renewed for kRenewedMax--> dead
//       ^------ heard -------'                                                  |
//       '---------------- heard directly, or a newer digest -------------------'
//     any --digest with `left`--> left --newer digest without it--> alive
//
// How a node that is new to another gets in: MemberIntroduced (after a handshake over TCP), or its
// certificate travels with its digest. Nothing of an origin is taken before its certificate was
// verified; nothing of a sender is read before his datagram's seal held under a certified key.
//
// Two nodes with one identity (a copied state folder): the mesh keeps whichever digest is newer;
// the one that learns that it is not the newest raises its incarnation at most kRaisesMax times
// (its store may merely have forgotten), then goes silent and says IdentityConflict once.
//
// Use: step() with Started first; perform the actions; call step(Tick) at next_deadline(), or at
// any time. Everything is repeatable from (Config, events).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/secret.h"
#include "gossip/counters.h"
#include "gossip/event.h"
#include "identity/keys.h"
#include "identity/roster.h"

namespace gossip {

struct Pool;

struct Config {
  identity::NodeKeys keys;
  base::Bytes chain;                     // this node's own certificate chain
  identity::Roster roster;               // what was learned in former runs
  Salt salt{};                           // random, new at each start
  base::Secret<32> secret;               // random, new at each start
  std::uint64_t seed = 0;                // for choices that need no secrecy
  std::shared_ptr<Pool> pool = nullptr;  // null: one of its own
};

class Core;

class Gossip {
 public:
  // `log` outlives this. A chain of one's own that does not hold is logged as an error at Started:
  // the others will not take this node.
  Gossip(Config config, base::Log& log);
  ~Gossip();
  Gossip(Gossip&&) noexcept;
  Gossip& operator=(Gossip&&) noexcept;

  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;  // a time that is past: at once

  // At most kViewMax + 1 nodes, this one among them (heard == kSelf), ordered by id.
  [[nodiscard]] std::vector<NodeView> view() const;
  [[nodiscard]] std::optional<NodeView> find(const base::NodeId& id) const;  // one of view()
  // Where a member is that is not in the view but was met lately (the last kIntroducedMax).
  [[nodiscard]] std::optional<base::Endpoint> met(const base::NodeId& id) const;
  [[nodiscard]] const identity::Roster& roster() const;
  [[nodiscard]] const Counters& counters() const;
  [[nodiscard]] base::NodeId self() const;
  [[nodiscard]] bool sampled() const;  // the view is a sample, the mesh is larger

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace gossip
