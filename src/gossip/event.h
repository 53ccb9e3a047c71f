// What goes into gossip and what comes out.
//
// The host performs actions in order. A Contact asks for a first-contact handshake over TCP with
// that address; its success comes back as MemberIntroduced on both sides, its failure as nothing.
// `endpoint` of MemberIntroduced is where the member takes datagrams: for the side that accepted,
// what the peer said of itself, or port 0 if it said nothing. In Started.fields.addresses are the
// addresses under which others reach this node; without any, others learn one from its datagrams.
#pragma once

#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/ids.h"
#include "base/time.h"
#include "gossip/digest.h"
#include "gossip/wire.h"

namespace gossip {

// ---- events
struct Started {                  // first and once
  base::Incarnation incarnation;  // counted by the store, above all former ones
  base::WallTime wall{};
  DigestFields fields;
};
struct LocalDigest {  // how this node is now; gossip decides whether that is worth telling
  DigestFields fields;
};
struct Datagram {
  base::Endpoint from;
  base::ByteView bytes;  // borrowed for the step
};
struct PortRefused {  // an ICMP error for a datagram sent there
  base::Endpoint endpoint;
};
struct MemberIntroduced {
  base::Bytes chain;
  base::Endpoint endpoint;
  bool called = true;  // this node opened the connection
};
struct PeerSeed {  // --peer, an address from a ticket, or one that was known before a restart
  base::Endpoint endpoint;
};
struct WallClock {  // at times, since wall clocks are set; certificates expire by it
  base::WallTime wall{};
};
struct Leave {};  // says so to some members at once; nothing is told afterwards
struct Tick {};
using Event = std::variant<Started, LocalDigest, Datagram, PortRefused, MemberIntroduced, PeerSeed,
                           WallClock, Leave, Tick>;

// ---- actions
struct SendDatagram {
  base::Endpoint to;
  base::Bytes bytes;
};
struct Contact {
  base::Endpoint endpoint;
};
struct NodeUp {
  base::NodeId node;
};
struct NodeSuspect {
  base::NodeId node;
};
struct NodeDead {
  base::NodeId node;
};
struct NodeLeft {
  base::NodeId node;
};
struct ViewChanged {                  // once per step, after the rest
  std::vector<base::NodeId> changed;  // in the view; this node itself may be among them
  std::vector<base::NodeId> gone;     // no more in it
};
struct MemberLearned {  // to be kept in the roster file
  base::NodeId node;
  base::Bytes chain;
};
struct MemberMet {  // a handshake with one whom the view does not show alive there
  base::NodeId node;
  base::Endpoint at;
};
struct MemberForgotten {  // out of the roster, to make place
  base::NodeId node;
};
struct IncarnationRaised {  // the store counted less than the mesh remembers: count from here
  base::Incarnation incarnation;
};
struct IdentityConflict {};  // another node runs with this identity; this one has gone silent
using Action =
    std::variant<SendDatagram, Contact, NodeUp, NodeSuspect, NodeDead, NodeLeft, ViewChanged,
                 MemberLearned, MemberMet, MemberForgotten, IncarnationRaised, IdentityConflict>;
using Actions = std::vector<Action>;

// ---- the view
enum class Heard : std::uint8_t { kSelf, kDirect, kRelayed };
struct NodeView {
  base::NodeId id;
  std::string name;
  State state = State::kAlive;
  bool readable = true;  // false: a newer version's digest, `fields` are defaults
  DigestFields fields;
  base::Incarnation incarnation;
  base::Sequence sequence;
  base::Endpoint endpoint;  // port 0: not known
  Heard heard = Heard::kRelayed;
  base::Time last_heard{};   // when something new of it came by whatever way
  base::Time known_since{};  // in the view without a break, to an eighth of a second
};

}  // namespace gossip
