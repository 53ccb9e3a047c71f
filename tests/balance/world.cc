#include "world.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace balance::testing {

using base::Duration;

namespace {
Duration ms(std::uint64_t n) { return Duration(static_cast<std::int64_t>(n) * 1000); }
}  // namespace

WorldOptions options_of(std::uint64_t seed, std::size_t nodes) {
  base::Rng rng(seed * 7 + nodes);
  WorldOptions o;
  o.nodes = nodes;
  o.jobs = 1 + rng.below(3);
  o.loss_permille = rng.below(4) == 0 ? 0 : rng.below(250);
  o.double_permille = rng.below(200);
  o.late_permille = rng.below(60);
  o.crash_per_million = rng.below(3) == 0 ? 0 : rng.below(6000);
  o.fail_permille = rng.below(150);
  o.hang_permille = rng.below(100);
  o.accident_permille = rng.below(2) == 0 ? rng.below(400) : 0;
  o.power_permille = rng.below(4) == 0 ? rng.below(40) : 0;
  o.partition_permille = rng.below(2) == 0 ? rng.below(400) : 0;
  o.gone_permille = rng.below(3) == 0 ? rng.below(100) : 0;
  o.comes_back = rng.below(2) == 0;
  return o;
}

World::World(std::uint64_t seed, WorldOptions options) : rng_(seed), options_(options) {
  machines_.resize(options_.nodes);
  for (Machine& m : machines_) {
    rng_.fill(m.id.bytes);
    rng_.fill(m.store.bytes);
  }
  for (std::size_t i = 0; i < options_.jobs; ++i) {
    JobId job;
    rng_.fill(job.bytes);
    jobs_[job] = {};
    machines_[0].local[job] = Copy::kRunning;
    machines_[0].local_epoch[job] = 1;
    machines_[0].disk[own_key(job)] = encode(OwnRecord{Epoch{1}, Epoch{1}, machines_[0].id});
  }
  for (std::size_t i = 0; i < machines_.size(); ++i) start(i);
}

void World::at(Duration in, std::function<void()> what) {
  heap_.push({now_ + in, order_++, std::move(what)});
}

void World::run() {
  at(ms(0), [this] { sample(); });
  at(ms(2000), [this] { weather(); });
  const base::Time calm = now_ + options_.faults_for;
  const base::Time end = calm + options_.calm_for;
  while (!heap_.empty() && heap_.top().at <= end && violations_.empty()) {
    if (faults_ && heap_.top().at >= calm) {
      faults_ = false;
      cut_.clear();
      if (options_.comes_back) at(options_.calm_for / 2, [this] { come_back(); });
    }
    Item item = heap_.top();
    heap_.pop();
    now_ = item.at;
    item.what();
    check();
  }
  if (violations_.empty()) check_calm();
}

// ---- the daemon

void World::start(std::size_t node) {
  Machine& m = machines_[node];
  ++m.life;
  m.core = std::make_unique<Balance>(Config{m.id, m.store, base::Incarnation{m.life}},
                                     base::Rng(rng_.next()), m.disk);
  m.tick_at = base::kNever;
  if (m.core->refuses()) violation("a record of its own was unreadable");
  const std::uint64_t life = m.life;
  at(ms(0), [this, node, life] {
    if (machines_[node].life == life && machines_[node].core) give(node, Tick{});
  });
}

void World::crash(std::size_t node, bool power) {
  Machine& m = machines_[node];
  if (m.core) ++counts_.crashes;
  m.core.reset();
  ++m.life;
  // A prefix of what was not synced is there.
  std::uint64_t keep = m.writes.empty() ? 0 : rng_.below(m.writes.size() + 1);
  for (; keep > 0; --keep) {
    for (const RecordChange& c : m.writes.front().second.changes) {
      if (c.value) {
        m.disk[c.key] = *c.value;
      } else {
        m.disk.erase(c.key);
      }
    }
    m.writes.pop_front();
  }
  m.writes.clear();
  m.expecting.clear();
  if (power) {
    for (auto& [job, copy] : m.local) {
      ++jobs_[job].accidents;
      if (copy == Copy::kRunning) jobs_[job].lost = true;
    }
    m.local.clear();
    m.local_epoch.clear();
    for (auto& [id, copy] : m.incoming) {
      if (copy == Incoming::kHeld) ++jobs_[id.job].accidents;
      if (copy != Incoming::kReleased) copy = Incoming::kDiscarded;
    }
    for (auto& [job, state] : jobs_) {
      if (state.accidents > 0 && can_run(job) == 0) state.lost = true;
    }
  }
  at(ms(50 + rng_.below(8000)), [this, node] {
    if (!machines_[node].core && away_ != node) start(node);
  });
}

void World::go_away(std::size_t node) {
  ++counts_.away;
  was_away_ = true;
  away_ = node;
  crash(node, true);
}

void World::come_back() {
  if (!away_) return;
  const std::size_t node = *std::exchange(away_, std::nullopt);
  if (!machines_[node].core) start(node);
}

void World::give(std::size_t node, const Event& event) {
  Machine& m = machines_[node];
  if (!m.core) return;
  ++counts_.events;
  const std::uint64_t life = m.life;
  for (const Action& action : m.core->step(now_, event)) {
    perform(node, action);
    if (faults_ && rng_.below(1'000'000) < options_.crash_per_million) crash(node, false);
    if (m.life != life) return;
  }
  // Now and then the end comes in order: it is told, and some time later it is there.
  if (faults_ && m.stopping != life && rng_.below(1'000'000) < options_.crash_per_million) {
    m.stopping = life;
    const bool withdraw = rng_.below(2) == 0;
    at(ms(0), [this, node, life, withdraw] {
      if (machines_[node].life == life) give(node, Stopping{withdraw});
    });
    at(ms(rng_.below(4000)), [this, node, life] {
      if (machines_[node].life == life) crash(node, false);
    });
  }
  const base::Time next = m.core->next_deadline();
  if (next == base::kNever || (m.tick_at <= next && m.tick_at > now_)) return;
  m.tick_at = std::max(next, now_ + Duration(1));
  // A deadline that is past after a Tick at it would keep the host busy for nothing.
  if (next <= now_ && std::holds_alternative<Tick>(event) && ++m.spins > 20) violation("it spins");
  if (next > now_) m.spins = 0;
  const base::Time wanted = m.tick_at;
  at(m.tick_at - now_, [this, node, life, wanted] {
    if (machines_[node].life != life || machines_[node].tick_at != wanted) return;
    machines_[node].tick_at = base::kNever;
    give(node, Tick{});
  });
}

void World::perform(std::size_t node, const Action& action) {
  if (const auto* a = std::get_if<Send>(&action)) return send(node, *a);
  if (const auto* a = std::get_if<Persist>(&action)) return persist(node, *a);
  if (const auto* a = std::get_if<HandoverEvent>(&action)) return note(node, *a);
  if (const auto* a = std::get_if<FreezeAndStream>(&action)) return stream(node, *a);
  if (const auto* a = std::get_if<SendSeal>(&action)) return seal(node, *a);
  if (const auto* a = std::get_if<CollectRequirement>(&action)) {
    Epoch& last = given_out_[{node, a->id.job}];
    if (a->id.epoch <= last) violation("an epoch was given out twice");
    last = a->id.epoch;
    return host(node, [id = a->id](bool fail) -> std::optional<Event> {
      return RequirementCollected{id, !fail, {1, 2, 3}, "cannot be collected"};
    });
  }
  if (const auto* a = std::get_if<CheckPreflight>(&action)) {
    return host(node, [id = a->id](bool fail) -> std::optional<Event> {
      return PreflightChecked{id, !fail, "no such file"};
    });
  }
  if (const auto* a = std::get_if<ExpectStream>(&action)) {
    Machine& m = machines_[node];
    m.expecting[a->id] = m.life;
    m.incoming[a->id] = Incoming::kReceiving;
    return;
  }
  if (const auto* a = std::get_if<Restore>(&action)) {
    return host(node, [this, node, id = a->id](bool fail) -> std::optional<Event> {
      Incoming& copy = machines_[node].incoming[id];
      if (copy == Incoming::kHeld) return Held{id, {7, 8}};
      if (copy != Incoming::kSealed) return RestoreFailed{id, "nothing to restore"};
      if (fail) return RestoreFailed{id, "CRIU says no"};
      copy = Incoming::kHeld;
      return Held{id, {7, 8}};
    });
  }
  if (const auto* a = std::get_if<CheckCopy>(&action)) {
    return host(node, [this, node, id = a->id](bool) -> std::optional<Event> {
      const Incoming copy = machines_[node].incoming[id];
      return CopyState{id, copy == Incoming::kHeld};
    });
  }
  if (const auto* a = std::get_if<CheckOriginal>(&action)) {
    return host(node, [this, node, id = a->id](bool) -> std::optional<Event> {
      return OriginalState{id, machines_[node].local.contains(id.job)};
    });
  }
  if (const auto* a = std::get_if<ReleaseCopy>(&action)) return release(node, *a);
  if (const auto* a = std::get_if<DiscardCopy>(&action)) return discard(node, a->id);
  if (const auto* a = std::get_if<Thaw>(&action)) return thaw(node, a->id);
  if (const auto* a = std::get_if<KillOriginal>(&action)) return kill(node, *a);
}

void World::send(std::size_t node, const Send& action) {
  if (action.bytes.size() > kMessageSizeMax) violation("a message over the limit");
  const std::size_t to = index(action.to);
  if (to == node) violation("a message to itself");
  const int copies = chance(options_.double_permille) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (chance(options_.loss_permille) || cut(node, to)) continue;
    const Duration delay =
        chance(options_.late_permille) ? ms(rng_.below(20'000)) : ms(1 + rng_.below(30));
    at(delay, [this, to, from = machines_[node].id, bytes = action.bytes] {
      give(to, Received{from, bytes});
    });
  }
}

void World::persist(std::size_t node, const Persist& action) {
  Machine& m = machines_[node];
  for (const RecordChange& c : action.changes) {
    if (c.key.size() > kKeySizeMax) violation("a key over the limit");
    if (c.key.starts_with("lin/") && c.value) ++counts_.lingered;
  }
  m.writes.emplace_back(m.life, action);
  const Duration slow = chance(50) ? ms(rng_.below(700)) : ms(0);
  m.write_free = std::max(m.write_free, now_) + ms(1 + rng_.below(8)) + slow;
  at(m.write_free - now_, [this, node, life = m.life] { finish_write(node, life); });
}

void World::finish_write(std::size_t node, std::uint64_t life) {
  Machine& m = machines_[node];
  if (m.life != life || m.writes.empty()) return;
  const Persist write = m.writes.front().second;
  m.writes.pop_front();
  for (const RecordChange& c : write.changes) {
    if (c.value) {
      m.disk[c.key] = *c.value;
    } else {
      m.disk.erase(c.key);
    }
  }
  check_disks();
  give(node, Persisted{write.id});
}

// ---- the machine

template <typename Op>
void World::host(std::size_t node, Op op) {
  if (chance(options_.hang_permille)) return;
  const std::uint64_t life = machines_[node].life;
  at(ms(1 + rng_.below(400)), [this, node, life, op] {
    // What a killed daemon had asked for may still have happened, unheard.
    if (machines_[node].life != life && rng_.below(2) == 0) return;
    const std::optional<Event> event = op(chance(options_.fail_permille));
    if (event && machines_[node].life == life) give(node, *event);
  });
}

void World::stream(std::size_t node, const FreezeAndStream& action) {
  Machine& m = machines_[node];
  const auto form = m.disk.find(form_key(action.id.triad));
  if (form == m.disk.end()) return violation("frozen without a triad");
  const StoredForm stored = *decode_stored_form(form->second);
  for (const Member& member : stored.form.members) {
    if (!machines_[index(member.node)].disk.contains(form_key(action.id.triad))) {
      violation("begun before all members have stored the form record");
    }
  }
  const auto local = m.local.find(action.id.job);
  if (local != m.local.end()) local->second = Copy::kFrozen;
  if (chance(options_.hang_permille)) return;
  at(ms(50 + rng_.below(1500)), [this, node, life = m.life, action] {
    stream_done(node, life, action.id, index(action.sink), 0);
  });
}

void World::stream_done(std::size_t source, std::uint64_t life, HandoverId id, std::size_t sink,
                        int tries) {
  if (machines_[source].life != life) return;
  const bool connected = !cut(source, sink) && machines_[sink].expecting.contains(id);
  if (!connected && tries < 20) {
    return at(ms(250), [=, this] { stream_done(source, life, id, sink, tries + 1); });
  }
  if (!connected || chance(options_.fail_permille)) {
    if (connected) {
      at(ms(5), [this, sink, id] { give(sink, StreamFailed{id, "broken"}); });
    }
    return give(source, StreamFailed{id, "broken"});
  }
  give(source, StreamComplete{id, SealHash{{9}}, 1000});
}

void World::seal(std::size_t node, const SendSeal& action) {
  const std::size_t sink = index(action.sink);
  if (chance(options_.fail_permille) || cut(node, sink)) {
    return at(ms(5), [this, sink, id = action.id] { give(sink, StreamFailed{id, "broken"}); });
  }
  at(ms(1 + rng_.below(50)), [this, sink, id = action.id] {
    Machine& m = machines_[sink];
    const auto expecting = m.expecting.find(id);
    if (expecting == m.expecting.end() || expecting->second != m.life) return;
    if (m.incoming[id] != Incoming::kReceiving) return;
    m.incoming[id] = Incoming::kSealed;
    give(sink, StreamSealed{id, 1000});
  });
}

void World::release(std::size_t node, const ReleaseCopy& action) {
  host(node, [this, node, id = action.id](bool) -> std::optional<Event> {
    Machine& m = machines_[node];
    Incoming& copy = m.incoming[id];
    if (copy == Incoming::kReleased) return Released{id, true};
    if (copy != Incoming::kHeld) return Released{id, false};
    copy = Incoming::kReleased;
    if (m.local.contains(id.job)) violation("a copy is let go beside another one of the job");
    m.local[id.job] = Copy::kRunning;
    m.local_epoch[id.job] = id.epoch.value;
    Job& job = jobs_[id.job];
    if (id.epoch.value <= job.run_epoch) violation("an epoch ran that is not above the last one");
    job.run_epoch = id.epoch.value;
    return Released{id, true};
  });
}

void World::discard(std::size_t node, const HandoverId& id) {
  host(node, [this, node, id](bool) -> std::optional<Event> {
    Machine& m = machines_[node];
    Incoming& copy = m.incoming[id];
    if (copy == Incoming::kReleased) violation("a copy that was let go is discarded");
    const bool held = copy == Incoming::kHeld;
    copy = Incoming::kDiscarded;
    m.expecting.erase(id);
    const auto record = m.disk.find(end_key(id));
    const bool was_ready =
        record == m.disk.end() || decode_end(record->second)->state != EndState::kSinkFailed;
    if (held) destroyed(id.job, was_ready, "discard");
    return Discarded{id};
  });
}

void World::thaw(std::size_t node, const HandoverId& id) {
  host(node, [this, node, id](bool) -> std::optional<Event> {
    Machine& m = machines_[node];
    const auto local = m.local.find(id.job);
    if (local == m.local.end()) return Thawed{id, m.thawed.contains(id)};
    local->second = Copy::kRunning;
    m.thawed.insert(id);
    return Thawed{id, true};
  });
}

void World::kill(std::size_t node, const KillOriginal& order) {
  host(node, [this, node, id = order.id, order](bool) -> std::optional<Event> {
    Machine& m = machines_[node];
    const auto born = m.local_epoch.find(id.job);
    const bool younger = born != m.local_epoch.end() && born->second > order.newest.value;
    if (!younger && m.local.erase(id.job) > 0) destroyed(id.job, true, "kill");
    return Killed{id};
  });
}

}  // namespace balance::testing
