#include "gossip/view.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/crypto.h"
#include "base/id_map.h"

namespace gossip {
namespace {

std::uint32_t prefix_of(const base::NodeId& id) {
  return static_cast<std::uint32_t>(id.leading() >> 40);
}

}  // namespace

View::View(const base::NodeId& self, std::uint64_t salt) : self_(self), salt_(salt) {}

std::uint64_t View::score(const base::NodeId& id) const {
  std::array<std::uint8_t, 8> salt{};
  base::put_le64(salt, salt_);
  return base::get_le64(base::crypto::hash128({salt, id.bytes}));
}

std::size_t View::place_of(const base::NodeId& id) const {
  const std::uint32_t prefix = prefix_of(id);
  return base::lower_place(id, members_.size(), [&](std::size_t i) {
    const Member& member = members_[i];
    return member.prefix != prefix ? member.prefix < prefix : member.id() < id;
  });
}

std::size_t View::others() const { return members_.size() - (find(self_) == nullptr ? 0 : 1); }

std::optional<base::NodeId> View::gone() const {
  std::optional<base::NodeId> out;
  if (!left_.empty()) out = *left_.begin();
  for (const base::NodeId& id : silent_) {
    if (out && *out < id) break;
    if (find(id)->state == State::kDead) return id;
  }
  return out;
}

std::vector<View::Scored> View::others_scored() const {
  std::vector<Scored> out;
  for (const Member& member : members_) {
    if (member.id() != self_) out.emplace_back(score(member.id()), member.id());
  }
  std::sort(out.begin(), out.end(), std::greater<>());
  return out;
}

std::uint64_t View::worst_score() const {
  if (!worst_score_) {
    worst_score_ = 0;
    for (const Member& member : members_) {
      if (member.id() != self_) worst_score_ = std::max(*worst_score_, score(member.id()));
    }
  }
  return *worst_score_;
}

bool View::would_take(const base::NodeId& id) const {
  if (id == self_ || find(id) != nullptr) return false;
  if (!sampled_ || others() < places()) return true;
  return gone() || score(id) < worst_score();
}

bool View::is_full_sample() const { return sampled_ && others() >= places() && !gone(); }

std::vector<base::NodeId> View::make_place() {
  std::vector<base::NodeId> out;
  if (filled_) reconsider();
  if (others() < places()) return out;
  const auto spent = gone();
  if (!spent) return become_sample();
  erase(*spent);
  out.push_back(*spent);
  return out;
}

std::vector<base::NodeId> View::become_sample() {
  sampled_ = true;
  std::vector<base::NodeId> out;
  for (const auto& [score, id] : others_scored()) {
    if (others() - out.size() < kSampleSize) break;
    out.push_back(id);
  }
  for (const base::NodeId& id : out) erase(id);
  members_.shrink_to_fit();
  return out;
}

// Half empty again: the mesh is no longer larger than a full view can hold.
void View::reconsider() {
  if (sampled_ && live_others() < kSampleSize / 2) sampled_ = filled_ = false;
}

void View::enter(const base::NodeId& id, State state) {
  const bool is_silent = state == State::kSuspect || state == State::kDead;
  if (is_silent) silent_.insert(id);
  if (state == State::kLeft) left_.insert(id);
  if (id != self_ && is_live(state)) ++live_others_;
}

void View::leave(const base::NodeId& id, State state) {
  silent_.erase(id);
  left_.erase(id);
  if (id != self_ && is_live(state)) --live_others_;
}

void View::set_state(Member& member, State state) {
  leave(member.id(), member.state);
  member.state = state;
  enter(member.id(), state);
}

Member& View::add(Member member, const std::optional<base::Endpoint>& endpoint) {
  const base::NodeId id = member.id();
  CHECK(id == self_ || others() < places());
  CHECK(find(id) == nullptr);
  worst_score_.reset();
  enter(id, member.state);
  mark_bucket(id);
  member.prefix = prefix_of(id) & 0xffffffU;
  const auto at = members_.begin() + static_cast<std::ptrdiff_t>(place_of(id));
  Member& added = *members_.insert(at, std::move(member));
  set_endpoint(added, endpoint);
  if (sampled_ && others() >= kSampleSize) filled_ = true;
  return added;
}

void View::erase(const base::NodeId& id) {
  const Member* const member = find(id);
  if (member == nullptr) return;
  worst_score_.reset();
  leave(id, member->state);
  mark_bucket(id);
  troubles_.erase(id);
  members_.erase(members_.begin() + (member - members_.data()));
}

void View::remove(const base::NodeId& id) {
  CHECK(id != self_);
  erase(id);
}

void View::set_digest(Member& member, SharedDigest digest) {
  const std::optional<base::Endpoint> before = endpoint(member);
  member.digest = std::move(digest);
  mark_bucket(member.id());
  set_endpoint(member, before);
}

void View::set_endpoint(Member& member, const std::optional<base::Endpoint>& endpoint) {
  const base::Endpoint* const first = member.digest->first_address();
  const bool is_first = endpoint && first != nullptr && *endpoint == *first;
  const bool was_elsewhere = member.reach == Member::Reach::kElsewhere;
  member.reach = !endpoint  ? Member::Reach::kNowhere
                 : is_first ? Member::Reach::kFirstAddress
                            : Member::Reach::kElsewhere;
  if (member.reach == Member::Reach::kElsewhere) {
    troubled(member.id()).endpoint = endpoint;
  } else if (was_elsewhere) {
    troubled(member.id()).endpoint.reset();
  }
}

void View::try_next_endpoint(Member& member) {
  if (member.digest->first_address() == nullptr) return;  // it stays where it was met
  std::vector<base::Endpoint> places = member.digest->fields->addresses;
  const auto is_named = [&places](const base::Endpoint& one) {
    return std::find(places.begin(), places.end(), one) != places.end();
  };
  Trouble& trouble = troubled(member.id());
  const auto now_at = endpoint(member);
  if (now_at && !is_named(*now_at)) trouble.met = now_at;
  if (trouble.met && !is_named(*trouble.met)) places.push_back(*trouble.met);
  set_endpoint(member, places[trouble.next_address++ % places.size()]);
}

std::optional<base::Endpoint> View::endpoint(const Member& member) const {
  if (member.reach == Member::Reach::kNowhere) return std::nullopt;
  if (member.reach == Member::Reach::kFirstAddress) return *member.digest->first_address();
  return trouble(member.id()).endpoint;
}

const Trouble& View::trouble(const base::NodeId& id) const {
  static const Trouble kNone;
  const auto found = troubles_.find(id);
  return found == troubles_.end() ? kNone : found->second;
}

Trouble& View::troubled(const base::NodeId& id) { return troubles_[id]; }

void View::answers(const base::NodeId& id) {
  const auto found = troubles_.find(id);
  if (found == troubles_.end()) return;
  found->second.contact_backoff = kContactBackoffMin;
  found->second.met.reset();
}

void View::forget_troubles(base::Time now) {
  std::erase_if(troubles_, [&](const auto& item) {
    const Trouble& one = item.second;
    const bool is_recent = one.suspicion_at && now - *one.suspicion_at < kSuspicionMin;
    return !one.endpoint && !one.met && !is_recent && one.conflict_told == base::Incarnation{} &&
           !silent_.contains(item.first);
  });
}

Member* View::find(const base::NodeId& id) {
  return const_cast<Member*>(std::as_const(*this).find(id));
}

const Member* View::find(const base::NodeId& id) const {
  const std::size_t at = place_of(id);
  const bool may_be = at < members_.size() && members_[at].prefix == prefix_of(id);
  return may_be && members_[at].id() == id ? &members_[at] : nullptr;
}

// ---- whom to tell

Member* View::next_in_turn(const base::NodeId& last) {
  Member* next = nullptr;
  const std::size_t size = members_.size();
  const std::size_t at = place_of(last);
  const std::size_t from = at < size && members_[at].id() == last ? at + 1 : at;
  for (std::size_t i = 0; i < size; ++i) {
    Member& member = members_[(from + i) % size];
    if (!is_peer(member, State::kAlive)) continue;
    if (!member.followed) return &member;
    if (next == nullptr) next = &member;
  }
  return next;
}

bool View::is_peer(const Member& member, State state) const {
  return member.state == state && member.reach != Member::Reach::kNowhere && member.id() != self_;
}

// Draws until there are `count`; when too many draws miss, from a list of those that are left.
void View::draw(base::Rng& rng, std::size_t count, State state,
                std::vector<base::NodeId>& out) const {
  const auto has = [&out](const base::NodeId& id) {
    return std::find(out.begin(), out.end(), id) != out.end();
  };
  for (std::size_t tries = 4 * count; tries > 0 && out.size() < count; --tries) {
    if (members_.empty()) return;
    const Member& member = members_[static_cast<std::size_t>(rng.below(members_.size()))];
    if (is_peer(member, state) && !has(member.id())) out.push_back(member.id());
  }
  if (out.size() >= count) return;
  std::vector<base::NodeId> rest;
  for (const Member& member : members_) {
    if (is_peer(member, state) && !has(member.id())) rest.push_back(member.id());
  }
  rng.shuffle(rest);
  for (const base::NodeId& id : rest) {
    if (out.size() < count) out.push_back(id);
  }
}

std::vector<base::NodeId> View::pick(base::Rng& rng, std::size_t count) const {
  std::vector<base::NodeId> out;
  draw(rng, count, State::kAlive, out);
  if (out.empty()) draw(rng, count, State::kSuspect, out);
  return out;
}

// The next above this node in the ring of ids and the next below, which may be the same.
void View::add_neighbours(State state, std::vector<base::NodeId>& out) const {
  const std::size_t size = members_.size();
  const std::size_t from = place_of(self_);
  const auto next = [&](bool up) {
    for (std::size_t i = 1; i < size; ++i) {
      const Member& member = members_[(from + (up ? i : size - i)) % size];
      if (!is_peer(member, state)) continue;
      if (out.empty() || out.back() != member.id()) out.push_back(member.id());
      return;
    }
  };
  next(true);
  next(false);
}

std::vector<base::NodeId> View::pick_for_news(base::Rng& rng, std::size_t count) const {
  std::vector<base::NodeId> out;
  for (const State state : {State::kAlive, State::kSuspect}) {
    add_neighbours(state, out);
    if (out.empty()) continue;
    if (out.size() < count) draw(rng, count, state, out);
    break;
  }
  if (out.size() > count) out.resize(count);
  return out;
}

// ---- sums

const std::array<std::uint32_t, kBuckets>& View::buckets() const {
  for (std::size_t bucket = 0; stale_buckets_ != 0 && bucket < kBuckets; ++bucket) {
    if ((stale_buckets_ & (1U << bucket)) == 0) continue;
    base::NodeId low;
    low.bytes[0] = static_cast<std::uint8_t>(bucket << 4);
    base::Bytes text;
    for (std::size_t i = place_of(low); i < members_.size(); ++i) {
      const DigestHead& head = members_[i].digest->head;
      if (head.node.bytes[0] >> 4 != bucket) break;
      std::array<std::uint8_t, 16> age{};
      base::put_le64(age, head.incarnation.value);
      base::put_le64(base::MutableByteView(age).subspan(8), head.sequence.value);
      text.insert(text.end(), head.node.bytes.begin(), head.node.bytes.end());
      text.insert(text.end(), age.begin(), age.end());
    }
    buckets_[bucket] = text.empty() ? 0 : base::get_le32(base::crypto::hash128({text}));
  }
  stale_buckets_ = 0;
  return buckets_;
}

std::uint64_t View::dead_hash() const {
  base::Bytes text;
  for (const base::NodeId& id : silent_) {
    if (find(id)->state != State::kDead) continue;
    text.insert(text.end(), id.bytes.begin(), id.bytes.end());
  }
  return base::get_le64(base::crypto::hash128({text}));
}

std::uint64_t View::hash() const {
  base::Bytes text;
  for (const std::uint32_t bucket : buckets()) {
    std::array<std::uint8_t, 4> bytes{};
    base::put_le32(bytes, bucket);
    text.insert(text.end(), bytes.begin(), bytes.end());
  }
  return base::get_le64(base::crypto::hash128({text}));
}

}  // namespace gossip
