// A daemon's disk as far as jobs rest on it (daemon/park_desk.h): parked copies stand still, use
// neither CPU nor memory, and outlive daemons and power.
//
//   Park  freeze (ms) -> parking -> (memory / disk) -> parked, told a little later
//   Wake  read and restore -> woken: the mark is there -> let go, told
//
// Each may fail before its point of no return; a daemon may die at any point.
#include <algorithm>
#include <utility>

#include "node/limits.h"
#include "sim/world.h"

namespace sim {

using base::Duration;
using std::chrono::milliseconds;

namespace {

constexpr std::int64_t kDiskBytesPerSecond = 400'000'000;

node::Rested failed(const base::JobId& job, bool wakes, const char* why) {
  node::Rested rested;
  rested.job = job;
  rested.wakes = wakes;
  rested.reason = why;
  return rested;
}

}  // namespace

std::uint32_t World::parked_at(std::uint32_t job) const {
  for (const std::uint32_t place : jobs_[job].places) {
    const Copy* copy = hosts_[place]->machine.find(job);
    if (copy != nullptr && copy->parked) return place;
  }
  return kNobody;
}

void World::rests(std::uint32_t index, const node::jobs::Park& order) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(order.job);
  Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr) return give(index, failed(order.job, false, "the job has ended"));
  const auto again = [&](Duration in) {
    later(index, in, JobsDone{on<node::jobs::Action>(order)});
  };
  if (copy->parked) {
    node::Rested rested;
    rested.job = order.job;
    rested.ok = true;
    rested.facts = copy->facts;
    return give(index, std::move(rested));
  }
  if (!copy->parking) {
    if (copy->frozen) return give(index, failed(order.job, false, "the job is being moved"));
    if (strikes(index, Fault::kPreflightRefuses)) {
      return give(index, failed(order.job, false, "no space"));
    }
    host.machine.freeze(now_, jobs_, job, {});
    schedule_end(index);
    host.machine.find(job)->parking = true;
    tell_growth(index, job);
    return again(milliseconds(30) +
                 Duration(jobs_[job].plan.memory_bytes / (kDiskBytesPerSecond / 1'000'000)));
  }
  copy->parking = false;
  if (strikes(index, Fault::kDumpFails) || strikes(index, Fault::kDumpHangs)) {
    host.machine.thaw(now_, jobs_, job);
    schedule_end(index);
    promises_.runs(index, job, copy->epoch, "not parked");
    return give(index, failed(order.job, false, "CRIU failed"));
  }
  copy->parked = true;
  copy->limit_micros = 0;  // it left its limit behind
  copy->limited = {};
  copy->facts = {false, wall(host), jobs_[job].plan.memory_bytes, copy->load.micros()};
  again(host.dice.operation.between(milliseconds(1), milliseconds(60)));
}

void World::wakes(std::uint32_t index, const node::jobs::Wake& order) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(order.job);
  Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr || !copy->parked) {
    return give(index, failed(order.job, true, "the file is not there"));
  }
  if (!copy->woken) {
    if (strikes(index, Fault::kCopyDies) || strikes(index, Fault::kRestoreHangs)) {
      return give(index, failed(order.job, true, "CRIU failed"));
    }
    copy->woken = true;
    return later(index, host.dice.operation.between(milliseconds(1), milliseconds(60)),
                 JobsDone{on<node::jobs::Action>(order)});
  }
  has_moved(index, copy->facts.load_micros);
  copy->load = probe::LoadAverage(now_, probe::kLoadWindowDefault, copy->facts.load_micros);
  let_go(index, job, "wake");
  node::Rested rested;
  rested.job = order.job;
  rested.wakes = rested.ok = true;
  rested.pid = 100 + job;
  give(index, std::move(rested));
}

void World::let_go(std::uint32_t index, std::uint32_t job, const char* how) {
  Host& host = *hosts_[index];
  Copy* copy = host.machine.find(job);
  JobTruth& truth = jobs_[job];
  copy->parked = copy->woken = false;
  if (!std::exchange(truth.begun, true)) truth.started = now_;
  truth.arrived = now_;
  truth.at = index;
  const base::Epoch epoch = copy->epoch;
  host.machine.thaw(now_, jobs_, job);
  promises_.runs(index, job, epoch, how);
  schedule_end(index);
  if (truth.plan.output_per_second > 0 && !host.output_due) {
    host.output_due = true;
    put(now_ + milliseconds(500), index, 0, OutputDue{});
  }
}

void World::removes(std::uint32_t index, const node::jobs::Remove& order) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(order.job);
  const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr || !copy->parked) return;
  end_copy(index, job, order.wait_status);
}

// What a new daemon finds in the job's folder. False: nothing of a park.
bool World::attends_parked(std::uint32_t index, std::uint32_t job) {
  Host& host = *hosts_[index];
  Copy* copy = host.machine.find(job);
  if (copy == nullptr) return false;
  if (copy->parking) {
    copy->parking = false;
    host.machine.thaw(now_, jobs_, job);
    schedule_end(index);
    promises_.runs(index, job, copy->epoch, "not parked");
    return true;
  }
  if (copy->parked && copy->woken) {
    let_go(index, job, "wake");
    return true;
  }
  if (!copy->parked) return false;
  node::Rested rested;
  rested.job = jobs_[job].id;
  rested.ok = rested.found = true;
  rested.facts = copy->facts;
  give(index, std::move(rested));
  return true;
}

// Its file is there before the node hears of it.
void World::queue_up(std::uint32_t index, std::uint32_t job, node::JobSpec spec) {
  Host& host = *hosts_[index];
  comes_to(job, index);
  if (host.machine.find(job) == nullptr) {
    host.machine.add(now_, jobs_, job, base::Epoch{1}, 0);
    host.machine.freeze(now_, jobs_, job, {});
    Copy* copy = host.machine.find(job);
    copy->parked = true;
    copy->facts = {true, wall(host), jobs_[job].plan.memory_bytes, node::kNewJobLoad};
  }
  give(index, node::RunJob{next_request_++, std::move(spec), host.machine.find(job)->facts});
}

// Queued jobs that the store never heard of: nobody was told that they are.
void World::drop_orphans(std::uint32_t index) {
  Host& host = *hosts_[index];
  std::vector<std::uint32_t> orphans;
  for (const Copy& copy : host.machine.copies()) {
    const std::string key = "job/" + jobs_[copy.job].id.hex();
    if (!copy.parked || !copy.facts.queued) continue;
    if (!host.disk.synced.own().contains(key)) orphans.push_back(copy.job);
  }
  for (const std::uint32_t job : orphans) host.machine.remove(now_, jobs_, job);
}

void World::person_rests(const PersonPlan& plan) {
  if (plan.job >= jobs_.size()) return;
  const JobTruth& truth = jobs_[plan.job];
  const bool wakes = plan.verb == PersonPlan::Verb::kWake;
  const std::uint32_t at = wakes ? parked_at(plan.job) : runs_at(plan.job);
  const std::uint32_t asked = truth.plan.node;
  if (at == kNobody || !hosts_[asked]->node) return;
  using What = Answers::Asked::What;
  promises_.answers().asks(asked, next_request_,
                           {wakes ? What::kWake : What::kPark, plan.job, kNobody});
  if (wakes) {
    promises_.asked_to_wake(plan.job);
    return give(asked, node::WakeJob{next_request_++, kUser, truth.id, hosts_[at]->id});
  }
  give(asked, node::ParkJob{next_request_++, kUser, truth.id, hosts_[at]->id, false});
}

}  // namespace sim
