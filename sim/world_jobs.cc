// Disks, jobs and their output.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/overloaded.h"
#include "sim/world.h"

namespace sim {
namespace {

using base::Duration;
using base::JobId;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kOutputEvery = milliseconds(500);
constexpr std::uint64_t kLogPiece = 4096;  // bytes of a log in one answer
constexpr int kKilled = 9;

}  // namespace

// ---- the store

void World::persist(std::uint32_t index, node::Persist batch) {
  Host& host = *hosts_[index];
  promises_.decides(index, batch);
  Pending pending{std::move(batch), std::nullopt};
  std::vector<balance::RecordChange>& changes = pending.batch.changes;
  if (changes.size() == 1 && changes[0].value && Shelf::is_for(changes[0].key)) {
    pending.known = shelf_.take(changes[0].key, *changes[0].value);
    changes = std::vector<balance::RecordChange>();
  }
  host.disk.pending.push_back(std::move(pending));
  Duration takes = host.dice.disk.between(milliseconds(1), milliseconds(8));
  if (strikes(index, Fault::kSlowDisk)) {
    takes += host.dice.disk.between(milliseconds(50), seconds(1));
  }
  host.disk.free_at = std::max(host.disk.free_at, now_) + takes;
  if (host.disk.full_until > host.disk.free_at) {
    count(Fault::kDiskFull);
    host.disk.free_at = host.disk.full_until;
  }
  later(index, host.disk.free_at - now_, Synced{});
}

void World::synced(std::uint32_t index) {
  Host& host = *hosts_[index];
  if (host.disk.pending.empty()) return;
  const Pending pending = std::move(host.disk.pending.front());
  host.disk.pending.pop_front();
  apply(index, pending);
  give(index, node::Persisted{pending.batch.id});
}

void World::apply(std::uint32_t index, const Pending& pending) {
  Host& host = *hosts_[index];
  if (pending.known) return host.disk.synced.put(*pending.known, shelf_);
  promises_.persists(index, pending.batch);
  for (const balance::RecordChange& change : pending.batch.changes) {
    if (change.value) {
      host.disk.synced.put(change.key, *change.value, shelf_);
    } else {
      host.disk.synced.erase(change.key, shelf_);
    }
  }
}

// ---- copies

void World::add_copy(std::uint32_t host, std::uint32_t job, base::Epoch epoch, std::int64_t load,
                     const char* how) {
  JobTruth& truth = jobs_[job];
  comes_to(job, host);
  hosts_[host]->machine.add(now_, jobs_, job, epoch, load);
  truth.arrived = now_;
  truth.at = host;
  promises_.runs(host, job, epoch, how);
  schedule_end(host);
  if (truth.plan.output_per_second > 0 && !hosts_[host]->output_due) {
    hosts_[host]->output_due = true;
    put(now_ + kOutputEvery, host, 0, OutputDue{});
  }
}

void World::comes_to(std::uint32_t job, std::uint32_t host) {
  std::vector<std::uint32_t>& places = jobs_[job].places;
  const auto at = std::lower_bound(places.begin(), places.end(), host);
  if (at == places.end() || *at != host) places.insert(at, host);
}

std::size_t World::copies_of(std::uint32_t job) const {
  const base::Epoch newest = jobs_[job].epoch;
  std::size_t count = 0;
  for (const std::uint32_t place : jobs_[job].places) {
    const Host& host = *hosts_[place];
    const Copy* copy = host.machine.find(job);
    count += copy != nullptr && copy->epoch >= newest ? 1U : 0U;
    for (const auto& [id, arrival] : host.incoming) {
      const bool held = id.job == jobs_[job].id && arrival.state == Incoming::kHeld;
      count += held && id.epoch > newest ? 1U : 0U;
    }
  }
  return count;
}

std::uint32_t World::runs_at(std::uint32_t job) const {
  for (const std::uint32_t place : jobs_[job].places) {
    const Copy* copy = hosts_[place]->machine.find(job);
    if (copy != nullptr && !copy->frozen) return place;
  }
  return kNobody;
}

void World::freeze(std::uint32_t host, std::uint32_t job, const balance::HandoverId& id) {
  hosts_[host]->machine.freeze(now_, jobs_, job, id);
  schedule_end(host);
}

void World::schedule_end(std::uint32_t index) {
  Machine& machine = hosts_[index]->machine;
  ++machine.end_version;
  last_change_ = now_;
  const base::Time end = machine.next_end(now_, jobs_);
  if (end != base::kNever) put(end, index, 0, JobEnds{machine.end_version});
}

void World::jobs_end(std::uint32_t index) {
  Machine& machine = hosts_[index]->machine;
  machine.settle(now_, jobs_);
  std::vector<std::uint32_t> over;
  for (const Copy& copy : machine.copies()) {
    if (!copy.frozen && jobs_[copy.job].work_left() <= 0) over.push_back(copy.job);
  }
  for (const std::uint32_t job : over) end_copy(index, job, 0);
  schedule_end(index);
}

void World::end_copy(std::uint32_t index, std::uint32_t job, int wait_status) {
  Host& host = *hosts_[index];
  if (!host.machine.remove(now_, jobs_, job)) return;
  JobTruth& truth = jobs_[job];
  truth.ended = true;
  truth.ended_at = now_;
  truth.ended_on = index;
  truth.wait_status = wait_status;
  ++counts_.jobs_ended;
  host.exits[job] = wait_status;
  host.spools[job].end = std::max(host.spools[job].end, truth.output());
  schedule_end(index);
  give(index, node::JobNews{node::jobs::Ended{truth.id, wait_status, {host.spools[job].end, 0}}});
}

void World::lose_if_last(std::uint32_t job) {
  if (copies_of(job) == 0) lose(job);
}

void World::lose(std::uint32_t job) {
  JobTruth& truth = jobs_[job];
  if (truth.ended) return;
  truth.ended = truth.lost = true;
  ++counts_.jobs_lost;
}

// Fades as the kernel's load average takes it up, over a minute.
World::Moved World::moved(std::uint32_t index) const {
  const Host& host = *hosts_[index];
  const double passed = static_cast<double>((now_ - host.moved_at).count()) / 1e6;
  const double left = std::exp(-passed / 60);
  const auto faded = [&](std::int64_t micros) {
    return static_cast<std::int64_t>(static_cast<double>(micros) * left);
  };
  return {faded(host.moved.sum_micros), faded(host.moved.all_micros)};
}

void World::has_moved(std::uint32_t index, std::int64_t load_micros) {
  Host& host = *hosts_[index];
  host.moved = moved(index);
  host.moved.sum_micros += load_micros;
  host.moved.all_micros += std::abs(load_micros);
  host.moved_at = now_;
}

// ---- what a machine shows

void World::sample(std::uint32_t index) {
  Host& host = *hosts_[index];
  host.machine.settle(now_, jobs_);
  host.machine.sample_load(now_);
  put(now_ + kSampleEvery, index, 0, SampleDue{});
  if (!host.node) return;
  node::Sample sample = host.machine.sample(now_, jobs_);
  if ((host.lies >> static_cast<unsigned>(Fault::kLieLoad) & 1U) != 0) {
    count(Fault::kLieLoad);
    Dice& dice = host.dice.entropy;
    sample.load_micros = static_cast<std::int64_t>(dice.next() >> (1 + dice.below(63)));
    sample.cpus_millis = static_cast<std::int64_t>(dice.next() >> (1 + dice.below(63)));
    sample.memory_free_bytes = static_cast<std::int64_t>(dice.next() >> (1 + dice.below(63)));
  }
  sample.owner = host.owner;
  give(index, std::move(sample));
  if (host.node) promises_.sampled(index);
  look_at_guests(index);
  if (host.node) give(index, node::WallClock{wall(host)});
}

void World::grow_spools(std::uint32_t index) {
  Host& host = *hosts_[index];
  host.output_due = false;
  host.machine.settle(now_, jobs_);
  std::vector<std::uint32_t> running;
  bool any = false;
  for (const Copy& copy : host.machine.copies()) {
    any = any || jobs_[copy.job].plan.output_per_second > 0;
    if (!copy.frozen && jobs_[copy.job].plan.output_per_second > 0) running.push_back(copy.job);
  }
  if (any) {
    host.output_due = true;
    put(now_ + kOutputEvery, index, 0, OutputDue{});
  }
  for (const std::uint32_t job : running) tell_growth(index, job);
}

void World::tell_growth(std::uint32_t index, std::uint32_t job) {
  Host& host = *hosts_[index];
  Spool& spool = host.spools[job];
  spool.end = std::max(spool.end, jobs_[job].output());
  Copy* copy = host.machine.find(job);
  if (!host.node || copy == nullptr || copy->told == spool.end) return;
  copy->told = spool.end;
  give(index, node::JobNews{node::jobs::SpoolGrew{jobs_[job].id, {spool.base, 0}, {spool.end, 0}}});
}

// ---- what the jobs core orders

void World::perform_job(std::uint32_t host, const node::jobs::Action& action) {
  if (const auto* a = std::get_if<node::jobs::Wake>(&action)) promises_.wakes(host, a->job);
  Duration takes = hosts_[host]->dice.operation.between(milliseconds(1), milliseconds(30));
  if (std::holds_alternative<node::jobs::Forget>(action)) return job_done(host, action);
  later(host, takes, JobsDone{on(action)});
}

void World::job_done(std::uint32_t index, const node::jobs::Action& action) {
  Host& host = *hosts_[index];
  if (const auto* a = std::get_if<node::jobs::Launch>(&action)) {
    const std::uint32_t job = job_index(a->spec.id);
    if (job == kNobody || host.machine.find(job) != nullptr) return;
    if (strikes(index, Fault::kLaunchFails)) {
      jobs_[job].ended = true;
      return give(index, node::JobNews{node::jobs::LaunchFailed{a->spec.id, "no such program"}});
    }
    jobs_[job].begun = true;
    jobs_[job].started = now_;
    add_copy(index, job, a->epoch, 0, "launch");
    return give(index, node::JobNews{node::jobs::Launched{a->spec.id, 100 + job}});
  }
  if (const auto* a = std::get_if<node::jobs::Attend>(&action)) {
    const std::uint32_t job = job_index(a->spec.id);
    if (job == kNobody || attends_parked(index, job)) return;
    if (host.machine.find(job) != nullptr) return;
    const bool held =
        std::any_of(host.incoming.begin(), host.incoming.end(), [&](const auto& arrival) {
          return arrival.first.job == a->spec.id && arrival.second.state == Incoming::kHeld;
        });
    if (held) return;
    const auto exit = host.exits.find(job);
    const int status = exit == host.exits.end() ? kKilled : exit->second;
    lose_if_last(job);
    return give(index,
                node::JobNews{node::jobs::Ended{a->spec.id, status, {host.spools[job].end, 0}}});
  }
  if (const auto* a = std::get_if<node::jobs::Park>(&action)) return rests(index, *a);
  if (const auto* a = std::get_if<node::jobs::Wake>(&action)) return wakes(index, *a);
  if (const auto* a = std::get_if<node::jobs::Remove>(&action)) return removes(index, *a);
  if (const auto* a = std::get_if<node::jobs::ReadSpool>(&action)) return read_spool(index, *a);
  if (const auto* a = std::get_if<node::jobs::AppendHome>(&action)) return append_home(index, *a);
  if (const auto* a = std::get_if<node::jobs::Forget>(&action)) {
    const std::uint32_t job = job_index(a->job);
    if (job == kNobody) return;
    // The frozen original of a committed handover is killed soon.
    const Copy* copy = host.machine.find(job);
    if (copy == nullptr) {
      host.spools.erase(job);
      host.exits.erase(job);
    } else if (!copy->frozen) {
      promises_.broke_job("last-copy", index, job, "forgotten while it runs here");
    }
  }
}

void World::read_spool(std::uint32_t index, const node::jobs::ReadSpool& order) {
  const std::uint32_t job = job_index(order.job);
  if (job == kNobody) return;
  const Spool& spool = hosts_[index]->spools[job];
  base::Bytes bytes;
  if (order.stream == 0 && order.offset >= spool.base && order.offset < spool.end) {
    bytes.resize(std::min<std::uint64_t>(spool.end - order.offset, order.size_max));
    fill_output(order.offset, bytes);
  }
  give(index, node::JobNews{
                  node::jobs::SpoolRead{order.job, order.stream, order.offset, std::move(bytes)}});
}

void World::append_home(std::uint32_t index, const node::jobs::AppendHome& order) {
  const std::uint32_t job = job_index(order.job);
  if (job == kNobody) return;
  Spool& log = hosts_[index]->spools[job];
  if (order.offset > log.end) promises_.broke_job("output", index, job, "a hole in the log");
  if (!is_output(order.offset, order.bytes)) {
    promises_.broke_job("output", index, job, "bytes that it did not write");
  }
  log.end = std::max(log.end, order.offset + order.bytes.size());
  const std::uint64_t end = order.stream == 0 ? log.end : order.offset;
  give(index, node::JobNews{node::jobs::HomeAppended{order.job, order.stream, end}});
}

void World::action_done(std::uint32_t index, const node::Action& action) {
  Host& host = *hosts_[index];
  if (const auto* a = std::get_if<node::MoveStored>(&action)) {
    const auto found = host.storing.find(a->job);
    if (found == host.storing.end()) return;
    const balance::HandoverId id = found->second;
    host.storing.erase(found);
    return report(index, balance::StreamSealed{id, 1000});
  }
  if (const auto* a = std::get_if<node::ReadLog>(&action)) {
    node::LogRead read{a->token, {}, {}};
    const std::uint32_t job = job_index(a->job);
    if (job != kNobody) {
      const Spool& log = host.spools[job];
      read.ends = {log.end, 0};
      if (a->stream == 0 && a->offset >= log.base && a->offset < log.end) {
        read.bytes.resize(std::min<std::uint64_t>(log.end - a->offset, kLogPiece));
        fill_output(a->offset, read.bytes);
      }
    }
    return give(index, read);
  }
  if (const auto* a = std::get_if<node::CollectNeeds>(&action)) {
    return give(index, node::NeedsLooked{a->token, {1}, {}});
  }
  if (const auto* a = std::get_if<node::CheckNeeds>(&action)) {
    return give(index, node::NeedsLooked{a->token, {}, {}});
  }
  if (const auto* a = std::get_if<node::LimitCpu>(&action)) return limit(index, *a);
  if (const auto* a = std::get_if<node::PauseJob>(&action)) return pause(index, *a);
  if (const auto* a = std::get_if<node::SignalJob>(&action)) {
    promises_.answers().signals(index, a->job);
    const std::uint32_t job = job_index(a->job);
    // A frozen copy hears nothing: what is sent to it is as good as lost.
    const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
    const bool there = copy != nullptr && !copy->frozen;
    give(index, node::Signalled{a->token, there, there ? "" : "it is gone"});
    if (there && host.node) end_copy(index, job, a->signal_number);
  }
}

void World::limit(std::uint32_t index, const node::LimitCpu& order) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(order.job);
  const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr || copy->parked) {
    return give(index, node::CpuLimited{order.token, false, "it is gone"});
  }
  promises_.limits(index, *copy, order.limit_micros);
  host.machine.limit(now_, jobs_, job, order.limit_micros);
  const base::Time changed = last_change_;  // no copy comes or goes
  schedule_end(index);
  last_change_ = changed;
  give(index, node::CpuLimited{order.token, true, "model"});
}

}  // namespace sim
