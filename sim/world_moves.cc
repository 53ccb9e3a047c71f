// CRIU's stand-in: what a daemon does for a handover, with durations by size, failing, hanging and
// dying at each step.
//
//   SOURCE  FreezeAndStream: freeze (ms) -> frozen, streaming -> (memory / bandwidth) -> complete
//   SINK    ExpectStream ... seal -> Restore (0.1 s + memory at 1 GB/s) -> held -> released | gone
#include <algorithm>
#include <utility>

#include "sim/world.h"

namespace sim {
namespace {

using base::Duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kRestoreBytesPerSecond = 1'000'000'000;
constexpr Duration kSealAgain = milliseconds(200);  // the connection is there before the order
constexpr std::uint32_t kSealTriesMax = 50;
constexpr Duration kProgressEvery = seconds(2);
constexpr std::uint32_t kStageFreeze = 0;
constexpr std::uint32_t kStageStream = 1;  // and above: pieces of it
constexpr Duration kBreakSeen = seconds(3);
constexpr Duration kPingPong = std::chrono::minutes(2);

const balance::HandoverId& id_of(const balance::Action& action) {
  static const balance::HandoverId kNone{};
  if (const auto* a = std::get_if<balance::CollectRequirement>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::CheckPreflight>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::Thaw>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::KillOriginal>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::CheckOriginal>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::CheckCopy>(&action)) return a->id;
  if (const auto* a = std::get_if<balance::DiscardCopy>(&action)) return a->id;
  return kNone;
}

// Whose copy is frozen, thawed or killed.
std::optional<base::JobId> copy_of(const balance::Action& action) {
  if (const auto* a = std::get_if<balance::FreezeAndStream>(&action)) return a->id.job;
  if (const auto* a = std::get_if<balance::Thaw>(&action)) return a->id.job;
  if (const auto* a = std::get_if<balance::KillOriginal>(&action)) return a->id.job;
  return std::nullopt;
}

}  // namespace

void World::report(std::uint32_t host, const balance::Event& event) {
  if (strikes(host, Fault::kReportTwice)) {
    later(host, hosts_[host]->dice.operation.between(milliseconds(1), seconds(3)),
          ReportAgain{on(event)});
  }
  give(host, node::Handover{event});
}

void World::perform_move(std::uint32_t index, const balance::Action& action) {
  Host& host = *hosts_[index];
  promises_.orders(index, action);
  Dice& dice = host.dice.operation;
  if (const auto* a = std::get_if<balance::ExpectStream>(&action)) {
    Arrival& arrival = host.incoming[a->id];
    if (arrival.life == 0) arrival.life = host.life;
    if (const std::uint32_t job = job_index(a->id.job); job != kNobody) comes_to(job, index);
    return;
  }
  if (const auto* a = std::get_if<balance::SendSeal>(&action)) {
    const auto stream = streams_.find(a->id);
    const std::uint32_t sink = host_of(a->sink);
    if (stream == streams_.end() || sink == kNobody) return;
    if (cut(index, sink) || !hosts_[sink]->node) return;
    const Duration delay = way(index, sink, 100, dice);
    return put(now_ + delay, sink, hosts_[sink]->life,
               SealArrives{a->id, index, on(stream->second), 0});
  }
  if (const auto* a = std::get_if<balance::FreezeAndStream>(&action)) promises_.begins(index, *a);
  if (const auto* a = std::get_if<balance::ReleaseCopy>(&action)) {
    const auto found = host.incoming.find(a->id);
    if (found != host.incoming.end() && found->second.ordered == base::Time{}) {
      found->second.ordered = now_;
      if (found->second.state == Incoming::kHeld) {
        has_moved(index, found->second.metadata.spec.load_micros);
      }
    }
  }
  if (const auto* a = std::get_if<balance::KillOriginal>(&action)) {
    Copy* copy = host.machine.find(job_index(a->id.job));
    const bool ran = copy != nullptr && !copy->parked;  // what rests adds nothing to the load
    if (ran && copy->epoch <= a->newest && !std::exchange(copy->leaves, true)) {
      has_moved(index, -copy->load.micros());
    }
  }
  Duration takes = dice.between(milliseconds(5), milliseconds(100));
  if (std::holds_alternative<balance::CheckPreflight>(action)) {
    takes += dice.between(milliseconds(20), milliseconds(300));
  }
  if (const auto* a = std::get_if<balance::Restore>(&action)) {
    const std::uint32_t job = job_index(a->id.job);
    const std::int64_t bytes = job == kNobody ? 0 : jobs_[job].plan.memory_bytes;
    takes += milliseconds(100) + Duration(bytes / (kRestoreBytesPerSecond / 1'000'000));
    if (strikes(index, Fault::kRestoreHangs)) return;
    if (strikes(index, Fault::kRestoreSlow)) takes += dice.between(seconds(1), seconds(30));
  }
  const bool thaws = std::holds_alternative<balance::Thaw>(action);
  if (thaws && strikes(index, Fault::kThawSlow)) takes += dice.between(seconds(1), seconds(10));
  if (const auto job = copy_of(action)) {
    base::Time& free_at = host.copy_free_at[job_index(*job)];
    free_at = std::max(free_at, now_) + takes;
    takes = free_at - now_;
  }
  later(index, takes, MoveDone{on(action), kStageFreeze});
}

void World::move_done(std::uint32_t index, const MoveDone& done) {
  Host& host = *hosts_[index];
  const balance::Action& action = *done.action;
  const balance::HandoverId& id = id_of(action);
  const std::uint32_t job = job_index(id.job);
  if (const auto* a = std::get_if<balance::FreezeAndStream>(&action)) {
    return source_done(index, *a, done.stage);
  }
  if (const auto* a = std::get_if<balance::Restore>(&action)) return sink_restores(index, *a);
  if (const auto* a = std::get_if<balance::ReleaseCopy>(&action)) return release(index, *a);
  if (std::holds_alternative<balance::Thaw>(action)) return thaw(index, id);
  if (const auto* kill = std::get_if<balance::KillOriginal>(&action)) {
    return kill_original(index, *kill);
  }
  if (std::holds_alternative<balance::DiscardCopy>(action)) return discard(index, id);
  if (std::holds_alternative<balance::CollectRequirement>(action)) {
    const bool here = job != kNobody && host.machine.find(job) != nullptr;
    return report(index, balance::RequirementCollected{id, here, {1}, here ? "" : "it is gone"});
  }
  if (std::holds_alternative<balance::CheckPreflight>(action)) {
    const bool ok = !strikes(index, Fault::kPreflightRefuses);
    return report(index, balance::PreflightChecked{id, ok, ok ? "" : "a file is missing"});
  }
  if (std::holds_alternative<balance::CheckOriginal>(action)) {
    const bool there = job != kNobody && host.machine.find(job) != nullptr;
    return report(index, balance::OriginalState{id, there});
  }
  if (std::holds_alternative<balance::CheckCopy>(action)) {
    const auto found = host.incoming.find(id);
    const bool held = found != host.incoming.end() && found->second.state == Incoming::kHeld;
    return report(index, balance::CopyState{id, held});
  }
}

// ---- SOURCE

void World::break_sink(std::uint32_t source, const base::NodeId& sink_id,
                       const balance::HandoverId& id) {
  const std::uint32_t sink = host_of(sink_id);
  if (sink == kNobody || sink == source) return;
  put(now_ + kBreakSeen, sink, hosts_[sink]->life, SinkBroken{id});
}

void World::source_done(std::uint32_t index, const balance::FreezeAndStream& order,
                        std::uint32_t stage) {
  Host& host = *hosts_[index];
  const balance::HandoverId& id = order.id;
  const std::uint32_t job = job_index(id.job);
  const std::uint32_t sink = host_of(order.sink);
  const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  const auto fails = [&](const char* why) {
    break_sink(index, order.sink, id);
    report(index, balance::StreamFailed{id, why});
  };
  if (copy == nullptr) return fails("the job is gone");
  if (copy->parking || copy->woken) return fails("the job is being parked or woken");
  if (stage == kStageFreeze) {
    freeze(index, job, id);
    give(index, node::JobFrozen{id.job});
    tell_growth(index, job);  // the daemon watches spools, and the last of it is there now
    if (!host.node) return;
    if (strikes(index, Fault::kDumpHangs)) return;
    const Duration takes =
        Duration(jobs_[job].plan.memory_bytes * 1'000'000 / scenario_.bandwidth_bytes_per_second) +
        milliseconds(80);
    const Duration first = std::min(takes, kProgressEvery);
    return later(index, first, MoveDone{on<balance::Action>(order), kStageStream});
  }
  if (!copy->frozen) return;  // it was thawed meanwhile: this attempt is over
  if (sink == kNobody || cut(index, sink) || cut(sink, index) || !hosts_[sink]->node) {
    return fails("the sink does not answer");
  }
  if (strikes(index, Fault::kDumpFails)) return fails("CRIU failed");
  if (strikes(index, Fault::kStreamBreaks)) return fails("the connection broke");
  const std::int64_t rate = scenario_.bandwidth_bytes_per_second;
  const std::int64_t piece = rate * (kProgressEvery.count() / 1'000'000);
  const std::int64_t sent = static_cast<std::int64_t>(stage - kStageStream + 1) * piece;
  if (sent < jobs_[job].plan.memory_bytes) {
    give(index, node::Handover{balance::StreamProgress{id, static_cast<std::uint64_t>(sent)}});
    Duration takes = kProgressEvery;
    if (strikes(index, Fault::kDumpSlow)) takes += seconds(5);
    return later(index, takes, MoveDone{on<balance::Action>(order), stage + 1});
  }
  auto metadata = host.node->describe(id.job);
  if (!metadata) return fails("the job is not here");
  Spool& spool = host.spools[job];
  spool.end = std::max(spool.end, jobs_[job].output());
  metadata->ends = {spool.end, 0};
  metadata->acknowledged[0] = std::min(metadata->acknowledged[0], spool.end);
  metadata->acknowledged[1] = 0;
  streams_[id] = *metadata;
  report(index, balance::StreamComplete{id, balance::SealHash{{9}},
                                        static_cast<std::uint64_t>(jobs_[job].plan.memory_bytes)});
  const bool rests = host.machine.find(job) != nullptr && host.machine.find(job)->parked;
  if (!rests && strikes(index, Fault::kOriginalDies) && host.machine.find(job) != nullptr) {
    // Whether its load is taken off at the commit or left to fade is the node's choice.
    const std::int64_t load = host.machine.find(job)->load.micros();
    for (const std::int64_t either : {load, -load, -load}) has_moved(index, either);
    host.machine.remove(now_, jobs_, job);
    schedule_end(index);
    lose_if_last(job);
  }
}

void World::thaw(std::uint32_t index, const balance::HandoverId& id) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(id.job);
  Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  if (copy == nullptr) {  // one that ended by itself ran on; one that died frozen did not
    const bool ran = job != kNobody && host.exits.contains(job);
    return report(index, balance::Thawed{id, ran});
  }
  // That epoch is burnt: what arrived under it, and may still be held, will never run.
  copy->epoch = std::max(copy->epoch, id.epoch);
  jobs_[job].epoch = std::max(jobs_[job].epoch, copy->epoch);
  if (copy->parked || copy->parking) {
    copy->frozen_for = {};  // it stays as it is
  } else if (copy->frozen) {
    host.machine.thaw(now_, jobs_, job);
    schedule_end(index);
    promises_.runs(index, job, copy->epoch, "thaw");
  }
  report(index, balance::Thawed{id, true});
}

void World::kill_original(std::uint32_t index, const balance::KillOriginal& order) {
  const balance::HandoverId& id = order.id;
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(id.job);
  const Copy* copy = job == kNobody ? nullptr : host.machine.find(job);
  // It came back since; the original of that handover is long gone.
  if (copy != nullptr && copy->epoch > order.newest) copy = nullptr;
  if (copy != nullptr && !was_released(id)) {
    promises_.broke_job("last-copy", index, job, "killed before the other copy was let go");
  }
  if (copy != nullptr && host.machine.remove(now_, jobs_, job)) {
    schedule_end(index);
    promises_.destroyed(index, job, "the original was killed");
  }
  report(index, balance::Killed{id});
}

bool World::was_released(const balance::HandoverId& id) const {
  const std::uint32_t job = job_index(id.job);
  if (job == kNobody) return false;
  const std::vector<std::uint32_t>& places = jobs_[job].places;
  return std::any_of(places.begin(), places.end(), [&](std::uint32_t place) {
    const auto& incoming = hosts_[place]->incoming;
    const auto found = incoming.find(id);
    return found != incoming.end() && found->second.state == Incoming::kReleased;
  });
}

// Whether the job runs somewhere, rests or is about to, or stands still for a later handover than
// that of `epoch`.
bool World::runs_or_moves(std::uint32_t job, base::Epoch epoch) const {
  if (jobs_[job].ended || runs_at(job) != kNobody || parked_at(job) != kNobody) return true;
  const std::vector<std::uint32_t>& places = jobs_[job].places;
  const bool parks = std::any_of(places.begin(), places.end(), [&](std::uint32_t place) {
    const Copy* copy = hosts_[place]->machine.find(job);
    return copy != nullptr && copy->parking;
  });
  if (parks) return true;
  return promises_.last_begun(job) > epoch;
}

// ---- SINK

void World::seal_arrives(std::uint32_t index, SealArrives arrives) {
  Host& host = *hosts_[index];
  const auto found = host.incoming.find(arrives.id);
  if (found == host.incoming.end()) {
    if (++arrives.tries > kSealTriesMax) return;
    return later(index, kSealAgain, std::move(arrives));
  }
  if (found->second.life != host.life || found->second.state != Incoming::kReceiving) return;
  auto decoded = node::decode_move_metadata(node::encode(*arrives.metadata));
  if (!decoded) return promises_.broke("own-records", index, "metadata that cannot be read");
  found->second.state = Incoming::kSealed;
  found->second.metadata = *decoded;
  host.storing[arrives.id.job] = arrives.id;
  give(index, node::MoveArrived{arrives.id, decoded->spec});
}

void World::sink_restores(std::uint32_t index, const balance::Restore& order) {
  Host& host = *hosts_[index];
  const balance::HandoverId& id = order.id;
  const std::uint32_t job = job_index(id.job);
  const auto found = host.incoming.find(id);
  if (found == host.incoming.end() || job == kNobody) {
    return report(index, balance::RestoreFailed{id, "nothing came"});
  }
  Arrival& arrival = found->second;
  const bool fails = strikes(index, Fault::kRestoreFails);
  if (arrival.state == Incoming::kSealed && arrival.life == host.life && !fails) {
    arrival.state = Incoming::kHeld;
    arrival.held_at = now_;
  }
  if (arrival.state != Incoming::kHeld) {
    return report(index, balance::RestoreFailed{id, "CRIU failed"});
  }
  Spool& spool = host.spools[job];
  const node::MoveMetadata& metadata = arrival.metadata;
  if (metadata.spec.home == host.id) {
    if (metadata.acknowledged[0] > spool.end) {
      promises_.broke_job("output", index, job, "home lacks what it acknowledged");
    }
    spool.end = std::max(spool.end, metadata.ends[0]);
  } else {
    spool = {metadata.acknowledged[0], metadata.ends[0]};
  }
  report(index, balance::Held{id, {metadata.ends[0], 0}});
  if (!strikes(index, Fault::kCopyDies)) return;
  const auto held = host.incoming.find(id);
  if (held == host.incoming.end() || held->second.state != Incoming::kHeld) return;
  held->second.state = Incoming::kGone;
  lose_if_last(job);
}

void World::release(std::uint32_t index, const balance::ReleaseCopy& order) {
  Host& host = *hosts_[index];
  const balance::HandoverId& id = order.id;
  const std::uint32_t job = job_index(id.job);
  const auto found = host.incoming.find(id);
  if (found == host.incoming.end() || job == kNobody) {
    return report(index, balance::Released{id, false});
  }
  Arrival& arrival = found->second;
  if (arrival.state != Incoming::kHeld) {
    return report(index, balance::Released{id, arrival.state == Incoming::kReleased});
  }
  arrival.state = Incoming::kReleased;
  promises_.taint_job(id);
  if (host.machine.find(job) != nullptr) {
    promises_.broke_job("one-runs", index, job, "let go beside another copy of it");
    return;
  }
  JobTruth& truth = jobs_[job];
  if (arrival.metadata.ends[0] != truth.output()) {
    promises_.broke_job("output", index, job,
                        "the copy does not continue where the original stopped");
  }
  ++truth.moves;
  ++counts_.commits;
  if (truth.came_from == index && now_ - truth.arrived < kPingPong) ++counts_.ping_pongs;
  truth.came_from = truth.at;
  if (!std::exchange(truth.begun, true)) truth.started = now_;  // it was queued
  add_copy(index, job, id.epoch, arrival.metadata.spec.load_micros, "release");
  truth.arrived = arrival.ordered;
  report(index, balance::Released{id, true});
}

void World::discard(std::uint32_t index, const balance::HandoverId& id) {
  Host& host = *hosts_[index];
  const std::uint32_t job = job_index(id.job);
  const auto found = host.incoming.find(id);
  if (found != host.incoming.end()) {
    const Incoming was = found->second.state;
    promises_.taint_job(id);
    if (was == Incoming::kReleased) {
      promises_.broke_job("last-copy", index, job, "discarded what was let go");
    }
    found->second.state = Incoming::kGone;
    if (was == Incoming::kHeld && job != kNobody) {
      // One that never said ready may go at any time: the original stands by.
      const auto record = disk(index).find(balance::end_key(id));
      const auto end = record == disk(index).end()
                           ? base::Result<balance::EndRecord>(balance::EndRecord{})
                           : balance::decode_end(record->second);
      const bool was_ready = end && end->state == balance::EndState::kSinkDiscarded;
      if (was_ready && !runs_or_moves(job, id.epoch)) {
        promises_.broke_job("last-copy", index, job, "a held copy went before the original ran");
      }
      promises_.destroyed(index, job, "the held copy was discarded");
    }
  }
  report(index, balance::Discarded{id});
}

}  // namespace sim
