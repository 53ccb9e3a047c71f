#include "node_world.h"

#include <algorithm>

namespace node::testing {

using base::Duration;
using base::JobId;

namespace {

Duration ms(std::uint64_t n) { return Duration(static_cast<std::int64_t>(n) * 1000); }
base::Secret<32> secret_of(std::uint64_t number) {
  base::Bytes bytes(32);
  base::put_le64(bytes, number);
  return base::Secret<32>(bytes);
}
identity::NodeKeys keys_of(std::size_t node) {
  return identity::NodeKeys::make(secret_of(1000 + node), secret_of(500'000 + node));
}
base::Endpoint endpoint_of(std::size_t node) {
  return base::Endpoint::v4({10, 0, 0, static_cast<std::uint8_t>(node)}, 7333);
}
base::Bytes chain_of(std::size_t node, const base::crypto::SignKey& root) {
  const identity::NodeKeys keys = keys_of(node);
  identity::CertificateBody body;
  body.mesh = base::crypto::mesh_id_of(root.public_key);
  body.issuer = identity::root_issuer_id(root.public_key);
  body.name = "n" + std::to_string(node + 1);
  body.sign_public = keys.sign.public_key;
  body.dh_public = keys.dh.public_key;
  body.not_before = kWall;
  body.not_after = base::WallTime{base::wall_seconds(kWall) + 365L * 24 * 3600};
  body.serial = node + 1;
  return identity::make_chain(body.mesh, {identity::issue(body, root)});
}

}  // namespace

World::World(std::uint64_t seed, Options options)
    : rng_(seed), options_(options), root_(base::crypto::sign_key_from_seed(secret_of(1))) {
  loss_permille = options.loss_permille;
  machines_.resize(options.nodes);
  for (std::size_t i = 0; i < machines_.size(); ++i) machines_[i].id = keys_of(i).id();
  for (std::size_t i = 0; i < machines_.size(); ++i) start(i);
  at(ms(200), [this] { produce(); });
}

void World::at(Duration in, std::function<void()> what) {
  heap_.push({now_ + in, order_++, std::move(what)});
}

void World::later(std::size_t node, std::uint64_t ms_max, std::function<void()> what) {
  const std::uint64_t life = machines_[node].life;
  at(ms(1 + rng_.below(ms_max)), [this, node, life, what = std::move(what)] {
    if (machines_[node].life == life && machines_[node].node) what();
  });
}

void World::run(Duration time) {
  const base::Time end = now_ + time;
  while (!heap_.empty() && heap_.top().at <= end && violations.empty()) {
    const Item item = heap_.top();
    heap_.pop();
    now_ = item.at;
    item.what();
    check();
  }
  now_ = end;
}

bool World::run_until(const std::function<bool()>& reached, Duration limit) {
  const base::Time end = now_ + limit;
  while (now_ < end && violations.empty()) {
    if (reached()) return true;
    run(ms(50));
  }
  return reached();
}

// ---- daemons

void World::start(std::size_t node) {
  Machine& m = machines_[node];
  ++m.life;
  Config config;
  config.keys = keys_of(node);
  config.chain = chain_of(node, root_);
  config.root = root_.public_key;
  rng_.fill(config.store.bytes);
  config.incarnation = base::Incarnation{m.life};
  base::put_le64(config.salt, rng_.next());
  config.gossip_secret = secret_of(rng_.next());
  config.seed = rng_.next();
  config.version = "0";
  config.addresses = {endpoint_of(node)};
  config.wall = wall();
  config.people = options_.people;
  config.owner = options_.owner;
  const auto store = m.disk.find("test/store");
  if (store != m.disk.end()) {
    std::copy(store->second.begin(), store->second.end(), config.store.bytes.begin());
  } else {
    m.disk["test/store"] = base::to_bytes(config.store.bytes);
  }
  std::map<JobId, StreamEnds> ends;
  for (const auto& [job, spool] : m.spools) ends[job] = {spool.end, 0};
  for (auto& [job, spool] : m.spools) spool.told = UINT64_MAX;
  m.node = std::make_unique<Node>(std::move(config), m.disk, ends, base::null_log());
  if (m.node->jobs().unreadable_records() != 0) violations.push_back("an own record is unreadable");
  m.tick_at = base::kNever;
  give(node, Start{wall()});
  if (node != 0 || !options_.first_has_no_seed) {
    give(node, SeedPeer{endpoint_of(node == 0 ? 1 : 0)});
  }
  later(node, 500, [this, node] { sample(node); });
}

void World::crash(std::size_t node, Duration for_how_long) {
  Machine& m = machines_[node];
  if (!m.node) return;
  m.node.reset();
  ++m.life;
  for (std::uint64_t keep = rng_.below(m.writes.size() + 1); keep > 0; --keep) {
    apply(m, m.writes.front());
    m.writes.pop_front();
  }
  m.writes.clear();
  m.storing.clear();
  at(for_how_long, [this, node] {
    if (!machines_[node].node) start(node);
  });
}

void World::give(std::size_t node, const Event& event) {
  Machine& m = machines_[node];
  if (!m.node) return;
  ++m.steps;
  const std::uint64_t life = m.life;
  for (const Action& action : m.node->step(now_, event)) perform(node, action);
  const base::Time next = m.node->next_deadline();
  // A deadline that is past after a Tick at it would keep the host busy for nothing.
  if (std::holds_alternative<Tick>(event)) {
    m.spins = next <= now_ ? m.spins + 1 : 0;
    if (m.spins > 20) violations.push_back("it spins");
  }
  if (next == base::kNever || (m.tick_at <= next && m.tick_at > now_)) return;
  const base::Time wanted = m.tick_at = std::max(next, now_ + Duration(1));
  at(wanted - now_, [this, node, life, wanted] {
    if (machines_[node].life != life || machines_[node].tick_at != wanted) return;
    machines_[node].tick_at = base::kNever;
    give(node, Tick{});
  });
}

void World::persist(std::size_t node, const Persist& batch) {
  Machine& m = machines_[node];
  m.writes.push_back(batch);
  m.write_free = std::max(m.write_free, now_) + ms(1 + rng_.below(8));
  const std::uint64_t life = m.life;
  at(m.write_free - now_, [this, node, life] {
    Machine& machine = machines_[node];
    if (machine.life != life || machine.writes.empty()) return;
    const Persist done_batch = machine.writes.front();
    machine.writes.pop_front();
    apply(machine, done_batch);
    give(node, Persisted{done_batch.id});
  });
}

void World::apply(Machine& machine, const Persist& batch) {
  for (const balance::RecordChange& change : batch.changes) {
    if (change.value) {
      machine.disk[change.key] = *change.value;
    } else {
      machine.disk.erase(change.key);
    }
  }
}

void World::deliver(std::size_t to, std::function<void()> what) {
  if (to >= machines_.size()) return;
  const int doubles = chance(options_.double_permille) ? 2 : 1;
  for (int i = 0; i < doubles; ++i) {
    if (!chance(loss_permille)) at(ms(1 + rng_.below(20)), what);
  }
}

void World::perform(std::size_t node, const Action& action) {
  if (const auto* a = std::get_if<SendDatagram>(&action)) {
    const std::size_t to = index(a->to);
    return deliver(to, [this, to, from = endpoint_of(node), bytes = a->bytes] {
      give(to, DatagramIn{from, bytes});
    });
  }
  if (const auto* a = std::get_if<SendMessage>(&action)) {
    const std::size_t to = index(a->to);
    if (to == node) violations.push_back("a message to itself");
    if (a->bytes.size() > kMessageSizeMax) violations.push_back("a message over the limit");
    if (a->addresses.empty()) return;
    return deliver(to, [this, to, from = id(node), bytes = a->bytes, at = endpoint_of(node)] {
      give(to, MessageIn{from, bytes, at});
    });
  }
  if (const auto* a = std::get_if<Contact>(&action)) {
    const std::size_t to = index(a->endpoint);
    if (to >= machines_.size()) return;
    return later(node, 20, [this, node, to] {
      if (!machines_[to].node) return;
      give(to, Introduced{chain_of(node, root_), endpoint_of(node)});
      give(node, Introduced{chain_of(to, root_), endpoint_of(to)});
    });
  }
  if (const auto* a = std::get_if<Persist>(&action)) return persist(node, *a);
  if (const auto* a = std::get_if<JobOrder>(&action)) return perform_job(node, a->action);
  if (const auto* a = std::get_if<HandoverOrder>(&action)) {
    perform_source(node, a->action);
    return perform_sink(node, a->action);
  }
  Machine& m = machines_[node];
  if (const auto* a = std::get_if<MoveStored>(&action)) {
    const auto storing = m.storing.find(a->job);
    if (storing == m.storing.end()) return;
    const balance::HandoverId id = storing->second;
    m.storing.erase(storing);
    return later(node, 5, [this, node, id] { done(node, balance::StreamSealed{id, 1000}); });
  }
  if (const auto* a = std::get_if<ReadLog>(&action)) {
    return later(node, 5, [this, node, order = *a] {
      LogRead read{order.token, {}, {}};
      const Spool& log = machines_[node].spools[order.job];
      read.ends = {log.end, 0};
      for (std::uint64_t k = order.offset; order.stream == 0 && k < log.end; ++k) {
        if (read.bytes.size() < kOutputChunkMax) read.bytes.push_back(pattern(k));
      }
      give(node, read);
    });
  }
  if (const auto* a = std::get_if<SignalJob>(&action)) {
    return later(node, 20, [this, node, order = *a] {
      const bool there = machines_[node].local.contains(order.job);
      ++signals_;
      give(node, Signalled{order.token, there, there ? "" : "it is gone"});
      if (there) end_copy(node, order.job, order.signal_number);
    });
  }
  if (const auto* a = std::get_if<LimitCpu>(&action)) {
    return later(node, 20, [this, node, order = *a] {
      const auto copy = machines_[node].local.find(order.job);
      const bool there = copy != machines_[node].local.end();
      if (there) copy->second.limit_micros = order.limit_micros;
      give(node, CpuLimited{order.token, there, there ? "a test" : "it is gone"});
    });
  }
  if (const auto* a = std::get_if<DelaySleep>(&action)) sleep_waits[node] = a->on;
  if (const auto* a = std::get_if<PauseJob>(&action)) {
    return later(node, 20, [this, node, order = *a] {
      const auto copy = machines_[node].local.find(order.job);
      const bool there = copy != machines_[node].local.end();
      if (there) copy->second.paused = order.on;
      give(node, JobPaused{order.token, there, there ? "" : "it is gone"});
    });
  }
  if (const auto* a = std::get_if<CollectNeeds>(&action)) {
    ++trials_;
    return later(node, 50, [this, node, token = a->token] {
      give(node, NeedsLooked{token, {1}, {}});
    });
  }
  if (const auto* a = std::get_if<CheckNeeds>(&action)) {
    return later(node, 50, [this, node, order = *a] {
      if (order.requirement != base::Bytes{1}) violations.push_back("another requirement");
      give(node, NeedsLooked{order.token, {}, options_.obstacles});
    });
  }
  if (const auto* a = std::get_if<Reply>(&action)) replies_[a->request].push_back(*a);
  if (const auto* a = std::get_if<Happened>(&action)) {
    if (a->handover && a->handover->outcome == balance::Decision::kCommit) ++handovers_;
  }
  if (std::holds_alternative<Fatal>(action)) violations.push_back("fatal");
}

// ---- people and looks

JobId World::run_job(std::size_t node, std::uint64_t rate) {
  JobSpec spec;
  rng_.fill(spec.id.bytes);
  spec.name = "job";
  spec.argv = {"count"};
  spec.uid = 1000;
  spec.home = id(node);
  produced_[spec.id] = 0;
  rates_[spec.id] = rate;
  (void)post(node, [&](std::uint64_t request) { return RunJob{request, spec}; });
  return spec.id;
}

JobId World::queue_job(std::size_t node) {
  JobSpec spec;
  rng_.fill(spec.id.bytes);
  spec.name = "queued";
  spec.argv = {"count"};
  spec.uid = 1000;
  spec.home = id(node);
  jobs::ParkedFacts facts;
  facts.queued = true;
  (void)post(node, [&](std::uint64_t request) { return RunJob{request, spec, facts}; });
  return spec.id;
}

std::uint64_t World::post(std::size_t node, const std::function<Event(std::uint64_t)>& ask) {
  const std::uint64_t request = next_request_++;
  give(node, ask(request));
  return request;
}

int World::where(const JobId& job) const {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    const auto copy = machines_[i].local.find(job);
    if (copy != machines_[i].local.end() && !copy->second.frozen) return static_cast<int>(i);
  }
  return -1;
}

std::size_t World::copies(const JobId& job) const {
  std::size_t count = 0;
  for (const Machine& m : machines_) {
    count += m.local.count(job);
    for (const auto& [id, arrival] : m.incoming) {
      count += id.job == job && arrival.state == Incoming::kHeld ? 1U : 0U;
    }
  }
  return count;
}

std::uint64_t World::logged(std::size_t home, const JobId& job) const {
  const auto spool = machines_[home].spools.find(job);
  return spool == machines_[home].spools.end() ? 0 : spool->second.end;
}

bool World::all_know_all() const {
  for (const Machine& m : machines_) {
    if (!m.node) return false;
    std::size_t live = 0;
    for (const StatusNode& seen : m.node->status().nodes) {
      live += seen.view.state == gossip::State::kAlive && seen.view.readable ? 1U : 0U;
    }
    if (live != machines_.size()) return false;
  }
  return true;
}

std::size_t World::index(const base::NodeId& id) const {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (machines_[i].id == id) return i;
  }
  return machines_.size();
}

std::size_t World::index(const base::Endpoint& endpoint) const {
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if (endpoint_of(i) == endpoint) return i;
  }
  return machines_.size();
}

void World::check() {
  for (const auto& [job, ends] : produced_) {
    std::size_t running = 0;
    for (const Machine& m : machines_) {
      const auto copy = m.local.find(job);
      running += copy != m.local.end() && !copy->second.frozen ? 1U : 0U;
    }
    if (running > 1) violations.push_back("two copies of a job run");
  }
}

}  // namespace node::testing
