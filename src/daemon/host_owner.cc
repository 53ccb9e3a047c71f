// What the system's services say of the owner's machine, brought to the node.
#include <algorithm>

#include "daemon/host.h"

namespace ternd {

void Host::start_services() {
  bus::Services::Callbacks said;
  said.changed = [this] {
    if (sampler_) sampler_->soon();
  };
  said.ahead = [this](bus::Ahead what, bool begins, base::Duration patience) {
    if (stage_ == Stage::kLeaving) return;
    post(node::SleepNews{begins, patience, what == bus::Ahead::kShutdown});
  };
  services_ = std::make_unique<bus::Services>(loop_, log_, std::move(said));
}

void Host::add_owner_signs(node::OwnerSample& owner) const {
  if (!services_) return;
  owner.metered = services_->metered();
  const auto idle = services_->idle(loop::Loop::now());
  if (idle) owner.idle = std::min(owner.idle.value_or(*idle), *idle);
}

}  // namespace ternd
