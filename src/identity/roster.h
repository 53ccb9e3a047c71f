// The members that a node knows, by their certificates. Shared by gossip (whose datagrams are
// taken) and node (whom a connection belongs to).
//
// Bounded by kRosterMax; when full, a new member is refused with kFull until one is forgotten, and
// known ones are still renewed. Of two certificates for one node the one with the later
// (not before, serial) counts, so an old chain that turns up again changes nothing. Expiry is
// judged at learn() and by expired(), not by find().
//
// Stored form: array [version 1, array of chains, array of revocations]. Revocations are planned
// (design.md §6, exchanged before anything else) and not built: the array must be empty, and a
// version that fills it has another number, so that none is ever lost by reading it here.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/id_map.h"
#include "identity/certificate.h"

namespace identity {

class Roster {
 public:
  explicit Roster(const base::crypto::SignPublic& root);

  enum class Learned { kNew, kRenewed, kKnown };
  // Verifies and keeps. Failures as verify(), and kFull.
  [[nodiscard]] base::Result<Learned> learn(base::ByteView chain, base::WallTime now);
  // Keeps what the caller has just verified with root(). Failure: kFull.
  [[nodiscard]] base::Result<Learned> take(std::shared_ptr<const Certificate> certificate);
  void forget(const base::NodeId& id);

  // Null when unknown. Valid until the next learn(), take() or forget() of that node.
  [[nodiscard]] const Certificate* find(const base::NodeId& id) const;
  // The first member whose id begins with these bytes and that `fits` (a datagram names its sender
  // by a prefix); null when there is none.
  [[nodiscard]] const Certificate* find_prefix(
      base::ByteView prefix, const std::function<bool(const Certificate&)>& fits) const;
  [[nodiscard]] const std::vector<base::NodeId>& ids() const { return members_.ids(); }  // ordered
  [[nodiscard]] std::vector<base::NodeId> expired(base::WallTime now) const;
  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] const base::crypto::SignPublic& root() const { return root_; }
  [[nodiscard]] const base::MeshId& mesh() const { return mesh_; }

  [[nodiscard]] base::Bytes encode() const;
  // Chains that no longer hold (expired) are left out; a damaged file is an error.
  [[nodiscard]] static base::Result<Roster> decode(base::ByteView stored,
                                                   const base::crypto::SignPublic& root,
                                                   base::WallTime now);

 private:
  base::crypto::SignPublic root_;
  base::MeshId mesh_;
  base::NodeMap<std::shared_ptr<const Certificate>> members_;
};

}  // namespace identity
