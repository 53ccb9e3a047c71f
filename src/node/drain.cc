#include "node/drain.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "balance/rules.h"

namespace node {
namespace {

using balance::NodeLoad;
using base::NodeId;

// As it will be once this job is there too.
void put(const DrainJob& job, const NodeId& target, std::vector<NodeLoad>& view) {
  for (NodeLoad& node : view) {
    if (node.id != target) continue;
    node.effective_ratio_micros =
        balance::with_job({node.effective_ratio_micros, node.cpus_millis}, job.facts.load_micros);
    node.memory_free_bytes -= job.facts.memory_bytes;
  }
}

}  // namespace

std::optional<NodeId> drain_target(const DrainJob& job, NodeId self,
                                   const std::vector<NodeLoad>& view) {
  const NodeLoad* home = nullptr;
  const NodeLoad* best = nullptr;
  for (const NodeLoad& node : view) {
    if (node.id == self) continue;
    if (node.id == job.home && node.live && node.accepts_jobs) home = &node;
    if (node.trit != probe::Trit::kMinus || !balance::takes(node, job.facts)) continue;
    const bool better = best == nullptr || std::tie(node.effective_ratio_micros, node.id) <
                                               std::tie(best->effective_ratio_micros, best->id);
    if (better) best = &node;
  }
  if (home != nullptr && (balance::takes(*home, job.facts) || best == nullptr)) return home->id;
  return best == nullptr ? std::nullopt : std::optional(best->id);
}

std::optional<Drain::Move> Drain::next(base::Time now, NodeId self,
                                       const std::vector<DrainJob>& jobs,
                                       const std::vector<NodeLoad>& seen) {
  std::erase_if(stay_, [&](const auto& stays) {
    return std::none_of(jobs.begin(), jobs.end(),
                        [&](const DrainJob& job) { return job.facts.id == stays.first; });
  });
  if (!on() || busy()) return std::nullopt;
  std::vector<NodeLoad> view = seen;
  std::vector<const DrainJob*> order;
  order.reserve(jobs.size());
  for (const DrainJob& job : jobs) {
    const auto stays = stay_.find(job.facts.id);
    if (stays != stay_.end()) stays->second.busy = job.busy;
    const auto moving = moving_.find(job.facts.id);
    const std::optional<NodeId> to = moving == moving_.end() ? job.leaves_for : moving->second;
    if (to) put(job, *to, view);
    if (job.parking || job.busy || moving != moving_.end()) continue;
    if (reach_ == Reach::kAll || job.home != self) order.push_back(&job);
  }
  std::sort(order.begin(), order.end(), [self](const DrainJob* a, const DrainJob* b) {
    return std::tuple(a->home == self, a->facts.memory_bytes, a->facts.id) <
           std::tuple(b->home == self, b->facts.memory_bytes, b->facts.id);
  });
  for (const DrainJob* job : order) {
    const auto stays = stay_.find(job->facts.id);
    if (stays != stay_.end() && now < stays->second.again) continue;
    const auto target =
        job->facts.movable ? drain_target(*job, self, view) : std::optional<NodeId>();
    if (target) return Move{job->facts.id, target};
    Stays& here = stay_[job->facts.id];
    here.again = now + kDrainRetry;
    here.why = job->facts.movable ? "no idle node has room for it" : job->facts.why_not;
    here.no_room = job->facts.movable;
  }
  return next_park(now, self, order);
}

std::optional<Drain::Move> Drain::next_park(base::Time now, NodeId self,
                                            const std::vector<const DrainJob*>& order) const {
  if (!parks_ || reach_ != Reach::kAll || !moving_.empty()) return std::nullopt;
  for (const DrainJob* job : order) {
    const auto stays = stay_.find(job->facts.id);
    if (job->home != self || !job->facts.movable || stays == stay_.end()) continue;
    const Stays& here = stays->second;
    if ((here.no_room || here.failed >= kDrainTries) && now >= here.park_again) {
      return Move{job->facts.id, std::nullopt};
    }
  }
  return std::nullopt;
}

void Drain::reach(Reach reach) {
  if (reach_ == reach) return;
  reach_ = reach;
  stay_.clear();
}

void Drain::moved(base::Time now, const base::JobId& job, std::string why) {
  const auto move = moving_.extract(job);
  if (!move || why.empty() || !on()) return;  // what was called off has not failed
  Stays& stays = stay_[job];
  stays.again = now + kDrainRetry;
  stays.why = std::move(why);
  if (move.mapped()) {
    ++stays.failed;
    stays.no_room = false;
  } else {
    stays.park_again = now + kDrainRetry;
  }
}

base::Time Drain::next_try() const {
  base::Time next = base::kNever;
  if (!on() || busy()) return next;
  for (const auto& [job, stays] : stay_) {
    if (!moving_.contains(job) && !stays.busy) next = std::min(next, stays.again);
  }
  return next;
}

std::vector<Drain::Left> Drain::left(const std::vector<DrainJob>& jobs) const {
  std::vector<Left> all;
  for (const DrainJob& job : jobs) {
    const auto stays = stay_.find(job.facts.id);
    const auto moving = moving_.find(job.facts.id);
    const bool moves = moving != moving_.end() || job.leaves_for;
    const bool parks = job.parking || (moving != moving_.end() && !moving->second);
    all.push_back({job.facts.id, job.name,
                   parks                  ? "it is being parked"
                   : moves                ? "it is being moved"
                   : !on()                ? "it stays for now"
                   : stays == stay_.end() ? "it is next"
                                          : stays->second.why});
  }
  return all;
}

}  // namespace node
