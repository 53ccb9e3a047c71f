#include "sim/answers.h"

#include <algorithm>
#include <string>

#include "sim/settled.h"
#include "sim/world.h"

namespace sim {

bool Answers::excused(const Request& request) const {
  return world_.life(request.host) != request.life || world_.is_off(request.host) ||
         world_.is_clone(request.host) || promises_.excused_host(request.host) ||
         promises_.excused_job(request.asked.job);
}

void Answers::asks(std::uint32_t host, std::uint64_t request, const Asked& asked) {
  requests_[request] = {asked, host, world_.life(host), world_.now(), false, false};
  if (asked.what == Asked::What::kKill) ++kills_[asked.job];
}

void Answers::answers(std::uint32_t host, const node::Reply& reply) {
  const auto found = requests_.find(reply.request);
  if (found == requests_.end()) return promises_.broke("answered", host, "nobody asked for it");
  Request& request = found->second;
  if (request.host != host || excused(request)) return;
  if (request.over) return promises_.broke("answered", host, "told again: " + reply.sentence);
  request.over = reply.over;
  request.done = reply.over && reply.exit_code == 0;
  const Asked& asked = request.asked;
  if (!request.done || asked.what != Asked::What::kMigrate || asked.to == kNobody) return;
  if (ran_.contains({asked.job, asked.to})) return;
  promises_.broke("as-answered", host,
                  "job " + std::to_string(asked.job) + " never ran at n" +
                      std::to_string(asked.to) + ": " + reply.sentence);
}

void Answers::signals(std::uint32_t host, const base::JobId& id) {
  const std::uint32_t job = world_.job_index(id);
  if (promises_.excused_job(job) || promises_.excused_host(host)) return;
  std::uint32_t& left = kills_[job];
  if (left == 0) {
    return promises_.broke("carried-once", host,
                           "job " + std::to_string(job) + " is signalled once more");
  }
  --left;
}

void Answers::check_at_rest() const {
  for (const auto& [number, request] : requests_) {
    if (excused(request)) continue;
    const JobTruth& job = world_.jobs()[request.asked.job];
    const std::string name = "job " + std::to_string(request.asked.job);
    // Of a job that waits for an outcome that cannot come, nothing can be told.
    const bool waits = std::any_of(job.places.begin(), job.places.end(),
                                   [this, asked = request.asked.job](std::uint32_t at) {
                                     const Copy* copy = world_.machine(at).find(asked);
                                     return copy != nullptr && copy->frozen;
                                   });
    if (!request.over && !waits && world_.now() - request.at >= kOutcomes) {
      promises_.broke("answered", request.host, "nobody hears what came of " + name);
    }
    if (request.done && request.asked.what == Asked::What::kKill && !job.ended) {
      promises_.broke("as-answered", request.host, name + " lives on");
    }
  }
}

}  // namespace sim
