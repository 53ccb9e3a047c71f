// The machines of the world: copies of jobs, their output, and what a handover does to them.
#include <algorithm>

#include "node_world.h"

namespace node::testing {

using base::JobId;

void World::produce() {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    Machine& m = machines_[i];
    for (auto& [job, copy] : m.local) {
      Spool& spool = m.spools[job];
      if (!copy.frozen && !copy.paused) {
        produced_[job] += rates_[job];
        spool.end = produced_[job];
      }
      if (spool.told == spool.end || copy.frozen) continue;
      if (m.node) spool.told = spool.end;
      give(i, JobNews{jobs::SpoolGrew{job, {spool.base, 0}, {spool.end, 0}}});
    }
  }
  at(std::chrono::milliseconds(200), [this] { produce(); });
}

void World::sample(std::size_t node) {
  Machine& m = machines_[node];
  Sample sample;
  sample.cpus_millis = 2000;
  sample.memory_total_bytes = 8LL << 30;
  sample.memory_free_bytes = 6LL << 30;
  for (const auto& [job, copy] : m.local) {
    JobSample one;
    one.job = job;
    one.load_micros = copy.paused ? 0 : job_load_micros;
    one.memory_bytes = 1 << 20;
    one.scum_micros = 500'000;
    one.movable = !immovable.contains(job);
    if (!one.movable) one.why_not = "it has a device open";
    one.pid = 100;
    sample.load_micros += one.load_micros;
    sample.jobs.push_back(one);
  }
  if (owners.contains(node)) sample.owner = owners[node];
  give(node, sample);
  give(node, WallClock{wall()});
  const std::uint64_t life = m.life;
  at(std::chrono::seconds(5), [this, node, life] {
    if (machines_[node].life == life && machines_[node].node) this->sample(node);
  });
}

void World::end_copy(std::size_t node, const JobId& job, int status) {
  Machine& m = machines_[node];
  if (m.local.erase(job) == 0) return;
  give(node, JobNews{jobs::Ended{job, status, {m.spools[job].end, 0}}});
}

void World::perform_job(std::size_t node, const jobs::Action& action) {
  if (const auto* a = std::get_if<jobs::Launch>(&action)) {
    return later(node, 50, [this, node, job = a->spec.id] {
      machines_[node].local[job] = {};
      give(node, JobNews{jobs::Launched{job, 100}});
    });
  }
  if (const auto* a = std::get_if<jobs::Attend>(&action)) {
    return later(node, 50, [this, node, job = a->spec.id] {
      Machine& m = machines_[node];
      const bool held = std::any_of(m.incoming.begin(), m.incoming.end(), [&](const auto& arrival) {
        return arrival.first.job == job && arrival.second.state == Incoming::kHeld;
      });
      if (m.local.contains(job) || held) return;  // its processes are there
      give(node, JobNews{jobs::Ended{job, 9, {m.spools[job].end, 0}}});
    });
  }
  const auto rests = [&](const JobId& job, bool wakes) {
    later(node, 50, [this, node, job, wakes] {
      const auto copy = machines_[node].local.find(job);
      Rested rested;
      rested.job = job;
      rested.wakes = wakes;
      rested.ok = copy != machines_[node].local.end() && copy->second.parked == wakes;
      if (rested.ok) copy->second.frozen = copy->second.parked = !wakes;
      rested.facts.since = wall();
      give(node, rested);
    });
  };
  if (const auto* a = std::get_if<jobs::Park>(&action)) return rests(a->job, false);
  if (const auto* a = std::get_if<jobs::Wake>(&action)) return rests(a->job, true);
  if (const auto* a = std::get_if<jobs::ReadSpool>(&action)) {
    return later(node, 10, [this, node, order = *a] {
      const Spool& spool = machines_[node].spools[order.job];
      base::Bytes bytes;
      for (std::uint64_t k = order.offset; order.stream == 0 && k < spool.end; ++k) {
        if (k < spool.base || bytes.size() >= order.size_max) break;
        bytes.push_back(pattern(k));
      }
      give(node, JobNews{jobs::SpoolRead{order.job, order.stream, order.offset, bytes}});
    });
  }
  if (const auto* a = std::get_if<jobs::AppendHome>(&action)) {
    return later(node, 10, [this, node, order = *a] {
      Spool& log = machines_[node].spools[order.job];
      if (order.offset > log.end) violations.push_back("a hole in a log");
      for (std::size_t i = 0; i < order.bytes.size(); ++i) {
        if (order.bytes[i] != pattern(order.offset + i)) violations.push_back("other output");
      }
      log.end = std::max(log.end, order.offset + order.bytes.size());
      // Of a stream without output the log ends where it begins.
      const std::uint64_t end = order.stream == 0 ? log.end : order.offset;
      give(node, JobNews{jobs::HomeAppended{order.job, order.stream, end}});
    });
  }
  if (const auto* a = std::get_if<jobs::Forget>(&action)) {
    // The frozen original of a committed handover is killed soon.
    const auto copy = machines_[node].local.find(a->job);
    if (copy == machines_[node].local.end()) {
      machines_[node].spools.erase(a->job);
    } else if (!copy->second.frozen) {
      violations.push_back("forgotten while it runs here");
    }
  }
}

void World::perform_source(std::size_t node, const balance::Action& action) {
  if (const auto* a = std::get_if<balance::CollectRequirement>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      done(node, balance::RequirementCollected{id, true, {1}, ""});
    });
  }
  if (const auto* a = std::get_if<balance::FreezeAndStream>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      Machine& m = machines_[node];
      const auto copy = m.local.find(id.job);
      if (copy == m.local.end()) return done(node, balance::StreamFailed{id, "it ended"});
      copy->second.frozen = true;
      give(node, JobFrozen{id.job});
      later(node, 500, [this, node, id] {
        auto metadata = machines_[node].node->describe(id.job);
        if (!metadata) return done(node, balance::StreamFailed{id, "not here"});
        const Spool& spool = machines_[node].spools[id.job];
        metadata->ends = {spool.end, 0};
        metadata->acknowledged[0] = std::min(metadata->acknowledged[0], spool.end);
        metadata->acknowledged[1] = 0;
        streams_[id] = *metadata;
        done(node, balance::StreamComplete{id, balance::SealHash{{9}}, 1000});
      });
    });
  }
  if (const auto* a = std::get_if<balance::SendSeal>(&action)) {
    const std::size_t sink = index(a->sink);
    const auto stream = streams_.find(a->id);
    if (stream == streams_.end()) return;
    return deliver(
        sink, [this, sink, id = a->id, metadata = stream->second] { sealed(sink, id, metadata); });
  }
  if (const auto* a = std::get_if<balance::Thaw>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      const auto copy = machines_[node].local.find(id.job);
      const bool there = copy != machines_[node].local.end();
      if (there) copy->second.frozen = copy->second.parked;
      done(node, balance::Thawed{id, there});
    });
  }
  if (const auto* a = std::get_if<balance::KillOriginal>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      machines_[node].local.erase(id.job);
      done(node, balance::Killed{id});
    });
  }
  if (const auto* a = std::get_if<balance::CheckOriginal>(&action)) {
    return later(node, 50, [this, node, id = a->id] {
      done(node, balance::OriginalState{id, machines_[node].local.contains(id.job)});
    });
  }
}

void World::sealed(std::size_t node, const balance::HandoverId& id, const MoveMetadata& metadata) {
  Machine& m = machines_[node];
  const auto found = m.incoming.find(id);
  if (!m.node || found == m.incoming.end() || found->second.life != m.life) return;
  if (found->second.state != Incoming::kReceiving) return;
  auto decoded = decode_move_metadata(encode(metadata));
  if (!decoded) return violations.push_back("metadata that cannot be read");
  found->second.state = Incoming::kSealed;
  found->second.metadata = *decoded;
  m.storing[id.job] = id;
  give(node, MoveArrived{id, decoded->spec});
}

void World::perform_sink(std::size_t node, const balance::Action& action) {
  Machine& machine = machines_[node];
  if (const auto* a = std::get_if<balance::CheckPreflight>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      const bool ok = !options_.faults_in_host || !chance(100);
      done(node, balance::PreflightChecked{id, ok, ok ? "" : "no such file"});
    });
  }
  if (const auto* a = std::get_if<balance::ExpectStream>(&action)) {
    Arrival& arrival = machine.incoming[a->id];
    if (arrival.life == 0) arrival.life = machine.life;
    return;
  }
  if (const auto* a = std::get_if<balance::Restore>(&action)) {
    at(operation_delay, [this, node, life = machine.life, id = a->id] {
      if (machines_[node].life == life && machines_[node].node) restore(node, id);
    });
    return;
  }
  if (const auto* a = std::get_if<balance::CheckCopy>(&action)) {
    return later(node, 50, [this, node, id = a->id] {
      const bool held = machines_[node].incoming[id].state == Incoming::kHeld;
      done(node, balance::CopyState{id, held});
    });
  }
  if (const auto* a = std::get_if<balance::ReleaseCopy>(&action)) {
    return later(node, 100, [this, node, id = a->id] { release(node, id); });
  }
  if (const auto* a = std::get_if<balance::DiscardCopy>(&action)) {
    return later(node, 100, [this, node, id = a->id] {
      Arrival& arrival = machines_[node].incoming[id];
      if (arrival.state == Incoming::kReleased) violations.push_back("discarded what was let go");
      arrival.state = Incoming::kDiscarded;
      done(node, balance::Discarded{id});
    });
  }
}

void World::restore(std::size_t node, const balance::HandoverId& id) {
  later(node, 500, [this, node, id] {
    Arrival& arrival = machines_[node].incoming[id];
    const bool fails = options_.faults_in_host && chance(100);
    if (arrival.state == Incoming::kSealed && !fails) arrival.state = Incoming::kHeld;
    if (arrival.state != Incoming::kHeld) return done(node, balance::RestoreFailed{id, "no"});
    Spool& spool = machines_[node].spools[id.job];
    const MoveMetadata& metadata = arrival.metadata;
    const bool home = metadata.spec.home == machines_[node].id;
    if (home && metadata.acknowledged[0] > spool.end) violations.push_back("output is missing");
    if (!home) spool = {metadata.acknowledged[0], metadata.ends[0], UINT64_MAX};
    spool.end = std::max(spool.end, metadata.ends[0]);
    done(node, balance::Held{id, {metadata.ends[0], 0}});
  });
}

void World::release(std::size_t node, const balance::HandoverId& id) {
  Machine& m = machines_[node];
  Arrival& arrival = m.incoming[id];
  if (arrival.state == Incoming::kReleased) return done(node, balance::Released{id, true});
  if (die_when_let_go.erase(id.job) != 0) arrival.state = Incoming::kDiscarded;
  if (arrival.state != Incoming::kHeld) return done(node, balance::Released{id, false});
  arrival.state = Incoming::kReleased;
  ++releases_[id.job];
  if (m.local.contains(id.job)) violations.push_back("let go beside another copy");
  if (arrival.metadata.ends[0] != produced_[id.job]) violations.push_back("a copy lost output");
  m.local[id.job] = {};
  m.spools[id.job].told = UINT64_MAX;
  done(node, balance::Released{id, true});
}

}  // namespace node::testing
