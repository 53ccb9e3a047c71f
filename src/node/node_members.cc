// Where the other members were seen, for the next start of this node.
#include <algorithm>

#include "node/limits.h"
#include "node/node.h"
#include "node/records.h"

namespace node {

void Node::remember_address(const gossip::NodeView& view) {
  if (view.id == self_ || view.state != gossip::State::kAlive) return;
  const base::Endpoint at =
      view.fields.addresses.empty() ? view.endpoint : view.fields.addresses.front();
  if (at.port == 0) return;
  const auto known = addresses_.find(view.id);
  if (known != addresses_.end() && known->second == at) return;
  if (known == addresses_.end() && addresses_.size() >= kAddressesKeptMax) return;
  addresses_[view.id] = at;
  persist({{address_key(view.id), base::to_bytes(at.packed())}}, 0, 0);
}

// Those that follow this node in the order of ids: not everybody asks the same ones.
void Node::seek_remembered() {
  if (addresses_.empty()) return;
  auto at = addresses_.lower_bound(self_);
  for (std::size_t i = 0; i < std::min(addresses_.size(), kAddressesTriedMax); ++i) {
    if (at == addresses_.end()) at = addresses_.begin();
    to_gossip(gossip::PeerSeed{at->second});
    ++at;
  }
}

}  // namespace node
