// Throttling: a rule's or a person's word becomes a stored record, then the host's order.
//
//   SetThrottle, ThrottleJob, Order -> Throttles -> Persist -> Persisted -> LimitCpu -> CpuLimited
//
// A restart between the two finds the record and says it again (limit_again): also that there is no
// limit, since what an earlier life of the daemon set may still be there.
#include <algorithm>

#include "node/node.h"

namespace node {
namespace {

constexpr int kThrottles = 3;
constexpr std::int64_t kMicrosOfPercent = 10'000;
constexpr char kParked[] = "the job was parked meanwhile, which ends a throttle; throttle it again";

std::string cpus_text(std::int64_t micros) {
  std::string hundredths = std::to_string((micros + 5000) / 10'000 % 100);
  if (hundredths.size() < 2) hundredths.insert(0, 1, '0');
  return std::to_string((micros + 5000) / 1'000'000) + "." + hundredths + " CPUs";
}

}  // namespace

const Throttle* Node::throttle_of(const base::JobId& job) const {
  const jobs::Job* known = jobs_->find(job);
  const Throttle* throttle = throttles_.find(job);
  if (known == nullptr || throttle == nullptr || !known->here) return nullptr;
  return throttle->epoch == known->epoch ? throttle : nullptr;
}

// ---- words

// One change after another: a full disk may hold the one before up.
bool Node::is_limiting(const base::JobId& job) const {
  const auto of_job = [&](const auto& entry) { return entry.second.job == job; };
  return std::any_of(limits_stored_.begin(), limits_stored_.end(), of_job) ||
         std::any_of(limiting_.begin(), limiting_.end(), of_job);
}

void Node::throttle_by_rule(const balance::SetThrottle& order) {
  const jobs::Job* job = jobs_->find(order.job);
  if (job == nullptr || !job->here || !job->launched || job->wait_status) return;
  if (is_limiting(order.job) || pauses_.is_paused(order.job)) return;
  if (!throttles_.by_rule(now_, order.job, job->epoch, order.on)) return;
  keep_throttle(*job, next_query_++, true);
}

void Node::on(const ThrottleJob& event) {
  Order order;
  order.verb = Verb::kThrottle;
  order.job = event.job;
  order.uid = event.uid;
  order.number = event.percent.value_or(kThrottleByRules);
  give_order(event.request, event.host, order);
}

void Node::throttle_by_person(std::uint64_t token, const jobs::Job& job, std::uint64_t number) {
  const base::JobId& id = job.spec.id;
  if (job.parked) {
    return answer_person(token, 1,
                         job.parked->queued
                             ? "the job is queued and uses nothing yet; to start it: tern wake"
                             : "the job is parked and uses nothing; to run it: tern wake",
                         "");
  }
  if (!job.launched || job.wait_status) {
    return answer_person(token, 1, "the job does not run here", "");
  }
  if (balance_->in_doubt(id)) {
    return answer_person(token, 5, "the job is being moved; say it again where it then is", "");
  }
  if (!config_.no_throttle.empty()) {
    return answer_person(token, 5, name_of(self_) + " cannot throttle: " + config_.no_throttle, "");
  }
  std::optional<std::int64_t> limit;
  if (number != kThrottleByRules) limit = static_cast<std::int64_t>(number) * kMicrosOfPercent;
  const Throttle* before = throttle_of(id);
  const std::int64_t was = before == nullptr ? 0 : before->limit_micros;
  throttles_.by_person(now_, id, job.epoch, limit);
  keep_throttle(job, token, throttles_.find(id)->limit_micros != was);
}

// ---- the host

void Node::keep_throttle(const jobs::Job& job, std::uint64_t token, bool is_news) {
  const base::JobId& id = job.spec.id;
  const Throttle& throttle = *throttles_.find(id);
  limits_stored_[token] = {id, job.epoch, throttle.limit_micros, token, is_news, false};
  persist({{throttle_key(id), encode(throttle)}}, token, kThrottles);
  on_local();
}

void Node::limit_now(const Limiting& limiting) {
  const jobs::Job* job = jobs_->find(limiting.job);
  const bool here = job != nullptr && job->here && job->epoch == limiting.epoch;
  if (!here) return answer_person(limiting.token, 1, "the job is not here any more", "");
  // Another word came while this one was stored, or the job was parked meanwhile.
  const Throttle* const throttle = throttles_.find(limiting.job);
  const bool holds = throttle != nullptr && throttle->epoch == limiting.epoch;
  if (!holds && limiting.limit_micros != 0) return answer_person(limiting.token, 1, kParked, "");
  if (holds && throttle->limit_micros != limiting.limit_micros) {
    return answer_person(limiting.token, 0, "", "");
  }
  limiting_[limiting.token] = limiting;
  out(LimitCpu{limiting.token, limiting.job, limiting.limit_micros});
}

void Node::limit_again(const base::JobId& job, base::Epoch epoch) {
  const Throttle* throttle = throttles_.find(job);
  const bool holds = throttle != nullptr && throttle->epoch == epoch;
  const std::uint64_t token = next_query_++;
  limit_now({job, epoch, holds ? throttle->limit_micros : 0, token, false, false});
}

// The host has found the copy of each job that a sample shows.
void Node::limit_attended() {
  if (attended_.empty()) return;
  for (const JobSample& seen : sample_.jobs) {
    const jobs::Job* job = jobs_->find(seen.job);
    if (attended_.erase(seen.job) == 0 || job == nullptr || !job->here) continue;
    limit_again(seen.job, job->epoch);
  }
}

void Node::on(const CpuLimited& event) {
  const auto found = limiting_.extract(event.token);
  if (!found) return;
  const Limiting& done = found.mapped();
  const jobs::Job* job = jobs_->find(done.job);
  const Throttle* throttle = throttle_of(done.job);
  // Another word, or the job's end, was faster.
  const bool stands = job != nullptr && !job->wait_status && throttle != nullptr &&
                      throttle->epoch == done.epoch && throttle->limit_micros == done.limit_micros;
  const bool is_void = job != nullptr && job->here && !job->wait_status && throttle == nullptr;
  if (is_void && done.limit_micros != 0) return answer_person(event.token, 1, kParked, "");
  if (!stands) return answer_person(event.token, 0, "", "");
  if (event.ok && done.is_news) throttles_.in_force(now_, done.job);
  Happened happened;
  happened.kind = "throttle";
  happened.node = self_;
  happened.job = done.job;
  const bool persons = throttle->is_persons;
  const std::string whose = persons          ? "a person"
                            : done.is_owners ? "the owner's policy"
                                             : "the rule";
  if (!event.ok) {
    ++throttle_counts_.failed;
    happened.text = "cannot be throttled: " + event.text;
    if (done.limit_micros == 0) happened.text = "the throttle cannot be lifted: " + event.text;
    if (done.limit_micros != 0) {
      throttles_.failed(now_, done.job);
      keep_throttle(*job, next_query_++, false);
    }
  } else if (done.limit_micros == 0) {
    throttle_counts_.lifted += done.is_news ? 1U : 0U;
    happened.text = "throttle lifted by " + whose;
  } else {
    ++(persons          ? throttle_counts_.by_person
       : done.is_owners ? throttle_counts_.by_owner
                        : throttle_counts_.by_rule);
    happened.text = "throttled to " + cpus_text(done.limit_micros) + " by " + whose +
                    (persons ? "" : ", half of what it used") + " (" + event.text + ")";
  }
  if (done.is_news || !event.ok) out(std::move(happened));
  answer_person(event.token, event.ok ? 0 : 1, event.ok ? "" : event.text, "");
}

// The job has not moved: it stands where it was, under that epoch.
void Node::throttle_stays(const base::JobId& job, base::Epoch epoch) {
  for (auto* orders : {&limits_stored_, &limiting_}) {
    for (auto& [token, order] : *orders) {
      if (order.job == job) order.epoch = epoch;
    }
  }
  if (!throttles_.stays_on(job, epoch)) return;
  persist({{throttle_key(job), encode(*throttles_.find(job))}}, 0, 0);
}

// ---- as before the throttle

void Node::forget_throttles() {
  std::map<base::JobId, base::Epoch> stays;
  for (const auto& [id, job] : jobs_->all()) {
    // One that is known from before this start may be attended to in a moment, and of an original
    // in doubt the limit is still there; what is parked has left its limit behind.
    const balance::OwnRecord* const own = balance_->in_doubt(id) ? balance_->owner(id) : nullptr;
    if (own != nullptr && own->at == self_) stays[id] = own->epoch;
    const bool rests = job.rest == jobs::Rest::kParked;
    if (job.here && !rests && !job.wait_status) stays[id] = job.epoch;
  }
  for (const auto& [id, epoch] : stays) {
    if (pauses_.is_paused(id)) throttles_.stood(now_, id);
  }
  std::vector<balance::RecordChange> gone;
  for (std::string& key : throttles_.sampled(now_, sample_.jobs, stays)) {
    gone.push_back({std::move(key), std::nullopt});
  }
  if (!gone.empty()) persist(std::move(gone), 0, 0);
}

std::int64_t Node::load_without_throttles() const {
  std::int64_t load = sample_.load_micros;
  for (const JobSample& job : sample_.jobs) {
    const jobs::Job* known = jobs_->find(job.job);
    if (known != nullptr && known->here) load += throttles_.load_correction(now_, job);
  }
  return std::max<std::int64_t>(load, 0);
}

}  // namespace node
