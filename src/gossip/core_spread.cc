// This node's own digests, rumors, and what is believed of others.
#include <algorithm>

#include "gossip/core.h"

namespace gossip {

void Core::publish(bool urgent) {
  publish_wanted_ = false;
  renew_at_ = now_ + kRenewInterval - kRenewInterval / 10 + rng_.between(0ms, kRenewInterval / 10);
  if (silent_) return;
  sequence_ = sequence_.next();
  DigestHead head;
  head.mesh = roster_.mesh();
  head.node = self_;
  head.incarnation = incarnation_;
  head.sequence = sequence_;
  told_ = local_;
  const SharedBytes bytes = make_digest(head, told_, keys_.sign);
  auto fields = decode_digest(*bytes);
  CHECK(fields.ok());
  SharedDigest digest =
      pool_->digests.add(base::crypto::hash128({*bytes}), Digest{*bytes, head, std::move(*fields)});
  Member* own = view_.find(self_);
  if (own == nullptr) {
    Member member;
    member.digest = std::move(digest);
    member.heard = Heard::kSelf;
    own = &view_.add(std::move(member), std::nullopt);
  } else {
    view_.set_digest(*own, std::move(digest));
  }
  own->last_heard = CoarseTime(now_);
  own->renewed_at = CoarseTime(now_);
  if (head.sequence.value == 1) own->learned_at = CoarseTime(now_);
  published_at_ = now_;
  ++counters_.digests_made;
  touched_.push_back(self_);
  spread(self_, {}, urgent);
  if (urgent) tell_followers();
}

// Somebody believes this node suspect or dead: a newer digest says otherwise.
void Core::refute() {
  const bool too_soon = now_ < refuted_at_ + kRefuteMin || now_ < published_at_ + kPublishMin;
  if (silent_ || too_soon) return;
  refuted_at_ = now_;
  publish(true);
}

void Core::go_silent() {
  silent_ = true;
  log_.error("identity_conflict", {{"node", self_.brief()}});
  actions_.emplace_back(IdentityConflict{});
}

// ---- rumors

void Core::spread(const base::NodeId& node, const base::NodeId& from, bool urgent) {
  add_rumor({RumorKind::kDigest, node}, from, urgent);
}

// Not from a sample: few of those whom it knows know whom it knows.
void Core::add_rumor(const RumorKey& key, const base::NodeId& from, bool urgent) {
  if (view_.sampled()) return;
  rumors_.add(key, from, view_.live_others(), urgent);
  if (urgent && spread_at_ == base::kNever) spread_at_ = now_;
}

void Core::spread_round() {
  spread_at_ = base::kNever;
  std::vector<RumorKey> had_round;
  for (const base::NodeId& peer : view_.pick_for_news(rng_, kFanOut)) {
    std::size_t room = kPayloadSizeMax;
    const auto queued = outbox_.find(peer);
    if (queued != outbox_.end()) {
      for (const base::Bytes& message : queued->second.messages) {
        room -= std::min(room, message.size());
      }
    }
    for (const RumorKey& key : rumors_.for_peer(peer, true)) {
      auto messages = rumor_messages(key);
      std::size_t size = 0;
      for (const base::Bytes& message : messages) size += message.size();
      if (size > room) break;
      room -= size;
      Outgoing& outgoing = outbox_[peer];
      outgoing.to = *endpoint_of(peer);
      for (base::Bytes& message : messages) outgoing.messages.push_back(std::move(message));
      rumors_.told(key);
      had_round.push_back(key);
    }
  }
  for (const RumorKey& key : had_round) rumors_.had_round(key);
  if (rumors_.has_urgent()) spread_at_ = now_ + kRumorRound;
}

std::vector<base::Bytes> Core::digest_messages(const Member& member, bool chain) const {
  std::vector<base::Bytes> out;
  const base::NodeId& origin = member.id();
  const identity::Certificate* certificate = roster_.find(origin);
  if (chain && origin == self_) out.push_back(encode_message(ChainMessage{chain_}));
  if (chain && certificate != nullptr) {
    out.push_back(encode_message(ChainMessage{certificate->chain}));
  }
  out.push_back(encode_message(DigestMessage{member.state, member.digest->bytes}));
  return out;
}

std::vector<base::Bytes> Core::rumor_messages(const RumorKey& key) const {
  const Member* member = view_.find(key.node);
  if (member == nullptr) return {};
  if (key.kind == RumorKind::kSuspicion) return {encode_message(SuspectMessage{member->entry()})};
  return digest_messages(*member, now_ - member->learned_at.at() < kNewMemberAge);
}

// ---- states

void Core::take_suspicion(const Source& source, const Entry32& entry) {
  if (entry.node == self_) return refute();
  Member* member = view_.find(entry.node);
  if (member == nullptr || !member->is_live()) return;
  if (member->age() > entry.age()) return queue_digest(source, *member, false);
  Trouble& trouble = view_.troubled(entry.node);
  if (trouble.suspicion_at && now_ - *trouble.suspicion_at < kSuspicionMin) {
    return rumors_.heard_again({RumorKind::kSuspicion, entry.node});
  }
  trouble.suspicion_at = now_;
  detector_->reported(now_, entry.node);
  add_rumor({RumorKind::kSuspicion, entry.node}, source.id, true);
}

std::string Core::name_of(const base::NodeId& id) const {
  if (id == self_) return own_name_;
  const identity::Certificate* certificate = roster_.find(id);
  return certificate == nullptr ? std::string{} : certificate->body.name;
}

void Core::set_state(Member& member, State state) {
  if (member.state == state) return;
  const base::NodeId id = member.id();
  view_.set_state(member, state);
  touched_.push_back(id);
  switch (state) {
    case State::kAlive:
      log_.info("node_up", {{"node", id.brief()}, {"name", name_of(id)}});
      actions_.emplace_back(NodeUp{id});
      return;
    case State::kSuspect:
      log_.info("node_suspect", {{"node", id.brief()}, {"name", name_of(id)}});
      actions_.emplace_back(NodeSuspect{id});
      return;
    case State::kDead:
      log_.info("node_dead", {{"node", id.brief()}, {"name", name_of(id)}});
      actions_.emplace_back(NodeDead{id});
      return;
    case State::kLeft:
      log_.info("node_left", {{"node", id.brief()}, {"name", name_of(id)}});
      actions_.emplace_back(NodeLeft{id});
      return;
  }
}

void Core::apply(const Detector::Verdict& verdict) {
  Member* member = view_.find(verdict.id);
  if (member == nullptr || member->state == State::kLeft) return;
  switch (verdict.health) {
    case Detector::Health::kAlive:
      return set_state(*member, State::kAlive);
    case Detector::Health::kDead:
      return set_state(*member, State::kDead);
    case Detector::Health::kSuspect:
      break;
  }
  set_state(*member, State::kSuspect);
  Trouble& trouble = view_.troubled(verdict.id);
  trouble.contact_after = now_ + kContactEvery;
  contacts_changed_ = true;
  view_.try_next_endpoint(*member);
  if (!verdict.report) return;
  trouble.suspicion_at = now_;
  add_rumor({RumorKind::kSuspicion, verdict.id}, {}, true);
}

void Core::removed(const std::vector<base::NodeId>& nodes) {
  for (const base::NodeId& id : nodes) {
    detector_->remove(id);
    rumors_.forget(id);
    touched_.push_back(id);
  }
}

std::vector<NodeView> Core::node_views() const {
  std::vector<NodeView> out;
  out.reserve(view_.members().size());
  for (const Member& member : view_.members()) out.push_back(show(member));
  return out;
}

std::optional<NodeView> Core::node_view(const base::NodeId& id) const {
  const Member* member = view_.find(id);
  return member == nullptr ? std::nullopt : std::optional(show(*member));
}

NodeView Core::show(const Member& member) const {
  const Digest& digest = *member.digest;
  NodeView one;
  one.id = member.id();
  one.name = name_of(one.id);
  one.state = member.state;
  one.readable = digest.fields.has_value();
  one.fields = one.id == self_ ? local_ : digest.fields.value_or(DigestFields{});
  one.incarnation = digest.head.incarnation;
  one.sequence = digest.head.sequence;
  one.endpoint = view_.endpoint(member).value_or(base::Endpoint{});
  one.heard = member.heard;
  one.last_heard = member.last_heard.at();
  one.known_since = member.learned_at.at();
  return one;
}

}  // namespace gossip
