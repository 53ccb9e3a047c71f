// Datagrams, certificates and digests: what is taken, in which order it is checked, and why not.
#include <algorithm>

#include "gossip/core.h"

namespace gossip {

using base::ByteView;
using base::Code;

void Core::drop(Drop why, const base::NodeId* from) {
  counters_.drop(why);
  const std::uint64_t count = counters_.of(why);
  // The first few and then every power of two: a flood does not become a flood of lines.
  if ((count & (count - 1)) != 0) return;
  log_.debug("gossip_drop", {{"why", kDropNames[static_cast<std::size_t>(why)]},
                             {"count", count},
                             {"from", from == nullptr ? std::string("-") : from->brief()}});
}

void Core::drop_chain(const base::Error& error) {
  switch (error.code) {
    case Code::kRefused:
      return drop(Drop::kForeign);
    case Code::kUnauthentic:
      return drop(Drop::kForged);
    case Code::kStale:
      return drop(Drop::kExpired);
    case Code::kFull:
      return drop(Drop::kFull);
    default:
      return drop(Drop::kMalformed);
  }
}

void Core::on(const Datagram& event) {
  ++counters_.datagrams_in;
  counters_.bytes_in += event.bytes.size();
  if (!started_) return;
  const auto header = parse_header(event.bytes);
  if (!header) return drop(Drop::kMalformed);
  const identity::Certificate* sender = roster_.find_prefix(
      header->sender, [this](const identity::Certificate& one) { return one.id != self_; });
  if (sender == nullptr) return drop(Drop::kUnknownSender);
  const Source source{sender->id, event.from};
  const auto opened = envelope_.open(now_, source.id, sender->body.dh_public, event.bytes);
  if (!opened) {
    return drop(opened.error().code == Code::kStale ? Drop::kReplayed : Drop::kForged, &source.id);
  }
  const auto messages = decode_messages(opened->payload);
  if (!messages) return drop(Drop::kMalformed, &source.id);
  if (!opened->proven) return read_unproven(source, *opened, *messages);
  Member* member = view_.find(source.id);
  if (member != nullptr) {
    if (opened->newest) reached_from(*member, event.from);
    member->heard = Heard::kDirect;
    member->last_heard = CoarseTime(now_);
    view_.answers(source.id);
    detector_->heard(now_, source.id);
  }
  read(source, *messages);
}

// The address of who tells none itself is news for those who ask where it is.
void Core::reached_from(Member& member, const base::Endpoint& endpoint) {
  const bool tells = member.digest->first_address() != nullptr;
  if (!tells && view_.endpoint(member) != endpoint) touched_.push_back(member.id());
  view_.set_endpoint(member, endpoint);
}

// A member made this packet, but maybe long ago: only the handshake is read, until a cookie of
// ours proves that it is new.
void Core::read_unproven(const Source& source, const Opened& opened,
                         const std::vector<Message>& messages) {
  bool responds = false;
  for (const Message& message : messages) {
    const auto* response = std::get_if<ResponseMessage>(&message);
    responds = responds || response != nullptr;
    if (response == nullptr || !envelope_.accept(now_, source.id, opened, response->cookie)) {
      continue;
    }
    queue(source, AcceptedMessage{opened.salt});
    Member* member = view_.find(source.id);
    if (member != nullptr) {
      reached_from(*member, source.from);
      member->heard = Heard::kDirect;
      member->last_heard = CoarseTime(now_);
      detector_->heard(now_, source.id);
    }
    return read(source, messages);
  }
  drop(Drop::kUnproven, &source.id);
  for (const Message& message : messages) {
    const auto* challenge = std::get_if<ChallengeMessage>(&message);
    if (challenge != nullptr) return answer_challenge(source, *challenge, opened, !responds);
  }
  // A response that was refused is not challenged again: each would bring another one, as fast as
  // the network carries them, for as long as it is refused.
  if (responds) return;
  const Cookie cookie = envelope_.cookie(now_, source.id, opened.salt);
  const base::Bytes payload = encode_message(ChallengeMessage{cookie, opened.salt});
  send(source.id, source.from, payload, false);
}

// The peer wants our salt proven; whatever it did not take so far follows the cookie. Its own salt
// is unproven as long as it challenges under one, so it is challenged in the same packet.
void Core::answer_challenge(const Source& source, const ChallengeMessage& challenge,
                            const Opened& opened, bool challenge_back) {
  if (challenge.salt != envelope_.salt()) return;
  base::Bytes payload = encode_message(ResponseMessage{challenge.cookie});
  if (!opened.proven && challenge_back) {
    const Cookie cookie = envelope_.cookie(now_, source.id, opened.salt);
    const base::Bytes ours = encode_message(ChallengeMessage{cookie, opened.salt});
    payload.insert(payload.end(), ours.begin(), ours.end());
  }
  auto kept = envelope_.take_unconfirmed(source.id);
  bool first = true;
  for (base::Bytes& bytes : kept) {
    if (first && payload.size() + bytes.size() <= kPacketSizeMax - kHeaderSize - kSealSize) {
      payload.insert(payload.end(), bytes.begin(), bytes.end());
      bytes.clear();
    }
    if (first) send(source.id, source.from, payload, false);
    first = false;
    if (!bytes.empty()) send(source.id, source.from, bytes, false);
  }
  if (first) send(source.id, source.from, payload, false);
}

void Core::read(const Source& source, const std::vector<Message>& messages) {
  for (const Message& message : messages) {
    if (const auto* m = std::get_if<ChallengeMessage>(&message)) {
      Opened proven;
      proven.proven = true;
      answer_challenge(source, *m, proven, false);
    } else if (const auto* accepted = std::get_if<AcceptedMessage>(&message)) {
      if (accepted->salt == envelope_.salt()) envelope_.confirmed(source.id);
    } else if (const auto* ping = std::get_if<PingMessage>(&message)) {
      take_ping(source, *ping);
    } else if (const auto* pong = std::get_if<PongMessage>(&message)) {
      if (detector_->answered(now_, source.id, pong->nonce)) envelope_.confirmed(source.id);
    } else if (const auto* digest = std::get_if<DigestMessage>(&message)) {
      take_digest(source, *digest);
    } else if (const auto* chain = std::get_if<ChainMessage>(&message)) {
      take_chain(chain->chain);
    } else if (const auto* suspect = std::get_if<SuspectMessage>(&message)) {
      take_suspicion(source, suspect->entry);
    } else if (const auto* hash = std::get_if<SyncHashMessage>(&message)) {
      take_sync_hash(source, *hash);
    } else if (const auto* buckets = std::get_if<SyncBucketsMessage>(&message)) {
      take_buckets(source, *buckets);
    } else if (const auto* summary = std::get_if<SyncSummaryMessage>(&message)) {
      take_summary(source, *summary);
    } else if (const auto* have = std::get_if<HaveMessage>(&message)) {
      take_have(source, *have);
    } else if (const auto* wish = std::get_if<WantMessage>(&message)) {
      take_want(source, *wish);
    }
  }
}

void Core::take_ping(const Source& source, const PingMessage& ping) {
  queue(source, PongMessage{ping.nonce});
  if (ping.state == State::kDead || ping.state == State::kLeft) refute();
}

// ---- certificates

void Core::take_chain(ByteView chain) { static_cast<void>(learn(chain)); }

std::size_t Core::roster_max() const {
  return view_.sampled() ? kSampleRosterMax : identity::kRosterMax;
}

// At random: whoever is forgotten for a fixed reason would be so everywhere.
bool Core::make_roster_place() {
  const std::vector<base::NodeId>& ids = roster_.ids();
  const std::uint64_t from = rng_.below(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const base::NodeId id = ids[(from + i) % ids.size()];
    const bool is_followed = followers_.contains(id);
    const bool is_met = std::any_of(introduced_.begin(), introduced_.end(),
                                    [&id](const auto& one) { return one.first == id; });
    if (view_.find(id) != nullptr || is_followed || is_met) continue;
    roster_.forget(id);
    envelope_.forget(id);
    actions_.emplace_back(MemberForgotten{id});
    return true;
  }
  return false;
}

bool Core::learn(ByteView chain) {
  // The same bytes come with every rumor about a newcomer; they are verified once.
  const ContentHash chain_hash = base::crypto::hash128({chain});
  const auto shared = pool_->certificates.find(chain_hash);
  if (shared && roster_.find(shared->id) == shared.get()) return true;
  auto certificate = identity::verify(chain, roster_.root(), wall());
  if (!certificate) {
    drop_chain(certificate.error());
    return false;
  }
  const base::NodeId id = certificate->id;
  if (id == self_) return true;
  const auto* known = roster_.find(id);
  if (known == nullptr && roster_.size() >= roster_max() && !make_roster_place()) {
    drop(Drop::kFull);
    return false;
  }
  const bool other_key = known != nullptr && known->body.dh_public != certificate->body.dh_public;
  const std::string name = certificate->body.name;
  const auto learned =
      roster_.take(shared ? shared : pool_->certificates.add(chain_hash, std::move(*certificate)));
  CHECK(learned.ok());
  if (*learned == identity::Roster::Learned::kKnown) return true;
  if (other_key) envelope_.forget(id);
  log_.info("member_learned", {{"node", id.brief()}, {"name", name}});
  actions_.emplace_back(MemberLearned{id, base::to_bytes(chain)});
  return true;
}

// ---- digests

void Core::take_digest(const Source& source, const DigestMessage& message) {
  const auto head = peek_digest(message.digest);
  if (!head) return drop(Drop::kMalformed, &source.id);
  if (head->mesh != roster_.mesh()) return drop(Drop::kForeign, &source.id);
  if (head->node == self_) return take_own(*head, message.digest);
  Member* member = view_.find(head->node);
  if (member == nullptr) return take_new(source, *head, message);
  if (head->age() > member->age()) return take_newer(source, *member, *head, message.digest);
  if (head->age() == member->age()) {
    rumors_.heard_again({RumorKind::kDigest, head->node});
    if (!std::ranges::equal(message.digest, member->digest->bytes)) {
      return note_conflict(*member, message.digest);
    }
  }
  drop(Drop::kStale, &source.id);
}

SharedDigest Core::check_digest(const DigestHead& head, ByteView bytes) {
  const identity::Certificate* certificate = roster_.find(head.node);
  CHECK(certificate != nullptr);
  if (!verify_digest(bytes, certificate->body.sign_public)) {
    drop(Drop::kForged);
    return nullptr;
  }
  const ContentHash hash = base::crypto::hash128({bytes});
  if (auto shared = pool_->digests.find(hash)) return shared;
  auto decoded = decode_digest(bytes);
  if (!decoded && decoded.error().code != Code::kUnsupported) {
    drop(Drop::kMalformed);
    return nullptr;
  }
  Digest digest{base::to_bytes(bytes), head, std::nullopt};
  if (decoded) digest.fields = std::move(*decoded);  // else it is kept and relayed unread
  return pool_->digests.add(hash, std::move(digest));
}

void Core::take_new(const Source& source, const DigestHead& head, const DigestMessage& message) {
  if (!would_take(head.node)) return drop(Drop::kFull);
  if (roster_.find(head.node) == nullptr) return want(source, {{head.node, true}});
  Member member;
  member.digest = check_digest(head, message.digest);
  if (!member.digest) return;
  member.learned_at = CoarseTime(now_);
  member.renewed_at = CoarseTime(now_);
  member.last_heard = CoarseTime(now_);
  std::optional<base::Endpoint> endpoint = endpoint_of(head.node);
  if (source.id == head.node) {
    endpoint = source.from;
    member.heard = Heard::kDirect;
  }
  const base::Endpoint* const first = member.digest->first_address();
  if (!endpoint && first != nullptr) endpoint = *first;
  const bool left = member.digest->fields && member.digest->fields->left;
  // The relayer's word counts only here, where nothing better is known: the long dead do not come
  // back to life by reaching a newcomer.
  const bool dead = message.state == State::kDead && source.id != head.node;
  member.state = left ? State::kLeft : dead ? State::kDead : State::kAlive;
  std::erase_if(introduced_, [&head](const auto& one) { return one.first == head.node; });
  const bool was_sampled = view_.sampled();
  if (view_.is_full_sample()) refresh_at_ = now_ + kRefreshInterval;
  removed(view_.make_place());
  if (view_.sampled() && !was_sampled) turned_into_sample();
  const Member& added = view_.add(std::move(member), endpoint);
  ++counters_.digests_taken;
  touched_.push_back(head.node);
  if (added.state == State::kAlive) actions_.emplace_back(NodeUp{head.node});
  if (!left) {
    detector_->add(now_, head.node, dead ? Detector::Health::kDead : Detector::Health::kAlive);
  }
  spread(head.node, source.id, !dead && !left);
  // Many at once join when a mesh starts, and some rumors miss: whoever sees a newcomer compares
  // soon. A sample always sees newcomers, and its hashes never agree.
  if (view_.sampled()) return;
  sync_at_ = std::min(sync_at_, now_ + rng_.between(kSyncAgain, kSyncAgain + 500ms));
}

void Core::take_newer(const Source& source, Member& member, const DigestHead& head,
                      ByteView bytes) {
  if (roster_.find(head.node) == nullptr) return want(source, {{head.node, true}});
  SharedDigest digest = check_digest(head, bytes);
  if (!digest) return;
  const bool news = digest->fields != member.digest->fields ||
                    head.incarnation != member.digest->head.incarnation ||
                    member.state != State::kAlive;
  // A new life of it knows of no followers.
  if (head.incarnation != member.digest->head.incarnation) member.followed = false;
  view_.set_digest(member, std::move(digest));
  member.renewed_at = CoarseTime(now_);
  member.last_heard = CoarseTime(now_);
  const base::Endpoint* const first = member.digest->first_address();
  if (member.reach == Member::Reach::kNowhere && first != nullptr) {
    view_.set_endpoint(member, *first);
  }
  ++counters_.digests_taken;
  touched_.push_back(head.node);
  if (member.digest->fields && member.digest->fields->left) {
    detector_->remove(head.node);
    set_state(member, State::kLeft);
  } else if (member.state == State::kLeft) {
    set_state(member, State::kAlive);
    detector_->add(now_, head.node, Detector::Health::kAlive);
  } else {
    detector_->renewed(now_, head.node);
  }
  spread(head.node, source.id, news);
}

// A digest under this node's own name: an echo, or the word of a former life or of a clone.
void Core::take_own(const DigestHead& head, ByteView bytes) {
  const Member& own = *view_.find(self_);
  const base::Bytes& told = own.digest->bytes;
  if (head.age() < own.age()) return drop(Drop::kStale);
  if (std::ranges::equal(bytes, told)) {
    rumors_.heard_again({RumorKind::kDigest, self_});
    return drop(Drop::kStale);
  }
  if (!verify_digest(bytes, keys_.sign.public_key)) return drop(Drop::kForged);
  drop(Drop::kConflict);
  if (silent_) return;
  // Of two that began together the one whose bytes are lower yields at once.
  const bool yields = head.age() == own.age() && std::ranges::lexicographical_compare(told, bytes);
  if (yields || ++raises_ > kRaisesMax || head.incarnation.value == UINT64_MAX) {
    return go_silent();
  }
  incarnation_ = head.incarnation.next();
  sequence_ = {};
  log_.warn("incarnation_raised", {{"to", incarnation_.value}});
  actions_.emplace_back(IncarnationRaised{incarnation_});
  publish(true);
}

void Core::note_conflict(const Member& member, ByteView bytes) {
  const base::Incarnation incarnation = member.digest->head.incarnation;
  if (view_.trouble(member.id()).conflict_told == incarnation) return drop(Drop::kStale);
  const identity::Certificate* certificate = roster_.find(member.id());
  if (certificate == nullptr || !verify_digest(bytes, certificate->body.sign_public)) {
    return drop(Drop::kForged);
  }
  drop(Drop::kConflict);
  view_.troubled(member.id()).conflict_told = incarnation;
  log_.error("identity_used_twice",
             {{"node", member.id().brief()}, {"name", name_of(member.id())}});
}

}  // namespace gossip
