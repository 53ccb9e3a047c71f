// Where the other members are: while a sample does not show them, and at the next start.
#include <algorithm>

#include "node/limits.h"
#include "node/node.h"
#include "node/records.h"

namespace node {

void Node::remember_address_of(const gossip::NodeView& view) {
  if (view.id == self_ || view.state != gossip::State::kAlive) return;
  const base::Endpoint* const known = addresses_.find(view.id);
  // Where it was met, and its digest may be from before it moved there.
  if (known != nullptr && *known == view.endpoint) return;
  remember_address(view.id,
                   view.fields.addresses.empty() ? view.endpoint : view.fields.addresses.front());
}

void Node::remember_address(const base::NodeId& node, const base::Endpoint& at) {
  if (at.port == 0) return;
  if (has_met(node)) meet({node, at});
  const base::Endpoint* const known = addresses_.find(node);
  if (known != nullptr && *known == at) return;
  if (known == nullptr && addresses_.size() >= kAddressesKeptMax) return;
  addresses_[node] = at;
  persist({{address_key(node), base::to_bytes(at.packed())}}, 0, 0);
}

// Those that follow this node in the order of ids: not everybody asks the same ones.
void Node::seek_remembered() {
  if (addresses_.empty()) return;
  const std::size_t first = addresses_.lower_bound(self_);
  for (std::size_t i = 0; i < std::min(addresses_.size(), kAddressesTriedMax); ++i) {
    to_gossip(gossip::PeerSeed{addresses_.value((first + i) % addresses_.size())});
  }
}

// ---- those with whom this node has to do, whom a view that is a sample may not show

std::vector<Whereabouts> Node::whereabouts_of(const std::vector<base::NodeId>& nodes) const {
  std::vector<Whereabouts> out;
  for (const base::NodeId& node : nodes) {
    const auto at = node == self_ ? config_.addresses : addresses_of(node);
    if (!at.empty() && out.size() < kMeetsMax) out.push_back({node, at.front()});
  }
  return out;
}

bool Node::has_met(const base::NodeId& node) const {
  return std::any_of(met_.begin(), met_.end(),
                     [&node](const Met& one) { return one.other.node == node; });
}

// What a node says of itself counts before what others tell. A wrong address leads to nobody: who
// answers there has to be that node.
void Node::meet(const Whereabouts& told) {
  Whereabouts other = told;
  if (gossip_->find(other.node)) {
    const auto known = addresses_of(other.node);
    if (!known.empty()) other.at = known.front();
  }
  if (other.node == self_ || other.at.port == 0) return;
  Met met{other, false};
  std::erase_if(met_, [&met](const Met& known) {
    met.stored = met.stored || (known.stored && known.other == met.other);
    return known.other.node == met.other.node;
  });
  met_.push_back(met);
  std::vector<balance::RecordChange> changes;
  if (met_.size() > kMetKeptMax) {
    if (met_.front().stored) changes.push_back({met_key(met_.front().other.node), std::nullopt});
    met_.pop_front();
  }
  keep_met(std::move(changes));
}

// A person at home may have a word for the job.
void Node::meet_host(const base::NodeId& host, const base::JobId& job) {
  const jobs::Job* known = jobs_->find(job);
  if (known == nullptr || known->spec.home != self_ || known->at != host) return;
  const auto at = addresses_of(host);
  if (!at.empty()) meet({host, at.front()});
}

// On disk as soon as the view may let them go, or has: over a restart, too, the others may not know
// where this node is.
void Node::keep_met(std::vector<balance::RecordChange> changes) {
  for (Met& met : met_) {
    if (met.stored || (!gossip_->sampled() && gossip_->find(met.other.node))) continue;
    met.stored = true;
    changes.push_back({met_key(met.other.node), base::to_bytes(met.other.at.packed())});
  }
  if (!changes.empty()) persist(std::move(changes), 0, 0);
}

// Whoever calls is answered, in view or not.
void Node::called(const Whereabouts& by) {
  if (by.at.port == 0 || (!callers_.empty() && callers_.back() == by)) return;
  std::erase_if(callers_, [&by](const Whereabouts& known) { return known.node == by.node; });
  callers_.push_back(by);
  if (callers_.size() > kCallersMax) callers_.pop_front();
  if (has_met(by.node)) meet(by);
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
    if (!addresses.empty()) return addresses;
  }
  if (const auto met = gossip_->met(node)) add(*met);
  for (const Whereabouts& other : callers_) {
    if (other.node == node) add(other.at);
  }
  for (const Met& met : met_) {
    if (met.other.node == node) add(met.other.at);
  }
  for (const auto& [id, job] : jobs_->all()) {
    if (job.spec.home == node) add(job.spec.home_at);
  }
  return addresses;
}

// ---- out of gossip

void Node::take(gossip::Action& action) {
  if (auto* datagram = std::get_if<gossip::SendDatagram>(&action)) {
    return out(SendDatagram{datagram->to, std::move(datagram->bytes)});
  }
  if (const auto* contact = std::get_if<gossip::Contact>(&action)) {
    return out(Contact{contact->endpoint});
  }
  const auto happened = [this](const char* kind, base::NodeId node) {
    Happened event;
    event.kind = kind;
    event.node = node;
    event.text = name_of(node);
    out(std::move(event));
  };
  if (const auto* up = std::get_if<gossip::NodeUp>(&action)) return happened("join", up->node);
  if (const auto* suspect = std::get_if<gossip::NodeSuspect>(&action)) {
    return happened("suspect", suspect->node);
  }
  if (const auto* dead = std::get_if<gossip::NodeDead>(&action)) {
    return happened("death", dead->node);
  }
  if (const auto* left = std::get_if<gossip::NodeLeft>(&action)) {
    return happened("leave", left->node);
  }
  if (auto* learned = std::get_if<gossip::MemberLearned>(&action)) {
    return persist({{"member/" + learned->node.hex(), std::move(learned->chain)}}, 0, 0);
  }
  if (const auto* met = std::get_if<gossip::MemberMet>(&action)) {
    return remember_address(met->node, met->at);
  }
  if (const auto* forgotten = std::get_if<gossip::MemberForgotten>(&action)) {
    return persist({{"member/" + forgotten->node.hex(), std::nullopt}}, 0, 0);
  }
  if (const auto* raised = std::get_if<gossip::IncarnationRaised>(&action)) {
    base::Bytes value(8);
    base::put_le64(value, raised->incarnation.value);
    return persist({{"incarnation", value}}, 0, 0);
  }
  if (std::holds_alternative<gossip::IdentityConflict>(action)) {
    return out(Fatal{"another node runs with this node's identity (a copied state folder?)"});
  }
  if (const auto* view = std::get_if<gossip::ViewChanged>(&action)) return on_view(*view);
}

}  // namespace node
