// What people ask of jobs that rest, or shall.
#include "daemon/host.h"

namespace ternd {

using control::Exit;

void Host::answer(const control::ParkRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (info.state == node::JobState::kExited) {
      return client->fail(Exit::kError, "that job has ended already");
    }
    node::ParkJob order;
    order.trial = request.dry_run;
    order.uid = client->uid();
    order.job = info.id;
    order.host = info.node;
    order.request = ask_and_pass_on(client);
    if (!request.dry_run) {
      client->line(control::progress_line("parking on " + node_->name_of(info.node)));
    }
    post(std::move(order));
  });
}

void Host::answer(const control::WakeRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    const bool parked =
        info.state == node::JobState::kParked || info.state == node::JobState::kQueued;
    if (!parked) {
      return client->fail(Exit::kError, std::string("the job is not parked, it is ") +
                                            node::job_state_name(info.state));
    }
    std::optional<base::NodeId> target;
    if (request.on) {
      auto found = find_node(*request.on);
      if (!found) return client->fail(found.error(), "see: tern status");
      if (*found != info.node) target = *found;
    }
    if (target) return move(info, target, {request.dry_run, false}, client);
    if (request.dry_run) {
      return client->done(control::to_json(control::KillReport{node_->name_of(info.node)}));
    }
    node::WakeJob order;
    order.uid = client->uid();
    order.job = info.id;
    order.host = info.node;
    order.request = ask_and_pass_on(client);
    client->line(control::progress_line("waking on " + node_->name_of(info.node)));
    post(std::move(order));
  });
}

}  // namespace ternd
