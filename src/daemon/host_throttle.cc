// tern throttle: a person's word on how much CPU time a job gets; and what is counted of it.
#include "daemon/host.h"

namespace ternd {

using control::Exit;

void Host::answer(const control::ThrottleRequest& request, const std::shared_ptr<Client>& client) {
  find_job(request.job, client, [this, request, client](const node::JobInfo& info) {
    if (info.state == node::JobState::kExited) {
      return client->fail(Exit::kError, "that job has ended already");
    }
    const std::string at = node_->name_of(info.node);
    if (request.dry_run) return client->done(control::to_json(control::KillReport{at}));
    node::ThrottleJob order;
    order.uid = client->uid();
    order.job = info.id;
    order.host = info.node;
    order.percent = request.percent;
    order.request = ask([client, at](const node::Reply& reply) {
      if (reply.exit_code == 0) return client->done(control::to_json(control::KillReport{at}));
      const bool away = reply.exit_code == static_cast<int>(Exit::kUnreachable);
      const bool refused = reply.exit_code == static_cast<int>(Exit::kRefused);
      client->fail(away      ? Exit::kUnreachable
                   : refused ? Exit::kRefused
                             : Exit::kError,
                   reply.sentence, away ? "who is there: tern status" : "");
    });
    post(std::move(order));
  });
}

void Host::add_throttles(const std::function<void(std::string, std::uint64_t)>& add) const {
  const node::ThrottleCounts& counts = node_->throttle_counts();
  add("throttles_by_rule", counts.by_rule);
  add("throttles_by_person", counts.by_person);
  add("throttles_by_owner", counts.by_owner);
  add("throttles_lifted", counts.lifted);
  add("throttles_failed", counts.failed);
  std::uint64_t now = 0;
  for (const auto& [id, job] : node_->jobs().all()) {
    const node::Throttle* throttle = node_->throttle_of(id);
    now += throttle != nullptr && throttle->limit_micros != 0 ? 1U : 0U;
  }
  add("jobs_throttled", now);
  add("jobs_paused", node_->paused());
}

}  // namespace ternd
