#include "node/jobs.h"

#include <algorithm>

#include "balance/limits.h"
#include "base/wire.h"

namespace node::jobs {
namespace {

using base::JobId;
using base::NodeId;
using base::Time;

constexpr char kPrefix[] = "job/";

std::string key_of(JobId job) { return kPrefix + job.hex(); }

// Durable form: [spec bytes, ended, wait status, stdout end, stderr end, arriving under epoch, at,
// epoch], and behind that what is missing of a lost job, where that is known. Where the output of
// an ended job stops is kept, or a restart would tell home of the end before home has all of it;
// where the job is and under which epoch, at home, or a restart would follow whoever says that he
// has it.
base::Bytes record_of(const Job& job) {
  base::Writer w;
  const bool says = job.lost && !job.missing.empty();
  w.array(says ? 9 : 8).bin(encode(job.spec)).boolean(job.wait_status.has_value());
  w.i64(job.wait_status.value_or(0)).u64(job.spool[0]).u64(job.spool[1]);
  w.counter(job.arriving_under).id(job.lost ? NodeId{} : job.at).counter(job.epoch);
  if (says) w.text(job.missing.substr(0, kPathSizeMax));
  return w.take();
}

base::Result<Job> read_record(base::ByteView bytes) {
  base::Reader r(bytes);
  const std::size_t fields = r.array(9);
  if (fields < 8) r.reject("too few fields");
  const base::ByteView spec_bytes = r.bin(2 * kMessageSizeMax);
  const bool ended = r.boolean();
  const std::int64_t status = r.i64();
  const std::uint64_t stdout_end = r.u64();
  const std::uint64_t stderr_end = r.u64();
  const auto arriving_under = r.counter<base::Epoch>();
  const auto at = r.id<NodeId>();
  const auto epoch = r.counter<base::Epoch>();
  std::string missing = fields > 8 ? r.text(kPathSizeMax) : std::string();
  if (status < 0 || status > 0xffff) r.reject("no wait status");
  if (base::Status finished = r.finish(); !finished) return finished.error();
  auto spec = decode_spec(spec_bytes);
  if (!spec) return spec.error();
  Job job;
  job.spec = *spec;
  job.recovered = true;
  job.arriving_under = arriving_under;
  job.kept_moves = job.spec.moves;
  job.at = at;
  job.epoch = epoch;
  job.missing = std::move(missing);
  if (ended) {
    job.wait_status = static_cast<std::int32_t>(status);
    job.spool = {stdout_end, stderr_end};
    job.exit_kept = true;
  }
  return job;
}

}  // namespace

Jobs::Jobs(NodeId self, const std::map<std::string, base::Bytes>& records,
           const std::map<JobId, StreamEnds>& home_ends)
    : self_(self) {
  for (auto it = records.lower_bound(kPrefix); it != records.end(); ++it) {
    if (it->first.rfind(kPrefix, 0) != 0) break;
    auto job = read_record(it->second);
    if (!job || key_of(job->spec.id) != it->first) {
      ++unreadable_records_;
      continue;
    }
    const auto ends = home_ends.find(job->spec.id);
    if (ends != home_ends.end()) job->have = ends->second;
    if (job->wait_status && job->spec.home == self_) exited_.push_back(job->spec.id);
    if (job->spec.home != self_) {  // balance knows
      job->at = {};
      job->epoch = {};
    } else if (job->at.is_zero() && job->epoch != base::Epoch{}) {
      job->lost = true;
      job->at = self_;
      exited_.push_back(job->spec.id);
    }
    const JobId id = job->spec.id;
    jobs_.emplace(id, std::move(*job));
  }
}

Actions Jobs::step(Time now, const Event& event) {
  std::visit([&](const auto& e) { on(now, e); }, event);
  return std::exchange(actions_, {});
}

const Job* Jobs::find(JobId job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

Job* Jobs::get(JobId job) {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

void Jobs::keep(const Job& job, std::function<void()> then) {
  const std::uint64_t id = next_keep_++;
  waiting_[id] = std::move(then);
  out(Keep{id, key_of(job.spec.id), record_of(job)});
}

void Jobs::forget(JobId job) {
  if (jobs_.erase(job) == 0) return;
  const std::uint64_t id = next_keep_++;
  waiting_[id] = [this, job] {
    if (get(job) != nullptr) return;
    out(OverHere{job});
    out(Forget{job});
  };
  out(Keep{id, key_of(job), std::nullopt});
}

void Jobs::on(Time /*now*/, const Kept& event) {
  const auto it = waiting_.find(event.id);
  if (it == waiting_.end()) return;
  const auto then = std::move(it->second);
  waiting_.erase(it);
  if (then) then();
}

// ---- a job's life here

void Jobs::on(Time now, const Begin& event) {
  CHECK(event.spec.home == self_);
  Job& job = jobs_[event.spec.id];
  job.spec = event.spec;
  job.parked = event.queued;
  job.at = self_;
  job.arrived = now;
  const JobId id = event.spec.id;
  keep(job, [this, id] { out(Announce{id}); });
}

void Jobs::on(Time /*now*/, const Launched& event) {
  Job* job = get(event.job);
  if (job == nullptr) return;
  job->pid = event.pid;
  job->launched = true;
  out(Changed{event.job, "started"});
}

void Jobs::on(Time /*now*/, const LaunchFailed& event) {
  if (get(event.job) == nullptr) return;
  out(Changed{event.job, "did not start: " + event.reason});
  forget(event.job);
}

// The daemon died before balance knew. A job's description is stored before it has an owner here,
// and only what is over here (OverHere) loses it.
bool Jobs::is_over(const Job* job, const Owner& event) const {
  if (job == nullptr) return event.at_start && unreadable_records_ == 0;
  return job->exit_kept && job->spec.home == self_;
}

void Jobs::on(Time now, const Owner& event) {
  Job* job = get(event.job);
  if (is_over(job, event)) out(OverHere{event.job});
  if (job == nullptr || event.epoch < job->epoch) return;
  const bool was_here = job->here;
  // Home stored that it is lost there; balance has not forgotten where it was.
  const bool lost_there = job->lost && event.epoch == job->epoch && !event.here;
  if (event.at_start && lost_there && !event.at.is_zero()) return out(OverHere{event.job});
  job->epoch = event.epoch;
  job->here = event.here;
  job->at = event.at;
  job->claimed.reset();
  if (event.at.is_zero()) return on_lost(now, *job, "it is gone at both ends of its last move");
  job->lost = false;
  job->missing.clear();
  if (event.here) {
    job->left = false;
    job->parked_there = false;
    if (was_here || job->wait_status) return;
    job->arrived = now;
    job->here_acked = job->spec.home == self_;
    job->told_here = Time{};
    const bool described_before_restart = job->recovered && !event.at_start;
    const bool arrived = job->arriving || described_before_restart;
    // Counted once, also when the daemon died between the two writes.
    const bool uncounted =
        job->arriving_under != base::Epoch{} && event.epoch >= job->arriving_under;
    if (arrived || uncounted) {
      ++job->spec.moves;
      job->arriving_under = {};
      keep(*job, nullptr);
    }
    if (arrived) {
      job->arriving = false;
      job->recovered = false;
      job->launched = true;
      out(Changed{event.job, "arrived"});
      tell_here(now, *job);
    } else if (job->recovered) {
      job->launched = true;
      out(Attend{job->spec, event.epoch});
    } else if (job->parked) {
      job->rest = Rest::kParked;
      job->arrived = now - balance::kResidence;  // it may start at once
      out(Changed{event.job, "queued"});
    } else {
      // Residence is against ping-pong (design.md §2), and a job that starts here came from
      // nowhere.
      job->arrived = now - balance::kResidence;
      out(Launch{job->spec, event.epoch});
    }
    return;
  }
  if (was_here) out(Changed{event.job, "left"});
  job->launched = false;
  job->rest = Rest::kNone;
  job->parked.reset();
  if (job->spec.home != self_) job->waits_since = {};
  if (job->spec.home == self_ || job->arriving) return;
  if (event.at == job->spec.home) return forget(event.job);  // it knows
  job->left = true;
  tell_moved(now, *job);
}

void Jobs::on(Time now, const Arriving& event) {
  const JobId id = event.spec.id;
  Job* known = get(id);
  if (known == nullptr && full()) return;  // the attempt times out; nothing is lost
  Job& job = known != nullptr ? *known : jobs_[id];
  if (job.here || job.wait_status) return;  // late: it ran on, or ended, without this attempt
  const StreamEnds have = job.have;
  job.spec = event.spec;
  job.have = have;
  job.arriving = true;
  job.arriving_under = event.epoch;
  job.recovered = false;
  job.arrived = now;
  keep(job, [this, id] { out(Stored{id}); });
}

void Jobs::on(Time /*now*/, const DropArrival& event) {
  Job* job = get(event.job);
  // One that was described before a restart is not marked as arriving any more.
  if (job == nullptr || job->here) return;
  job->arriving = false;
  if (job->left) return;
  if (job->spec.home != self_) return forget(event.job);
  if (std::exchange(job->arriving_under, base::Epoch{}) != base::Epoch{}) keep(*job, nullptr);
}

void Jobs::on(Time /*now*/, const Unowned& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->recovered || job->here || job->wait_status || job->lost) return;
  if (job->spec.home != self_) return forget(event.job);
  if (!job->at.is_zero() && job->at != self_) return;  // its host tells how it goes
  job->lost = true;
  job->at = self_;
  out(Changed{event.job, "lost: this node has no record of where it runs"});
  exited_.push_back(event.job);
  trim_exited();
}

void Jobs::on(Time /*now*/, const Drop& event) {
  const Job* job = get(event.job);
  if (job != nullptr && job->lost) forget(event.job);
}

void Jobs::on(Time now, const Ended& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here || job->wait_status) return;
  job->launched = false;
  job->rest = Rest::kNone;
  job->parked.reset();
  job->spool = event.ends;
  if (job->spec.home == self_) {
    job->have = event.ends;
    finish_at_home(*job, event.wait_status, self_);
    return;
  }
  job->wait_status = event.wait_status;
  const JobId id = event.job;
  keep(*job, [this, id] {
    Job* ended = get(id);
    if (ended != nullptr) ended->exit_kept = true;  // Tick tells home
  });
  relay(now, *job);
}

// ---- output, on the node that runs the job

void Jobs::on(Time now, const SpoolGrew& event) {
  Job* job = get(event.job);
  if (job == nullptr || !job->here) return;
  job->spool = event.ends;
  if (job->spec.home == self_) {
    job->have = event.ends;
    return;
  }
  for (std::size_t s = 0; s < kStreams; ++s) {
    job->home_has[s] = std::max(job->home_has[s], event.bases[s]);
  }
  relay(now, *job);
}

void Jobs::relay(Time now, Job& job) {
  watch_spool(now, job);
  for (int stream = 0; stream < kStreams; ++stream) {
    const auto s = static_cast<std::size_t>(stream);
    if (job.reading[s] || job.home_has[s] >= job.spool[s]) continue;
    if (job.in_flight[s] && now - job.sent_at[s] < kOutputResend) continue;
    job.reading[s] = true;
    out(ReadSpool{job.spec.id, stream, job.home_has[s], kOutputChunkMax});
  }
}

void Jobs::on(Time now, const SpoolRead& event) {
  Job* job = get(event.job);
  if (job == nullptr || event.stream < 0 || event.stream >= kStreams) return;
  const auto s = static_cast<std::size_t>(event.stream);
  job->reading[s] = false;
  if (!job->here) return;
  // The file is the truth, whatever its keeper's news said so far. Of a job that has ended the
  // stored end is.
  for (std::size_t i = 0; i < kStreams && !job->wait_status; ++i) {
    job->spool[i] = std::max(job->spool[i], event.ends[i]);
  }
  job->in_flight[s] = true;  // of a piece that could not be read too: asked again, not at once
  job->sent_at[s] = now;
  if (event.bytes.empty()) return;
  out(Tell{job->spec.home, Output{event.job, job->epoch, event.stream, event.offset, event.bytes}});
}

void Jobs::on_output_ack(Time now, NodeId from, const OutputAck& message) {
  Job* job = get(message.job);
  if (job == nullptr || !job->here || job->spec.home != from) return;
  for (std::size_t s = 0; s < kStreams; ++s) {
    // Home's word counts as it is, also when it goes back: home may have lost an unsynced tail. An
    // answer that says nothing new leaves the piece in flight to its timer.
    const std::uint64_t has = std::min(message.have[s], job->spool[s]);
    if (has == job->home_has[s] && job->in_flight[s]) continue;
    if (has != job->home_has[s]) job->waits_since[s].reset();
    job->home_has[s] = has;
    job->in_flight[s] = false;
  }
  relay(now, *job);
  if (job->exit_kept && job->home_has == job->spool) tell_exit(now, *job);
}

void Jobs::tell_here(Time now, Job& job) {
  if (job.here_acked || !job.here || job.spec.home == self_) return;
  job.told_here = now;
  out(Tell{job.spec.home, Here{job.spec.id, job.epoch, job.spec.moves, job.parked.has_value()}});
}

void Jobs::tell_exit(Time now, Job& job) {
  job.told_exit = now;
  out(Tell{job.spec.home,
           Exited{job.spec.id, job.epoch, *job.wait_status, job.spool, job.spec.moves}});
}

void Jobs::tell_moved(Time now, Job& job) {
  job.told_moved = now;
  out(Tell{job.spec.home, Moved{job.spec.id, job.epoch, job.at}});
}

void Jobs::on_here_ack(NodeId from, const HereAck& message) {
  Job* job = get(message.job);
  if (job == nullptr || job->spec.home != from || message.epoch != job->epoch) return;
  if (job->here) {
    job->here_acked = message.parked == job->parked.has_value();
  } else if (std::exchange(job->left, false) && !job->arriving) {
    forget(message.job);
  }
}

void Jobs::on_where(Time now, NodeId from, const Where& message) {
  Job* job = get(message.job);
  if (job == nullptr || job->spec.home != from || from == self_) return;
  if (job->left) return tell_moved(now, *job);
  if (job->here) {
    out(Tell{from, Here{job->spec.id, job->epoch, job->spec.moves, job->parked.has_value()}});
  }
}

void Jobs::on_exited_ack(NodeId from, const ExitedAck& message) {
  Job* job = get(message.job);
  if (job == nullptr || job->spec.home != from || !job->wait_status) return;
  if (job->spec.home == self_) return;
  forget(message.job);
}

// ---- routing and time

void Jobs::on(Time now, const Peer& event) {
  const NodeId from = event.from;
  if (const auto* output = std::get_if<Output>(&event.message)) {
    return on_output(now, from, *output);
  }
  if (const auto* ack = std::get_if<OutputAck>(&event.message)) {
    return on_output_ack(now, from, *ack);
  }
  if (const auto* here = std::get_if<Here>(&event.message)) return on_here(now, from, *here);
  if (const auto* exited = std::get_if<Exited>(&event.message)) {
    return on_exited(now, from, *exited);
  }
  if (const auto* moved = std::get_if<Moved>(&event.message)) return on_moved(now, from, *moved);
  if (const auto* where = std::get_if<Where>(&event.message)) return on_where(now, from, *where);
  if (const auto* ack = std::get_if<ExitedAck>(&event.message)) return on_exited_ack(from, *ack);
  if (const auto* ack = std::get_if<HereAck>(&event.message)) on_here_ack(from, *ack);
}

void Jobs::on(Time now, const Tick& /*event*/) {
  for (auto& [id, job] : jobs_) {
    tell_stall(now, job);
    if (job.left && now - job.told_moved >= kHereResend) tell_moved(now, job);
    if (!job.here || job.spec.home == self_) continue;
    if (!job.here_acked && now - job.told_here >= kHereResend) tell_here(now, job);
    relay(now, job);
    if (job.exit_kept && now - job.told_exit >= kExitResend) tell_exit(now, job);
  }
}

base::Time Jobs::next_deadline() const {
  Time next = base::kNever;
  for (const auto& [id, job] : jobs_) {
    next = std::min(next, next_stall(job));
    if (job.left) next = std::min(next, job.told_moved + kHereResend);
    if (!job.here || job.spec.home == self_) continue;
    if (!job.here_acked) next = std::min(next, job.told_here + kHereResend);
    for (std::size_t s = 0; s < kStreams; ++s) {
      if (job.in_flight[s] && !job.reading[s] && job.home_has[s] < job.spool[s]) {
        next = std::min(next, job.sent_at[s] + kOutputResend);
      }
    }
    if (job.exit_kept) next = std::min(next, job.told_exit + kExitResend);
  }
  return next;
}

}  // namespace node::jobs
