#include "gossip/core.h"

#include <algorithm>
#include <bit>

#include "gossip/simple_detector.h"

namespace gossip {
namespace {

constexpr base::Duration kExpireInterval = 1min;

base::crypto::DhKey copy(const base::crypto::DhKey& key) {
  return {key.public_key, key.secret.clone()};
}

}  // namespace

Core::Core(Config config, base::Log& log)
    : keys_(std::move(config.keys)),
      self_(keys_.id()),
      chain_(std::move(config.chain)),
      roster_(std::move(config.roster)),
      log_(log),
      rng_(config.seed),
      envelope_(self_, copy(keys_.dh), config.salt, std::move(config.secret)),
      view_(self_, rng_.next()),
      detector_(std::make_unique<SimpleDetector>(self_, rng_.next())),
      pool_(config.pool ? std::move(config.pool) : std::make_shared<Pool>()) {}

Actions Core::step(base::Time now, const Event& event) {
  now_ = std::max(now, now_);
  const bool is_common =
      std::holds_alternative<Datagram>(event) || std::holds_alternative<Tick>(event);
  if (!is_common) contacts_changed_ = true;
  std::visit([this](const auto& one) { on(one); }, event);
  if (started_) run_timers();
  flush();
  if (!touched_.empty()) contacts_changed_ = true;
  if (std::exchange(contacts_changed_, false)) next_contact_ = next_contact();
  tell_view();
  return std::exchange(actions_, {});
}

void Core::tell_view() {
  if (touched_.empty()) return;
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  ViewChanged told;
  for (const base::NodeId& id : touched_) {
    (view_.find(id) == nullptr ? told.gone : told.changed).push_back(id);
  }
  touched_.clear();
  actions_.emplace_back(std::move(told));
}

// ---- events

void Core::on(const Started& event) {
  CHECK(!started_);
  started_ = true;
  wall_ = event.wall;
  wall_at_ = now_;
  incarnation_ = event.incarnation;
  local_ = event.fields;
  const auto own = identity::verify(chain_, roster_.root(), wall());
  if (!own) log_.error("own_certificate", {{"why", own.error().detail}});
  if (own) own_name_ = own->body.name;
  publish(true);
  sync_at_ = now_ + kSyncInterval;
  expire_at_ = now_ + kExpireInterval;
}

void Core::on(const LocalDigest& event) {
  local_ = event.fields;
  local_.left = false;
  if (started_ && worth_telling(told_, local_)) publish_wanted_ = true;
}

void Core::on(const PortRefused& event) {
  for (const Member& member : view_.members()) {
    if (member.id() == self_ || view_.endpoint(member) != event.endpoint) continue;
    return detector_->refused(now_, member.id());
  }
}

void Core::on(const MemberIntroduced& event) {
  if (!learn(event.chain)) return;
  const auto certificate = identity::verify(event.chain, roster_.root(), wall());
  if (!certificate || certificate->id == self_) return;
  const base::NodeId id = certificate->id;
  for (Seed& seed : seeds_) {
    if (seed.endpoint == event.endpoint) seed.node = id;
  }
  if (event.endpoint.port == 0) return;  // it will send to us
  Member* member = view_.find(id);
  const bool known = member != nullptr && member->state == State::kAlive &&
                     view_.endpoint(*member) == event.endpoint;
  if (!known) actions_.emplace_back(MemberMet{id, event.endpoint});
  if (member != nullptr) {
    view_.set_endpoint(*member, event.endpoint);
    detector_->renewed(now_, id);
  } else {
    std::erase_if(introduced_, [&id](const auto& one) { return one.first == id; });
    introduced_.emplace_back(id, event.endpoint);
    if (introduced_.size() > kIntroducedMax) introduced_.pop_front();
  }
  start_sync_with(id, event.called);
}

void Core::on(const PeerSeed& event) {
  const auto same = [&event](const Seed& seed) { return seed.endpoint == event.endpoint; };
  if (std::any_of(seeds_.begin(), seeds_.end(), same)) return;
  if (seeds_.size() >= kSeedsMax) return drop(Drop::kFull);
  seeds_.push_back({event.endpoint, now_, kSeedBackoffMin, std::nullopt});
}

void Core::on(const WallClock& event) {
  wall_ = event.wall;
  wall_at_ = now_;
}

void Core::on(const Leave& /*event*/) {
  if (!started_ || silent_) return;
  local_.left = true;
  publish(true);
  silent_ = true;
  const std::size_t count = static_cast<std::size_t>(std::bit_width(view_.members().size()));
  for (const base::NodeId& peer : view_.pick(rng_, std::max(count, kFanOut))) {
    queue_digest({peer, *endpoint_of(peer)}, *view_.find(self_), false);
  }
}

void Core::on(const Tick& /*event*/) {}

// ---- timers

base::WallTime Core::wall() const {
  const auto passed = std::chrono::duration_cast<std::chrono::seconds>(now_ - wall_at_);
  return base::WallTime{base::wall_seconds(wall_) + passed.count()};
}

void Core::run_timers() {
  if (publish_wanted_ && now_ >= published_at_ + kPublishMin) publish(true);
  if (now_ >= renew_at_) publish(false);
  run_detector();
  if (now_ >= sync_at_) start_sync();
  if (now_ >= expire_at_) expire();
  make_contacts();
  if (now_ >= spread_at_) spread_round();
}

void Core::run_detector() {
  const Detector::Output output = detector_->poll(now_);
  for (const auto& verdict : output.verdicts) apply(verdict);
  for (const base::NodeId& id : output.missed) {
    // It may have forgotten our certificate, as it cannot keep all; its silence says nothing then.
    const auto endpoint = endpoint_of(id);
    if (!view_.sampled() || !endpoint) continue;
    detector_->contacted(id);
    actions_.emplace_back(Contact{*endpoint});
  }
  for (const auto& probe : output.probes) {
    Member* member = view_.find(probe.to);
    if (member == nullptr) continue;
    if (member->state != State::kAlive) view_.try_next_endpoint(*member);
    queue(probe.to, PingMessage{probe.nonce, member->state});
  }
}

void Core::expire() {
  expire_at_ = now_ + kExpireInterval;
  contacts_changed_ = true;
  std::vector<base::NodeId> spent;
  for (const Member& member : view_.members()) {
    const bool is_old = now_ - member.renewed_at.at() >= kRenewedMax;
    if (member.id() != self_ && member.is_live() && is_old) spent.push_back(member.id());
  }
  for (const base::NodeId& id : spent) {
    set_state(*view_.find(id), State::kDead);
    detector_->add(now_, id, Detector::Health::kDead);
  }
  view_.reconsider();
  view_.forget_troubles(now_);
  forget_followers();
  while (roster_.size() > roster_max() && make_roster_place()) {
  }
  envelope_.forget_unconfirmed(now_);
  for (const base::NodeId& id : roster_.expired(wall())) {
    log_.info("certificate_expired", {{"node", id.brief()}});
    roster_.forget(id);
    envelope_.forget(id);
    if (id == self_ || view_.find(id) == nullptr) continue;
    view_.remove(id);
    removed({id});
    actions_.emplace_back(NodeDead{id});
  }
}

// A handshake with a seed is not enough: what its two ends tell each other next may be lost, and
// then neither is in the other's view. Nor is one for ever: who died or left may come back there.
bool Core::is_satisfied(const Seed& seed) const {
  if (!seed.node) return false;
  if (view_.sampled()) return true;  // it need not be among those who are known
  const Member* member = view_.find(*seed.node);
  return member != nullptr && member->is_live();
}

// Seeds whose nodes are not in the view, all of them when nobody is left; members that do not
// answer datagrams, since they may have lost our certificate.
void Core::make_contacts() {
  const bool is_known = !contacts_changed_ && touched_.empty();
  if (now_ < contact_at_ || (is_known && now_ < next_contact_)) return;
  contacts_changed_ = true;
  const bool alone = view_.live_others() == 0;
  for (Seed& seed : seeds_) {
    if (is_satisfied(seed) && !alone) continue;
    if (now_ < seed.after) continue;
    seed.after = now_ + seed.backoff;
    seed.backoff = std::min(seed.backoff * 2, kSeedBackoffMax);
    contact_at_ = now_ + kContactEvery;
    actions_.emplace_back(Contact{seed.endpoint});
    return;
  }
  for (const base::NodeId& id : view_.silent()) {
    const auto endpoint = view_.endpoint(*view_.find(id));
    if (!endpoint || now_ < view_.trouble(id).contact_after) continue;
    Trouble& trouble = view_.troubled(id);
    trouble.contact_after = now_ + trouble.contact_backoff;
    trouble.contact_backoff = std::min(trouble.contact_backoff * 2, kContactBackoffMax);
    contact_at_ = now_ + kContactEvery;
    actions_.emplace_back(Contact{*endpoint});
    return;
  }
}

// Without what forbids contacts in quick succession.
base::Time Core::next_contact() const {
  base::Time out = base::kNever;
  const bool alone = view_.live_others() == 0;
  for (const Seed& seed : seeds_) {
    if (alone || !is_satisfied(seed)) out = std::min(out, seed.after);
  }
  for (const base::NodeId& id : view_.silent()) {
    const bool is_placed = view_.find(id)->reach != Member::Reach::kNowhere;
    if (is_placed) out = std::min(out, view_.trouble(id).contact_after);
  }
  return out;
}

base::Time Core::next_deadline() const {
  if (!started_) return base::kNever;
  base::Time out = std::min({renew_at_, spread_at_, sync_at_, expire_at_,
                             std::max(next_contact_, contact_at_), detector_->next_deadline()});
  if (publish_wanted_) out = std::min(out, published_at_ + kPublishMin);
  return out;
}

// ---- sending

std::optional<base::Endpoint> Core::endpoint_of(const base::NodeId& id) const {
  const Member* member = view_.find(id);
  if (member != nullptr && member->reach != Member::Reach::kNowhere) return view_.endpoint(*member);
  return met(id);
}

std::optional<base::Endpoint> Core::met(const base::NodeId& id) const {
  for (const auto& [who, endpoint] : introduced_) {
    if (who == id) return endpoint;
  }
  return std::nullopt;
}

void Core::queue(const base::NodeId& to, const Message& message) {
  const auto endpoint = endpoint_of(to);
  if (endpoint) queue(Source{to, *endpoint}, message);
}

void Core::queue(const Source& to, const Message& message) {
  Outgoing& outgoing = outbox_[to.id];
  outgoing.to = to.from;
  outgoing.messages.push_back(encode_message(message));
}

void Core::flush() {
  if (outbox_.empty()) return;
  for (auto& [id, outgoing] : std::exchange(outbox_, {})) flush_peer(id, std::move(outgoing));
}

// Fills packets in order; rumors ride in the room of the last one.
void Core::flush_peer(const base::NodeId& to, Outgoing outgoing) {
  base::Bytes payload;
  std::size_t sum = 0;
  for (const base::Bytes& message : outgoing.messages) sum += message.size();
  payload.reserve(std::min(sum, kPayloadSizeMax));
  const auto append = [&payload](const base::Bytes& bytes) {
    payload.insert(payload.end(), bytes.begin(), bytes.end());
  };
  for (const base::Bytes& message : outgoing.messages) {
    if (payload.size() + message.size() > kPayloadSizeMax) {
      send(to, outgoing.to, std::exchange(payload, {}), true);
    }
    append(message);
  }
  for (const RumorKey& key : rumors_.for_peer(to, false)) {
    const auto messages = rumor_messages(key);
    std::size_t size = payload.size();
    for (const base::Bytes& message : messages) size += message.size();
    if (size > kPayloadSizeMax) break;
    for (const base::Bytes& message : messages) append(message);
    rumors_.told(key);
  }
  if (!payload.empty()) send(to, outgoing.to, payload, true);
}

void Core::send(const base::NodeId& to, const base::Endpoint& endpoint, base::ByteView payload,
                bool again) {
  const identity::Certificate* certificate = roster_.find(to);
  if (certificate == nullptr) return;
  base::Bytes packet = envelope_.seal(now_, to, certificate->body.dh_public, payload, again);
  if (packet.empty()) return;
  ++counters_.datagrams_out;
  counters_.bytes_out += packet.size();
  actions_.emplace_back(SendDatagram{endpoint, std::move(packet)});
}

}  // namespace gossip
