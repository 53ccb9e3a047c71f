#include "sim/world.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"
#include "gossip/pool.h"
#include "sim/fast_crypto.h"

namespace sim {
namespace {

using base::Duration;
using base::Time;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kRescanEvery = seconds(4);
constexpr Duration kStepCost = milliseconds(3);  // of a slow machine
constexpr std::uint32_t kSpinsMax = 20;
constexpr std::uint32_t kEarlyGiven = 16;  // one of so many ticks before the deadline
constexpr std::size_t kHistoryMax = 40;
constexpr Duration kDownMin =
    milliseconds(500);  // a daemon that stopped is back after that or more

base::Secret<32> secret_of(std::uint64_t seed, std::uint64_t number, std::uint64_t use) {
  base::Bytes bytes(32);
  const Draws draws(seed);
  for (std::size_t i = 0; i < 4; ++i) {
    base::put_le64(base::MutableByteView(bytes).subspan(8 * i),
                   draws.at(Stream::kKeys, number, use * 4 + i));
  }
  return base::Secret<32>(bytes);
}

}  // namespace

// What a node says, for the last lines of a failure and for `--log`.
class World::HostLog final : public base::Log {
 public:
  HostLog(World& world, std::uint32_t host) : world_(world), host_(host) {}
  void write(base::LogLevel level, std::string_view event,
             std::initializer_list<base::LogField> fields) override {
    world_.promises_.logs(host_, level, event);
    if (world_.log_ == nullptr) return;
    const std::string line = "n" + std::to_string(host_) + " " + std::string(event);
    world_.log_->write(level, line, fields);
  }

 private:
  World& world_;
  std::uint32_t host_;
};

World::Host::Host(const Draws& draws, std::uint32_t index, const NodeShape& shape)
    : machine(shape, kWorldBegins),
      dice{Dice(draws, Stream::kLatency, index), Dice(draws, Stream::kMessage, index),
           Dice(draws, Stream::kDisk, index), Dice(draws, Stream::kHost, index),
           Dice(draws, Stream::kEntropy, index)} {}

World::World(const Scenario& scenario, QueueKind queue, base::Log* log)
    : scenario_(scenario),
      draws_(scenario.seed),
      log_(log),
      crypto_(scenario.real_crypto),
      root_(base::crypto::sign_key_from_seed(secret_of(scenario.seed, kNobody, 0))),
      queue_(EventQueue::make(queue)),
      pool_(std::make_shared<gossip::Pool>()),
      promises_(*this) {
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    rate_ranks_[kind] = static_cast<std::uint8_t>(rates_);
    rates_ += scenario_.rate_ppm[kind] == 0 ? 0U : 1U;
  }
  Dice dice(draws_, Stream::kWorld, kNobody);
  const std::uint32_t nodes = scenario_.nodes;
  hosts_.reserve(nodes);
  for (std::uint32_t i = 0; i < nodes; ++i) {
    make_host(i, i);
    put(now_ + dice.between(Duration(0), scenario_.starts), i, 0, StartDue{});
    put(now_ + dice.between(Duration(0), kSampleEvery), i, 0, SampleDue{});
  }
  jobs_.resize(scenario_.jobs.size());
  for (std::uint32_t i = 0; i < jobs_.size(); ++i) {
    jobs_[i].plan = scenario_.jobs[i];
    for (std::size_t half = 0; half < 2; ++half) {
      base::put_le64(base::MutableByteView(jobs_[i].id.bytes).subspan(8 * half),
                     draws_.at(Stream::kKeys, i, 1000 + half));
    }
    job_by_id_[jobs_[i].id] = i;
    put(kWorldBegins + jobs_[i].plan.at, jobs_[i].plan.node, 0, JobArrives{i});
  }
  for (std::uint32_t i = 0; i < scenario_.faults.size(); ++i) {
    put(kWorldBegins + scenario_.faults[i].at, kNobody, 0, FaultBegins{i});
  }
  for (std::uint32_t i = 0; i < scenario_.people.size(); ++i) {
    put(kWorldBegins + scenario_.people[i].at, kNobody, 0, PersonSpeaks{i});
  }
  put(now_ + kRescanEvery, kNobody, 0, Rescan{});
}

World::~World() = default;

World::Crypto::Crypto(bool real) { base::crypto::use_backend(real ? nullptr : fast_crypto()); }
World::Crypto::~Crypto() { base::crypto::use_backend(nullptr); }

identity::NodeKeys World::stranger_keys() const {
  return identity::NodeKeys::make(secret_of(scenario_.seed, kNobody, 7),
                                  secret_of(scenario_.seed, kNobody, 8));
}

void World::make_host(std::uint32_t index, std::uint32_t identity) {
  CHECK(index == hosts_.size());
  const NodeShape& shape = scenario_.shape_of(identity);
  hosts_.push_back(std::make_unique<Host>(draws_, index, shape));
  Host& host = *hosts_.back();
  host.identity = identity;
  host.keys = identity::NodeKeys::make(secret_of(scenario_.seed, identity, 1),
                                       secret_of(scenario_.seed, identity, 2));
  host.id = host.keys.id();
  if (index == identity) by_id_[host.id] = index;
  identity::CertificateBody body;
  body.mesh = base::crypto::mesh_id_of(root_.public_key);
  body.issuer = identity::root_issuer_id(root_.public_key);
  body.name = "n" + std::to_string(identity);
  body.sign_public = host.keys.sign.public_key;
  body.dh_public = host.keys.dh.public_key;
  body.not_before = base::WallTime{base::wall_seconds(kWallBegins) - 86'400};
  body.not_after = base::WallTime{base::wall_seconds(kWallBegins) + 365L * 86'400};
  body.serial = identity + 1;
  host.chain = identity::make_chain(body.mesh, {identity::issue(body, root_)});
  host.log = std::make_unique<HostLog>(*this, index);
  Dice dice(draws_, Stream::kWorld, index);
  if (dice.chance_ppm(scenario_.rate_ppm[static_cast<std::size_t>(Fault::kDrift)])) {
    host.drift_ppm = static_cast<std::int64_t>(dice.below(1001)) - 500;
    count(Fault::kDrift);
  }
  if (dice.chance_ppm(scenario_.rate_ppm[static_cast<std::size_t>(Fault::kSkew)])) {
    host.wall_offset = static_cast<std::int64_t>(dice.below(121)) - 60;
    count(Fault::kSkew);
  }
  // One at most: two would not find each other.
  const bool is_drawn =
      dice.chance_ppm(scenario_.rate_ppm[static_cast<std::size_t>(Fault::kHidden)]);
  host.is_hidden = is_drawn && faults_[static_cast<std::size_t>(Fault::kHidden)] == 0;
  if (host.is_hidden) count(Fault::kHidden);
}

// ---- the loop

void World::put(Time at, std::uint32_t host, std::uint64_t life, Payload payload) {
  if (free_slots_.empty()) {
    const auto first = static_cast<std::uint32_t>(pieces_.size() * kSlotsInPiece);
    pieces_.push_back(std::make_unique<std::array<Event, kSlotsInPiece>>());
    for (std::uint32_t i = kSlotsInPiece; i-- > 0;) free_slots_.push_back(first + i);
  }
  const std::uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  slot(index) = {host, life, std::move(payload)};
  queue_->push(std::max(at, now_), index, host);
}

void World::later(std::uint32_t host, Duration in, Payload payload) {
  put(now_ + in, host, hosts_[host]->life, std::move(payload));
}

void World::run_until(Duration end, bool stop_at_breach) {
  const Time until = kWorldBegins + end;
  while (!queue_->empty() && queue_->next().at <= until) {
    if (stop_at_breach && !promises_.violations().empty()) return;
    const Due due = queue_->pop();
    now_ = due.at;
    Event event = std::move(slot(due.slot));
    free_slots_.push_back(due.slot);
    if (!queue_->empty()) fetch_ahead(queue_->next());
    if (event.host != kNobody) {
      Host& host = *hosts_[event.host];
      const Time wait = std::max(host.frozen_until, host.busy_until);
      if (wait > now_ && !std::holds_alternative<StartDue>(event.payload)) {
        if (host.frozen_until > now_) {
          host.waiting.push_back(std::move(event));
        } else {
          put(wait, event.host, event.life, std::move(event.payload));
        }
        continue;
      }
      if (event.life != 0 && event.life != host.life) continue;
    }
    ++counts_.events;
    hash_event(event);
    dispatch(event);
  }
  now_ = until;
}

// In a large world every event finds another node, none of whose memory is in a cache. What the
// next event will read first is asked for while this one is dealt with.
void World::fetch_ahead(const Due& due) const {
  __builtin_prefetch(&slot(due.slot));
  if (due.host != kNobody) __builtin_prefetch(&hosts_[due.host]->node);
}

void World::hash_event(const Event& event) {
  trace_.add(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
  trace_.add((static_cast<std::uint64_t>(event.host) << 8) | event.payload.index());
  if (const auto* datagram = std::get_if<Datagram>(&event.payload)) {
    trace_.add(datagram->bytes);
  } else if (const auto* message = std::get_if<MemberMessage>(&event.payload)) {
    trace_.add(message->bytes);
  }
}

void World::dispatch(Event& event) {
  const std::uint32_t host = event.host;
  std::visit(
      base::Overloaded{
          [&](Datagram& e) {
            if (host_at(e.to) == host) deliver(host, e);  // else it has moved meanwhile
          },
          [&](MemberMessage& e) {
            const auto link = links_.find((static_cast<std::uint64_t>(e.from) << 32) | host);
            if (e.connection != kAnyConnection) {
              if (link == links_.end()) return;
              if (refreshed(e.from, host, link->second).generation != e.connection) return;
            }
            if (hosts_.size() <= kWatchedHostsMax) promises_.hears(host, e.bytes);
            give(host, node::MessageIn{hosts_[e.from]->id, std::move(e.bytes), e.at});
          },
          [&](const Handshake& e) {
            if (!hosts_[e.with]->node) return;
            hosts_[host]->met[e.with] = hosts_[e.with]->port;
            give(host, node::Introduced{hosts_[e.with]->chain, endpoint_of(e.with), e.called});
          },
          [&](const TickDue& e) {
            if (hosts_[host]->tick_at == e.wanted) tick(host);
          },
          [&](const Synced&) { synced(host); },
          [&](const JobsDone& e) { job_done(host, *e.action); },
          [&](const ActionDone& e) { action_done(host, *e.action); },
          [&](const MoveDone& e) { move_done(host, e); },
          [&](SealArrives& e) { seal_arrives(host, std::move(e)); },
          [&](const ReportAgain& e) { give(host, node::Handover{*e.event}); },
          [&](const SampleDue&) { sample(host); },
          [&](const OutputDue&) { grow_spools(host); },
          [&](const JobEnds& e) {
            if (e.version == hosts_[host]->machine.end_version) jobs_end(host);
          },
          [&](const SinkBroken& e) {
            const auto found = hosts_[host]->incoming.find(e.id);
            if (found == hosts_[host]->incoming.end()) return;
            if (found->second.state != Incoming::kReceiving) return;
            found->second.state = Incoming::kGone;
            give(host, node::Handover{balance::StreamFailed{e.id, "the stream broke off"}});
          },
          [&](const StartDue&) { start(host); },
          [&](const JobArrives& e) { job_arrives(e.job); },
          [&](const FaultBegins& e) { fault_begins(e.fault); },
          [&](const FaultEnds& e) { fault_ends(e.fault); },
          [&](const PersonSpeaks& e) { e.lifts ? lifts_drain(e.person) : person_speaks(e.person); },
          [&](const StopDue& e) { goes_on_stopping(host, e); },
          [&](const Rescan&) {
            promises_.rescan();
            put(now_ + kRescanEvery, kNobody, 0, Rescan{});
          },
      },
      event.payload);
}

// ---- lives

Time World::local(const Host& host) const {
  const std::int64_t passed = (now_ - kWorldBegins).count();
  return now_ + Duration(passed * host.drift_ppm / 1'000'000);
}

base::WallTime World::wall(const Host& host) const {
  const auto passed = std::chrono::duration_cast<seconds>(now_ - kWorldBegins).count();
  return base::WallTime{base::wall_seconds(kWallBegins) + passed + host.wall_offset};
}

void World::start(std::uint32_t index) {
  Host& host = *hosts_[index];
  if (host.node || host.stopped) return;
  if (host.down_until > now_) return put(host.down_until, index, 0, StartDue{});
  ++host.life;
  ++counts_.starts;
  Records& disk = host.disk.synced.own();
  if (disk.find("sim/store") == disk.end()) {
    for (std::size_t half = 0; half < 2; ++half) {
      base::put_le64(base::MutableByteView(host.store.bytes).subspan(8 * half),
                     host.dice.entropy.next());
    }
    disk["sim/store"] = base::to_bytes(host.store.bytes);
  }
  const base::Bytes& store = disk["sim/store"];
  std::copy(store.begin(), store.end(), host.store.bytes.begin());
  base::Bytes& counted = disk["incarnation"];
  base::Incarnation incarnation{(counted.size() == 8 ? base::get_le64(counted) : 0) + 1};
  counted.resize(8);
  base::put_le64(counted, incarnation.value);

  node::Config config;
  config.keys = host.keys.clone();
  config.chain = host.chain;
  config.root = root_.public_key;
  config.store = host.store;
  config.people = {false, {kUser}};
  config.owner = owner_policy(host.identity);
  config.incarnation = incarnation;
  base::put_le64(config.salt, host.dice.entropy.next());
  base::put_le64(base::MutableByteView(config.salt).subspan(8), host.dice.entropy.next());
  config.gossip_secret = secret_of(scenario_.seed ^ host.dice.entropy.next(), index, 3);
  config.seed = host.dice.entropy.next();
  config.version = "sim";
  config.pool = pool_;
  if (!host.is_hidden) config.addresses = {endpoint_of(index)};
  config.wall = wall(host);
  drop_orphans(index);
  std::map<base::JobId, node::StreamEnds> ends;
  for (const auto& [job, spool] : host.spools) ends[jobs_[job].id] = {spool.end, 0};
  host.node = std::make_unique<node::Node>(std::move(config), host.disk.synced.all(shelf_), ends,
                                           *host.log);
  host.tick_at = base::kNever;
  host.spins = 0;
  host.moved = {};
  host.heard.clear();
  host.seeds.clear();
  host.born = now_;
  note(index, "starts, life " + std::to_string(host.life));
  promises_.restarted(index);
  give(index, node::Start{wall(host)});
  promises_.came_back(index);
  // A few of those who were there before; the first two know each other.
  for (int i = 0; i < 2 && host.node; ++i) {
    const std::uint32_t limit = host.identity == 0 ? std::min(2U, scenario_.nodes) : host.identity;
    std::uint32_t peer = static_cast<std::uint32_t>(host.dice.entropy.below(limit));
    if (host.identity == 0) peer = std::min(1U, scenario_.nodes - 1);
    if (peer == host.identity) continue;
    host.seeds[peer] = hosts_[peer]->port;
    give(index, node::SeedPeer{endpoint_of(peer)});
  }
  grow_spools(index);
}

void World::stop(std::uint32_t index, bool keep_writes) {
  Host& host = *hosts_[index];
  if (!host.node) return;
  host.node.reset();
  ++host.life;
  const std::size_t kept =
      keep_writes ? host.disk.pending.size()
                  : static_cast<std::size_t>(host.dice.disk.below(host.disk.pending.size() + 1));
  for (std::size_t i = 0; i < kept; ++i) apply(index, host.disk.pending[i]);
  host.disk.pending.clear();
  host.disk.free_at = now_;
  host.storing.clear();
  host.copy_free_at.clear();
  ++host.stops;  // its connections end
  note(index, "stops");
  put(now_ + kDownMin, index, 0, StartDue{});
}

void World::give(std::uint32_t index, const node::Event& event) {
  Host& host = *hosts_[index];
  if (!host.node) return;
  ++counts_.steps;
  if (host.slow_until > now_) host.busy_until = std::max(host.busy_until, now_) + kStepCost;
  const std::uint64_t life = host.life;
  const Time at = local(host);
  if (watch_steps_ != nullptr) watch_steps_(true);
  node::Actions actions = host.node->step(at, event);
  if (watch_steps_ != nullptr) watch_steps_(false);
  for (node::Action& action : actions) {
    if (host.life != life || !host.node) return;  // it stopped itself
    perform(index, action);
  }
  if (host.life != life || !host.node) return;
  const Time next = host.node->next_deadline();
  if (std::holds_alternative<node::Tick>(event)) {
    host.spins = next <= at ? host.spins + 1 : 0;
    if (host.spins > kSpinsMax) promises_.broke("no-spin", index, "a deadline that stays past");
  }
  arm(index, next);
  promises_.stepped(index);
}

// Most deadlines have moved on when their time comes: a tick would be none, and only some of these
// are given, for nodes must bear them.
void World::tick(std::uint32_t index) {
  Host& host = *hosts_[index];
  host.tick_at = base::kNever;
  const bool early = host.deadline > local(host) && host.slow_until <= now_;
  if (early && ++host.early % kEarlyGiven != 0) return arm(index, host.deadline);
  ++counts_.ticks;
  counts_.early_ticks += early ? 1U : 0U;
  give(index, node::Tick{});
}

void World::arm(std::uint32_t index, Time next) {
  Host& host = *hosts_[index];
  host.deadline = next;
  if (next == base::kNever) return;
  // From the node's clock to the world's; a little late is late, not early.
  const std::int64_t ahead = std::max<std::int64_t>((next - local(host)).count(), 1);
  const Time wanted = now_ + Duration(ahead + ahead * 600 / 1'000'000);
  if (host.tick_at <= wanted && host.tick_at > now_) return;
  host.tick_at = wanted;
  later(index, wanted - now_, TickDue{wanted});
}

bool World::strikes(std::uint32_t host, Fault fault) {
  const auto kind = static_cast<std::size_t>(fault);
  const std::uint32_t rate = scenario_.rate_ppm[kind];
  if (rate == 0 || faults_over_) return false;
  std::vector<Dice>& dice = hosts_[host]->fault_dice;
  if (dice.empty()) {
    dice.reserve(rates_);
    for (std::size_t each = 0; each < kFaultKinds; ++each) {
      if (scenario_.rate_ppm[each] == 0) continue;
      const auto stream = static_cast<Stream>(static_cast<std::size_t>(Stream::kFault) + each);
      dice.emplace_back(draws_, stream, host);
    }
  }
  if (!dice[rate_ranks_[kind]].chance_ppm(rate)) return false;
  ++faults_[kind];
  return true;
}

void World::perform(std::uint32_t host, node::Action& action) {
  std::visit(
      base::Overloaded{
          [&](node::SendDatagram& a) { send_datagram(host, a); },
          [&](node::SendMessage& a) { send_message(host, a); },
          [&](const node::Contact& a) { contact(host, a.endpoint); },
          [&](node::Persist& a) { persist(host, std::move(a)); },
          [&](const node::HandoverOrder& a) { perform_move(host, a.action); },
          [&](const node::JobOrder& a) { perform_job(host, a.action); },
          [&](const node::MoveStored&) { later(host, milliseconds(2), ActionDone{on(action)}); },
          [](const node::FeedJob&) {},  // jobs here read nothing
          [](const node::DeskSaid&) {},
          [&](const node::ReadLog&) { later(host, milliseconds(2), ActionDone{on(action)}); },
          [&](const node::SignalJob&) { later(host, milliseconds(10), ActionDone{on(action)}); },
          [&](const node::LimitCpu&) { later(host, milliseconds(10), ActionDone{on(action)}); },
          [&](const node::PauseJob&) { later(host, milliseconds(10), ActionDone{on(action)}); },
          [](const node::DelaySleep&) {},  // machines here do not sleep
          [&](const node::CollectNeeds&) { later(host, milliseconds(20), ActionDone{on(action)}); },
          [&](const node::CheckNeeds&) { later(host, milliseconds(20), ActionDone{on(action)}); },
          [&](const node::Reply& a) { promises_.answers().answers(host, a); },
          [&](const node::Happened& a) {
            promises_.happens(host, a);
            if (a.kind != "output") note(host, a.kind + " " + a.text);
            if (a.handover) promises_.handover(host, *a.handover);
          },
          [&](const node::Fatal& a) {
            note(host, "fatal: " + a.reason);
            hosts_[host]->stopped = true;
            stop(host, true);
          },
      },
      action);
}

void World::note(std::uint32_t index, std::string what) {
  Host& host = *hosts_[index];
  Happening happening{elapsed(), std::move(what)};
  if (host.history.size() < kHistoryMax) {
    host.history.push_back(std::move(happening));
    return;
  }
  host.history[host.happened] = std::move(happening);
  host.happened = static_cast<std::uint32_t>((host.happened + 1) % kHistoryMax);
}

std::vector<std::string> World::last_events(std::uint32_t index) const {
  const Host& host = *hosts_[index];
  std::vector<std::string> out;
  for (std::size_t i = 0; i < host.history.size(); ++i) {
    const Happening& one = host.history[(host.happened + i) % host.history.size()];
    std::string stamp = std::to_string(one.at.count() % 1'000'000);
    stamp.insert(0, 6 - stamp.size(), '0');
    out.push_back(std::to_string(one.at.count() / 1'000'000) + "." + stamp + " " + one.what);
  }
  return out;
}

// ---- looks

std::uint32_t World::job_index(const base::JobId& id) const {
  const auto found = job_by_id_.find(id);
  return found == job_by_id_.end() ? kNobody : found->second;
}

std::uint32_t World::host_of(const base::NodeId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? kNobody : found->second;
}

}  // namespace sim
