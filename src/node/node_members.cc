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

// ---- the others of a triad, which views that are samples may not show

std::vector<Whereabouts> Node::whereabouts_of(const std::vector<base::NodeId>& nodes) const {
  std::vector<Whereabouts> out;
  for (const base::NodeId& node : nodes) {
    const auto at = node == self_ ? config_.addresses : addresses_of(node);
    if (!at.empty() && out.size() < kMeetsMax) out.push_back({node, at.front()});
  }
  return out;
}

// Kept over a restart, since the others may not know by then where this node is. A wrong one leads
// to nobody: who answers there has to be that node.
void Node::meet(const Whereabouts& other) {
  if (other.node == self_ || other.at.port == 0 || gossip_->find(other.node)) return;
  if (std::find(met_.begin(), met_.end(), other) != met_.end()) return;
  std::erase_if(met_, [&](const Whereabouts& known) { return known.node == other.node; });
  met_.push_back(other);
  std::vector<balance::RecordChange> changes = {
      {met_key(other.node), base::to_bytes(other.at.packed())}};
  if (met_.size() > kMetKeptMax) {
    changes.push_back({met_key(met_.front().node), std::nullopt});
    met_.pop_front();
  }
  persist(std::move(changes), 0, 0);
}

std::vector<base::Endpoint> Node::addresses_of(const base::NodeId& node) const {
  std::vector<base::Endpoint> addresses;
  const auto add = [&addresses](const base::Endpoint& at) {
    const bool known = std::find(addresses.begin(), addresses.end(), at) != addresses.end();
    if (at.port != 0 && !known) addresses.push_back(at);
  };
  // What a node says of itself first: what others saw may be a translated or shared address.
  if (const auto view = gossip_->find(node)) {
    addresses = view->fields.addresses;
    add(view->endpoint);
    return addresses;
  }
  if (const auto met = gossip_->met(node)) add(*met);
  for (const Whereabouts& other : met_) {
    if (other.node == node) add(other.at);
  }
  for (const auto& [id, job] : jobs_->all()) {
    if (job.spec.home == node) add(job.spec.home_at);
  }
  return addresses;
}

}  // namespace node
