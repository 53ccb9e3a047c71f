#include "gossip/gossip.h"

#include "gossip/core.h"

namespace gossip {

Gossip::Gossip(Config config, base::Log& log)
    : core_(std::make_unique<Core>(std::move(config), log)) {}
Gossip::~Gossip() = default;
Gossip::Gossip(Gossip&&) noexcept = default;
Gossip& Gossip::operator=(Gossip&&) noexcept = default;

Actions Gossip::step(base::Time now, const Event& event) { return core_->step(now, event); }
base::Time Gossip::next_deadline() const { return core_->next_deadline(); }
std::vector<NodeView> Gossip::view() const { return core_->node_views(); }
std::optional<NodeView> Gossip::find(const base::NodeId& id) const { return core_->node_view(id); }
std::optional<base::Endpoint> Gossip::met(const base::NodeId& id) const { return core_->met(id); }
const identity::Roster& Gossip::roster() const { return core_->roster(); }
const Counters& Gossip::counters() const { return core_->counters(); }
base::NodeId Gossip::self() const { return core_->self(); }
bool Gossip::sampled() const { return core_->view().sampled(); }

}  // namespace gossip
