// A job that rests on this node's disk.
#include <csignal>

#include "balance/limits.h"
#include "node/jobs.h"

namespace node::jobs {

using base::JobId;
using base::Time;

// Home is told again until it has acknowledged what is so now.
void Jobs::tell_rest(Time now, Job& job) {
  job.here_acked = job.spec.home == self_;
  tell_here(now, job);
}

// Somebody took away what it rested in. It is given up here for good: what turned up again later
// would be a second copy of what was maybe started anew. Elsewhere it ends, as home has its output
// and files to come.
void Jobs::on(Time now, const Vanished& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->wait_status) return;
  if (job->spec.home != self_) return on(now, Ended{event.job, SIGKILL, event.ends});
  job->here = false;
  job->launched = false;
  job->rest = Rest::kNone;
  job->parked.reset();
  job->missing = event.missing;
  on_lost(now, *job, event.missing + " is not there any more");
  const JobId id = event.job;
  keep(*job, [this, id] { out(OverHere{id}); });
}

void Jobs::on(Time /*now*/, const ParkAsked& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || !job->launched || job->wait_status) return;
  if (job->rest != Rest::kNone) return;
  job->rest = Rest::kParking;
  out(Park{event.job, job->epoch});
}

void Jobs::on(Time now, const Parked& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->wait_status) return;
  job->rest = Rest::kParked;
  job->parked = event.facts;
  // What the next copy begins to count from.
  job->spec.cpu_micros = std::max(job->spec.cpu_micros, event.facts.cpu_micros);
  job->launched = false;
  job->pid = 0;
  job->arrived = now - (event.facts.queued ? balance::kResidence : event.ago);
  out(Changed{event.job, event.facts.queued ? "queued" : "parked"});
  tell_rest(now, *job);
}

void Jobs::on(Time /*now*/, const ParkFailed& event) {
  Job* job = get(event.job);
  if (job != nullptr && job->rest == Rest::kParking) job->rest = Rest::kNone;
}

void Jobs::on(Time /*now*/, const WakeAsked& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->rest != Rest::kParked) return;
  job->rest = Rest::kWaking;
  out(Wake{event.job, job->epoch});
}

void Jobs::on(Time now, const Woken& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->wait_status) return;
  const bool queued = job->parked && job->parked->queued;
  job->rest = Rest::kNone;
  // What the average of its load begins at, as the node takes in as much.
  if (job->parked) job->spec.load_micros = job->parked->load_micros;
  job->parked.reset();
  job->launched = true;
  job->pid = event.pid;
  job->arrived = now;
  out(Changed{event.job, queued ? "started" : "woken"});
  tell_rest(now, *job);
}

void Jobs::on(Time /*now*/, const WakeFailed& event) {
  Job* job = get(event.job);
  if (job != nullptr && job->rest == Rest::kWaking) job->rest = Rest::kParked;
}

void Jobs::on(Time /*now*/, const RemoveAsked& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->rest != Rest::kParked) return;
  job->rest = Rest::kRemoving;
  out(Remove{event.job, job->epoch, event.wait_status});
}

}  // namespace node::jobs
