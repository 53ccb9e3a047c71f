// Files to and from other nodes, as people ask for them; and this node's policies.
#include <pwd.h>

#include "daemon/host.h"
#include "node/share_choice.h"

namespace ternd {
namespace {

using base::Result;
using control::Exit;

// May ask a directory over the network: off the loop.
std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16384);
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return "uid " + std::to_string(uid);
  }
  return found->pw_name;
}

}  // namespace

void Host::start_shares() {
  share_out_ = std::make_unique<ShareOut>(loop_, *links_, log_);
  ShareIn::Callbacks callbacks;
  callbacks.name_of = [this](const base::NodeId& node) { return node_->name_of(node); };
  callbacks.happened = [this](const base::NodeId& from, const std::string& what) {
    node::Happened event;
    event.kind = "share";
    event.node = from;
    event.text = what;
    happened(event);
  };
  share_in_ = std::make_unique<ShareIn>(loop_, options_.share, options_.inbox_path(), log_,
                                        std::move(callbacks));
}

void Host::answer(const control::ShareRequest& request, const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  transfer::ShareOffer offer;
  auto id = transfer::ShareId::from_hex_text(request.id);
  if (!id) return client->fail(id.error());
  offer.id = *id;
  offer.uid = client->uid();
  offer.label = request.label;
  offer.tops = request.tops;
  offer.entries = request.entries;
  offer.bytes = request.bytes;
  offer.disk_bytes = request.disk_bytes;
  offer.dry_run = request.dry_run;
  auto user = std::make_shared<std::string>();
  loop::run_blocking(
      loop_, [user, uid = client->uid()] { *user = user_name(uid); },
      [this, offer, user, to = request.to, client, alive = alive_]() mutable {
        if (!*alive || !node_ || !share_out_) return;
        offer.user = *user;
        this->offer(std::move(offer), to, client);
      });
}

void Host::offer(transfer::ShareOffer offer, const std::optional<std::string>& to,
                 const std::shared_ptr<Client>& client) {
  if (stage_ == Stage::kLeaving) return client->fail(Exit::kUnreachable, "the daemon is stopping");
  ShareOut::Order order;
  order.offer = std::move(offer);
  const auto add = [&](const base::NodeId& id) {
    order.peers.push_back({id, node_->name_of(id), node_->addresses_of(id)});
  };
  if (to) {
    auto found = find_node(*to);
    // By its id: a share that goes on. A daemon that has just started may not have met it yet.
    if (!found && base::NodeId::from_hex_text(*to)) {
      return client->fail(Exit::kUnreachable, "the node that has a part of it is not known here");
    }
    if (!found) return client->fail(found.error(), "who is there: tern status");
    if (*found == node_->self()) {
      return client->fail(Exit::kError, "that is this node itself: its files are here already");
    }
    order.named = true;
    add(*found);
  } else {
    const node::Status status = node_->status();
    for (const base::NodeId& id : node::share_candidates(status)) add(id);
    order.not_asked = node::why_not_asked(status);
  }
  share_out_->start(std::move(order), client);
}

void Host::answer_inbox(const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  share_in_->list([client](Result<control::InboxReport> report) {
    report ? client->done(control::to_json(*report)) : client->fail(report.error());
  });
}

void Host::answer(const control::InboxAnswerRequest& request,
                  const std::shared_ptr<Client>& client) {
  if (!needs_member(client)) return;
  share_in_->answer(request.offer, request.accept, [client](Result<control::InboxItem> item) {
    item ? client->done(control::to_json(*item))
         : client->fail(item.error(), "what there is: tern inbox");
  });
}

std::string Host::why_no_guests() const {
  if (!no_jobs_.empty()) return no_jobs_;
  if (!no_criu_.empty()) return no_criu_;
  if (node_->draining()) return "drained, until: tern drain --off";
  return node_->stance().why;
}

void Host::answer_policy(const std::shared_ptr<Client>& client) {
  control::PolicyReport policy;
  policy.share = control::share_policy_text(options_.share);
  policy.inbox = options_.inbox_path();
  policy.no_jobs = why_no_guests();
  policy.jobs = policy.no_jobs.empty();
  policy.root_jobs = options_.allow_root_jobs;
  for (const std::uint32_t uid : trusted_uids_) policy.uids.push_back(uid);
  policy.owner_active = options_.owner_active;
  policy.on_battery = options_.on_battery;
  policy.battery_low = options_.battery_low;
  policy.on_metered = options_.on_metered;
  policy.on_sleep = options_.on_sleep;
  client->done(control::to_json(policy));
}

}  // namespace ternd
