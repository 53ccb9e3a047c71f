// What home does for its jobs that run elsewhere: whom it believes, their output, how they ended.
#include <algorithm>
#include <utility>

#include "node/jobs.h"

namespace node::jobs {

using base::JobId;
using base::NodeId;
using base::Time;

// Whom the agreement made the host: home itself took part (Owner), or the host before named it.
// Anybody else claims that. The host is asked then, and only where it says nothing, perhaps for
// ever, is the claim believed: a lost machine must not cost the job's end.
bool Jobs::believes(Time now, Job& job, NodeId from, base::Epoch epoch) {
  if (epoch < job.epoch) return false;  // a copy that is not the job any more
  const bool nobody_else = job.lost || job.at.is_zero() || job.at == self_;
  if (from == job.at || nobody_else) {
    follow(job, from, epoch);
    return true;
  }
  if (!job.claimed) job.claimed = now;
  if (now - *job.claimed >= kClaimPatience) {
    follow(job, from, epoch);
    keep(job, nullptr);
    return true;
  }
  if (now - job.asked_where >= kHereResend) {
    job.asked_where = now;
    out(Tell{job.at, Where{job.spec.id}});
  }
  return false;
}

void Jobs::follow(Job& job, NodeId at, base::Epoch epoch) {
  if (epoch > job.epoch || at != job.at) {
    job.pending_exit.reset();  // of a copy that is not the job
    job.parked_there = false;
  }
  job.epoch = epoch;
  job.at = at;
  job.lost = false;
  job.missing.clear();
  job.claimed.reset();
}

// Acknowledged once there is nothing (more) to learn from it, durably; else it is said again.
void Jobs::on_moved(Time now, NodeId from, const Moved& message) {
  Job* job = get(message.job);
  if (job != nullptr && job->spec.home != self_) return;
  const HereAck ack{message.job, message.epoch};
  if (job != nullptr && job->naming) return;
  const bool stale = job == nullptr || job->wait_status || message.epoch < job->epoch;
  if (stale || job->at == message.to || job->lost) return out(Tell{from, ack});
  const bool unsaid = message.to.is_zero() && message.epoch == job->epoch && job->named_by == from;
  if (job->here || (job->at != from && !unsaid)) {
    if (message.epoch == job->epoch) out(Tell{from, ack});
    return;
  }
  follow(*job, message.to, message.epoch);
  job->named_by = from;
  job->naming = true;
  if (message.to.is_zero()) on_lost(now, *job, "nothing of it is left where it was last");
  keep(*job, [this, from, ack] {
    Job* kept = get(ack.job);
    if (kept != nullptr) kept->naming = false;
    out(Tell{from, ack});
    if (kept != nullptr && kept->lost) out(OverHere{ack.job});
  });
}

// Nothing of it is left; who was the host says so.
void Jobs::on_lost(Time now, Job& job, const std::string& why) {
  job.launched = false;
  if (job.spec.home != self_) {
    job.left = true;
    return tell_moved(now, job);
  }
  job.at = self_;
  if (std::exchange(job.lost, true) || job.wait_status) return;
  out(Changed{job.spec.id, "lost: " + why});
  exited_.push_back(job.spec.id);
  trim_exited();
}

void Jobs::on_output(Time now, NodeId from, const Output& message) {
  Job* job = get(message.job);
  if (job == nullptr || job->spec.home != self_ || job->here) {
    // A job that is over or was forgotten: let the sender stop.
    if (job == nullptr) out(Tell{from, ExitedAck{message.job}});
    return;
  }
  if (!believes(now, *job, from, message.epoch)) return;
  const auto s = static_cast<std::size_t>(message.stream);
  const std::uint64_t end = message.offset + message.bytes.size();
  if (job->appending[s]) return;  // answered when it is done
  if (message.offset > job->have[s] || end <= job->have[s]) {
    out(Tell{from, OutputAck{message.job, job->have}});
    return;
  }
  const auto skip = static_cast<std::ptrdiff_t>(job->have[s] - message.offset);
  job->appending[s] = true;
  job->waits_since[s] = now;
  out(AppendHome{message.job, message.stream, job->have[s],
                 base::Bytes(message.bytes.begin() + skip, message.bytes.end())});
}

void Jobs::on(Time /*now*/, const HomeAppended& event) {
  Job* job = get(event.job);
  if (job == nullptr) return;
  const auto s = static_cast<std::size_t>(event.stream);
  job->appending[s] = false;
  job->waits_since[s].reset();
  if (job->here) return;  // it came home meanwhile: its spool says where the log ends
  if (event.end) job->have[s] = *event.end;
  out(Tell{job->at, OutputAck{event.job, job->have}});
  out(Changed{event.job, "output"});
  if (!job->pending_exit) return;
  const Exited exit = *job->pending_exit;
  if (job->have[0] >= exit.ends[0] && job->have[1] >= exit.ends[1]) {
    finish_at_home(*job, exit.wait_status, job->at);
  }
}

void Jobs::on_here(Time now, NodeId from, const Here& message) {
  Job* job = get(message.job);
  // The sink may speak before we, the source, know that the job has left: it will say so again.
  if (job != nullptr && job->here && message.epoch > job->epoch) return;
  if (job != nullptr && job->spec.home == self_ && message.epoch >= job->epoch && !job->here) {
    const bool news = job->at != from || job->spec.moves < message.moves;
    if (!believes(now, *job, from, message.epoch)) return;
    if (news) out(Changed{message.job, "moved"});
    job->parked_there = message.parked;
    job->spec.moves = std::max(job->spec.moves, message.moves);
    if (message.moves > job->kept_moves) {
      // Durable before it is acknowledged: it is not told again then.
      return keep(*job, [this, from, message] {
        Job* kept = get(message.job);
        if (kept != nullptr) kept->kept_moves = std::max(kept->kept_moves, message.moves);
        out(Tell{from, HereAck{message.job, message.epoch, message.parked}});
      });
    }
  }
  out(Tell{from, HereAck{message.job, message.epoch, message.parked}});
}

void Jobs::on_exited(Time now, NodeId from, const Exited& message) {
  Job* job = get(message.job);
  if (job == nullptr || (job->exit_kept && job->spec.home == self_)) {
    out(Tell{from, ExitedAck{message.job}});
    return;
  }
  // Not durable here yet: acknowledged when it is, since the teller forgets the job then.
  if (job->wait_status) return;
  if (job->spec.home != self_ || job->here) return;
  if (!believes(now, *job, from, message.epoch)) return;
  // It may end before home has heard that it moved; stored with the end.
  job->spec.moves = std::max(job->spec.moves, message.moves);
  if (job->have[0] < message.ends[0] || job->have[1] < message.ends[1]) {
    job->pending_exit = message;
    out(Tell{from, OutputAck{message.job, job->have}});
    return;
  }
  finish_at_home(*job, message.wait_status, from);
}

void Jobs::finish_at_home(Job& job, std::int32_t wait_status, NodeId teller) {
  if (job.wait_status) return;
  job.wait_status = wait_status;
  job.pending_exit.reset();
  const JobId id = job.spec.id;
  keep(job, [this, id, teller] {
    Job* ended = get(id);
    if (ended == nullptr) return;
    ended->exit_kept = true;
    out(OverHere{id});
    if (teller != self_) out(Tell{teller, ExitedAck{id}});
    out(Changed{id, "exited"});
    exited_.push_back(id);
    trim_exited();
  });
}

void Jobs::trim_exited() {
  while (exited_.size() > kExitedKeptMax) {
    const JobId oldest = exited_.front();
    exited_.pop_front();
    const Job* job = find(oldest);
    if (job != nullptr && (job->wait_status || job->lost)) forget(oldest);
  }
}

}  // namespace node::jobs
