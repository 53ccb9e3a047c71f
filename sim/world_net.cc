// Links: what a datagram, a connection and a message meet on their way.
#include <algorithm>
#include <numeric>
#include <utility>

#include "balance/group_wire.h"
#include "balance/wire.h"
#include "base/overloaded.h"
#include "gossip/limits.h"
#include "sim/world.h"

namespace sim {
namespace {

using base::Duration;
using base::Time;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kHoleAbove = 1000;                 // bytes of a datagram, kMtuHole
constexpr Duration kLinkIdle = std::chrono::minutes(5);  // a connection that nobody used
constexpr std::int64_t kSlowFactor = 100;
constexpr std::uint32_t kDatagramsASecondMax = 5000;  // of a node, whatever others send it

std::uint64_t link_key(std::uint32_t from, std::uint32_t to) {
  return (static_cast<std::uint64_t>(from) << 32) | to;
}

}  // namespace

base::Endpoint World::endpoint_of(std::uint32_t host) const {
  return base::Endpoint::v4({10, static_cast<std::uint8_t>(host >> 16),
                             static_cast<std::uint8_t>(host >> 8), static_cast<std::uint8_t>(host)},
                            hosts_[host]->port);
}

std::uint32_t World::host_at(const base::Endpoint& endpoint) const {
  if (!endpoint.is_v4() || endpoint.address[12] != 10) return kNobody;
  const std::uint32_t host = (static_cast<std::uint32_t>(endpoint.address[13]) << 16) |
                             (static_cast<std::uint32_t>(endpoint.address[14]) << 8) |
                             endpoint.address[15];
  if (host >= hosts_.size() || hosts_[host]->port != endpoint.port) return kNobody;
  return host;
}

bool World::knows_where(std::uint32_t host, std::uint32_t other) const {
  const auto has = [&](const std::map<std::uint32_t, std::uint16_t>& ports) {
    const auto found = ports.find(other);
    return found != ports.end() && found->second == hosts_[other]->port;
  };
  return has(hosts_[host]->seeds) || has(hosts_[host]->met);
}

bool World::cut(std::uint32_t from, std::uint32_t to) {
  for (const Cut& one : cuts_) {
    const auto inside = [&](std::uint32_t host) {
      if (one.only != kNobody) return host == one.only;
      return Draws::mix(one.salt ^ host) % 1'000'000 < one.part_ppm;
    };
    if (inside(from) == inside(to)) continue;
    if (one.one_way && inside(to)) continue;  // only what comes from inside is lost
    count(scenario_.faults[one.plan].fault);
    return true;
  }
  return false;
}

Duration World::way(std::uint32_t from, std::uint32_t to, std::size_t bytes, Dice& dice) {
  // A geometric tail: half of the packets take the typical way, a quarter twice that, ...
  const std::uint64_t draw = dice.next();
  const int doublings = std::min(__builtin_ctzll(draw | (1ULL << 6)), 6);
  const auto spread =
      static_cast<std::int64_t>(draw >> 40) * (scenario_.latency_typical.count() << doublings) >>
      24;
  std::int64_t rate = scenario_.bandwidth_bytes_per_second;
  if (slow_links_.contains(from) || slow_links_.contains(to)) {
    rate = std::max<std::int64_t>(rate / kSlowFactor, 1);
    count(Fault::kSlowLink);
  }
  return scenario_.latency_min + Duration(spread) +
         Duration(static_cast<std::int64_t>(bytes) * 1'000'000 / rate);
}

void World::send_datagram(std::uint32_t from, node::SendDatagram& action) {
  Host& host = *hosts_[from];
  ++counts_.datagrams;
  if (hosts_.size() <= kWatchedHostsMax) promises_.sends_datagram(from, action.to);
  counts_.datagram_bytes += action.bytes.size();
  if (action.bytes.size() > gossip::kPacketSizeMax) {
    promises_.broke("limits", from, "a datagram of " + std::to_string(action.bytes.size()));
  }
  if (now_ - host.second_began >= seconds(1)) {
    host.second_began = now_;
    host.sent_in_second = 0;
  }
  if (++host.sent_in_second == kDatagramsASecondMax) {
    promises_.broke("limits", from,
                    "more datagrams in a second than " + std::to_string(kDatagramsASecondMax));
  }
  std::uint32_t to = host_at(action.to);
  base::Endpoint target = action.to;
  Dice& dice = host.dice.latency;
  if (strikes(from, Fault::kMisdeliver)) {
    to = static_cast<std::uint32_t>(dice.below(hosts_.size()));
    target = endpoint_of(to);
  }
  if (to == kNobody) return;
  Duration delay = way(from, to, action.bytes.size(), dice);
  if (cut(from, to)) return;
  for (const std::uint32_t end : {from, to}) {
    if (udp_blocked_.contains(end)) return count(Fault::kUdpBlocked);
    if (action.bytes.size() > kHoleAbove && holes_.contains(end)) return count(Fault::kMtuHole);
    const auto clog = clogged_.find(end);
    if (clog == clogged_.end()) continue;
    delay = std::max(delay, clog->second - now_ + delay);
    count(Fault::kClog);
  }
  if (strikes(from, Fault::kLoss)) return;
  Dice& fate = host.dice.entropy;
  if (strikes(from, Fault::kReorder)) delay += fate.between(milliseconds(1), milliseconds(200));
  if (strikes(from, Fault::kSpike)) delay += fate.between(milliseconds(100), seconds(2));
  Datagram datagram{endpoint_of(from), target, std::move(action.bytes), 0, from};
  if (host.liar) lie_in(from, to, datagram);
  const bool doubled = strikes(from, Fault::kDuplicate);
  const bool replayed = strikes(from, Fault::kReplay);
  if (doubled || replayed) datagram.twin = next_twin_++;
  if (doubled) put(now_ + delay * 2, to, 0, Datagram(datagram));
  if (replayed) {
    const bool is_old = fate.below(4) == 0;
    const Duration after =
        is_old ? fate.between(seconds(30), seconds(200)) : fate.between(seconds(1), seconds(30));
    put(now_ + delay + after, to, 0, Datagram(datagram));
  }
  if (strikes(from, Fault::kCorrupt) && !datagram.bytes.empty()) {
    datagram.bytes[fate.below(datagram.bytes.size())] ^=
        static_cast<std::uint8_t>(1 + fate.below(255));
  }
  if (strikes(from, Fault::kTruncate)) datagram.bytes.resize(fate.below(datagram.bytes.size() + 1));
  put(now_ + delay, to, 0, std::move(datagram));
}

// Whether a datagram was taken shows in what was dropped.
void World::deliver(std::uint32_t index, Datagram& datagram) {
  Host& host = *hosts_[index];
  const auto drops = [&] {
    const auto& all = host.node->counters().dropped;
    return std::accumulate(all.begin(), all.end(), std::uint64_t{0});
  };
  const bool watches = host.node && hosts_.size() <= kWatchedHostsMax;
  const std::uint64_t before = watches ? drops() : 0;
  const std::uint64_t life = host.life;
  give(index, node::DatagramIn{datagram.from, std::move(datagram.bytes)});
  if (!watches || host.life != life || !host.node || drops() != before) return;
  const std::uint32_t from = host_at(datagram.from);
  if (from == kNobody) host.met.erase(datagram.by);  // late, from where it was: that counts again
  if (from != kNobody) {
    if (host.heard.size() <= from) host.heard.resize(hosts_.size());
    host.heard[from] = now_;
    meets(index, from);
  }
  if (datagram.twin == 0 || host.taken.insert(datagram.twin).second) return;
  // Two daemons with one identity have two salts in turn, and the same answer may prove one twice.
  if (promises_.excused_host(datagram.by)) return;
  promises_.broke("taken-once", index, "the same datagram was taken twice");
}

// Kept, for the node keeps it, once it shows the other one alive.
void World::meets(std::uint32_t index, std::uint32_t other) {
  Host& host = *hosts_[index];
  std::uint16_t& port = host.met[other];
  if (port == hosts_[other]->port) return;
  for (const node::StatusNode& seen : host.node->status().nodes) {
    if (seen.view.id != hosts_[other]->id || seen.view.state != gossip::State::kAlive) continue;
    if (seen.view.endpoint == endpoint_of(other)) port = hosts_[other]->port;
  }
}

void World::lie_in(std::uint32_t from, std::uint32_t to, Datagram& datagram) {
  Host& host = *hosts_[from];
  const auto tells = [&](Fault fault) {
    return (host.lies >> static_cast<unsigned>(fault) & 1U) != 0;
  };
  const Lies lies{tells(Fault::kLieDigests), tells(Fault::kLieStale), tells(Fault::kLieStrangers),
                  tells(Fault::kLieDeaths)};
  const Host& other = *hosts_[to];
  auto altered = host.liar->alter(host.keys, other.id, other.keys.dh.public_key, datagram.bytes,
                                  lies, host.dice.entropy);
  if (!altered) return;
  datagram.bytes = std::move(*altered);
  if (lies.digests) count(Fault::kLieDigests);
  if (lies.stale) count(Fault::kLieStale);
  if (lies.strangers) count(Fault::kLieStrangers);
  if (lies.deaths) count(Fault::kLieDeaths);
}

void World::contact(std::uint32_t from, const base::Endpoint& endpoint) {
  const std::uint32_t to = host_at(endpoint);
  if (to == kNobody || to == from || !hosts_[to]->node) return;
  Dice& dice = hosts_[from]->dice.message;
  const Duration delay = way(from, to, 500, dice) + way(to, from, 500, dice);
  if (cut(from, to) || cut(to, from) || strikes(from, Fault::kConnectFails)) return;
  later(to, delay, Handshake{from, false});
  later(from, delay + way(from, to, 500, dice), Handshake{to, true});
}

// Where an end of it has stopped since, what was under way is lost, and it is to be opened again.
World::Link& World::refreshed(std::uint32_t from, std::uint32_t to, Link& link) const {
  const std::uint32_t stops[2] = {hosts_[from]->stops, hosts_[to]->stops};
  if (stops[0] == link.stops[0] && stops[1] == link.stops[1]) return link;
  std::copy(std::begin(stops), std::end(stops), std::begin(link.stops));
  ++link.generation;
  link.open_at = Time::min();
  return link;
}

void World::send_message(std::uint32_t from, node::SendMessage& action) {
  Host& host = *hosts_[from];
  promises_.sends(from, action);
  ++counts_.messages;
  counts_.message_bytes += action.bytes.size();
  std::uint32_t to = kNobody;
  for (const base::Endpoint& address : action.addresses) {
    to = host_at(address);
    if (to != kNobody) break;
  }
  if (to == kNobody || to == from) return;
  Dice& dice = host.dice.message;
  const Duration delay = way(from, to, action.bytes.size(), dice);
  Link& link = refreshed(from, to, links_[link_key(from, to)]);
  if (!hosts_[to]->node || cut(from, to) || cut(to, from)) {
    // What was on its way is lost with the connection; so is this one.
    ++link.generation;
    link.open_at = Time::min();
    return;
  }
  const bool is_open =
      link.open_at != Time::min() && link.generation != 0 && now_ - link.used < kLinkIdle;
  if (!is_open) {
    if (strikes(from, Fault::kConnectFails)) return;
    ++link.generation;
    link.open_at = now_ + 2 * way(from, to, 600, dice);  // TCP, then the handshake
    link.last = link.open_at;
    put(link.open_at, from, hosts_[from]->life, Handshake{to, true});
    put(link.open_at, to, hosts_[to]->life, Handshake{from, false});
  }
  link.used = now_;
  if (strikes(from, Fault::kReset)) {
    ++link.generation;
    link.open_at = Time::min();
    return;
  }
  if (strikes(from, Fault::kMessageLost)) return;
  Time arrives = std::max(now_ + delay, link.last);
  // All that is under way waits for the packet that is sent again, however many are behind it.
  if (link.stalled_until <= now_ && strikes(from, Fault::kStall)) {
    link.stalled_until = now_ + host.dice.entropy.between(milliseconds(100), seconds(5));
  }
  arrives = std::max(arrives, link.stalled_until);
  for (const std::uint32_t end : {from, to}) {
    const auto clog = clogged_.find(end);
    if (clog != clogged_.end()) arrives = std::max(arrives, clog->second);
  }
  link.last = arrives;
  MemberMessage message{from, link.generation, std::move(action.bytes), endpoint_of(from)};
  if (auto other = lie(from, to, message.bytes)) message.bytes = std::move(*other);
  // What lay in the buffers of an older connection may be read after what came over a newer one.
  if (strikes(from, Fault::kMessageLate)) {
    message.connection = kAnyConnection;
    const Duration late = host.dice.entropy.between(milliseconds(50), seconds(8));
    return later(to, arrives - now_ + late, std::move(message));
  }
  if (strikes(from, Fault::kMessageTwice)) put(arrives, to, 0, MemberMessage(message));
  put(arrives, to, 0, std::move(message));
}

// ---- lying members: what they say of votes, outcomes and the other end is not what they know

std::optional<base::Bytes> World::lie(std::uint32_t from, std::uint32_t to,
                                      const base::Bytes& bytes) {
  const auto tells = [&](Fault fault) {
    return (hosts_[from]->lies >> static_cast<unsigned>(fault) & 1U) != 0;
  };
  if (hosts_[from]->lies == 0) return std::nullopt;
  auto message = node::decode_message(bytes);
  if (!message) return std::nullopt;
  auto* agreement = std::get_if<node::Agreement>(&*message);
  if (agreement == nullptr) return std::nullopt;
  auto inner = balance::wire::decode(agreement->bytes);
  if (!inner) return std::nullopt;
  bool changed = false;
  if (auto* group = std::get_if<balance::wire::GroupMessage>(&inner->body)) {
    auto raft = balance::group::decode(group->bytes);
    if (!raft) return std::nullopt;
    if (auto* vote = std::get_if<balance::group::VoteReply>(&raft->body)) {
      if (tells(Fault::kLieVotes) && !vote->granted) {
        vote->granted = changed = true;
        count(Fault::kLieVotes);
      }
    }
    auto* append = std::get_if<balance::group::Append>(&raft->body);
    if (append != nullptr && tells(Fault::kLieOutcomes) && to % 2 == 1) {
      for (balance::group::Entry& entry : append->entries) {
        auto what = balance::decode_log_entry(entry.payload);
        if (!what) continue;
        auto* outcome = std::get_if<balance::OutcomeEntry>(&*what);
        if (outcome == nullptr) continue;
        outcome->decision = outcome->decision == balance::Decision::kCommit
                                ? balance::Decision::kAbort
                                : balance::Decision::kCommit;
        entry.payload = balance::encode(*what);
        changed = true;
        count(Fault::kLieOutcomes);
      }
    }
    if (changed) group->bytes = balance::group::encode(*raft);
  }
  auto* end = std::get_if<balance::wire::EndReport>(&inner->body);
  if (end != nullptr && tells(Fault::kLieReports)) {
    changed = true;
    count(Fault::kLieReports);
    end->end.state = balance::is_source_state(end->end.state) ? balance::EndState::kSourceResumed
                                                              : balance::EndState::kSinkReleased;
    end->end.acted = true;
  }
  if (!changed) return std::nullopt;
  agreement->bytes = balance::wire::encode(*inner);
  return node::encode(*message);
}

}  // namespace sim
