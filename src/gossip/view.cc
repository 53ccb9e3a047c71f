#include "gossip/view.h"

#include <algorithm>
#include <functional>

#include "base/crypto.h"

namespace gossip {

View::View(const base::NodeId& self, std::uint64_t salt) : self_(self), salt_(salt) {}

std::uint64_t View::score(const base::NodeId& id) const {
  std::array<std::uint8_t, 8> salt{};
  base::put_le64(salt, salt_);
  return base::get_le64(base::crypto::hash128({salt, id.bytes}));
}

std::size_t View::others() const {
  return members_.size() - (members_.find(self_) == members_.end() ? 0 : 1);
}

std::optional<base::NodeId> View::gone() const {
  std::optional<base::NodeId> out;
  if (!left_.empty()) out = *left_.begin();
  for (const base::NodeId& id : silent_) {
    if (out && *out < id) break;
    if (members_.at(id).state == State::kDead) return id;
  }
  return out;
}

std::vector<View::Scored> View::others_scored() const {
  std::vector<Scored> out;
  for (const auto& [id, member] : members_) {
    if (id != self_) out.emplace_back(score(id), id);
  }
  std::sort(out.begin(), out.end(), std::greater<>());
  return out;
}

std::uint64_t View::worst_score() const {
  if (!worst_score_) {
    worst_score_ = 0;
    for (const auto& [id, member] : members_) {
      if (id != self_) worst_score_ = std::max(*worst_score_, score(id));
    }
  }
  return *worst_score_;
}

bool View::would_take(const base::NodeId& id) const {
  if (id == self_ || find(id) != nullptr) return false;
  if (!sampled_ || others() < places()) return true;
  return gone() || score(id) < worst_score();
}

std::vector<base::NodeId> View::make_place() {
  std::vector<base::NodeId> out;
  // Half empty again: the mesh is no longer larger than a full view can hold.
  if (sampled_ && live_others() < kSampleSize / 2) sampled_ = false;
  if (others() < places()) return out;
  if (const auto spent = gone()) {
    out.push_back(*spent);
  } else {
    sampled_ = true;
    for (const auto& [score, id] : others_scored()) {
      if (others() - out.size() < kSampleSize) break;
      out.push_back(id);
    }
  }
  for (const base::NodeId& id : out) erase(id);
  return out;
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

void View::set_state(const base::NodeId& id, Member& member, State state) {
  leave(id, member.state);
  member.state = state;
  enter(id, state);
}

Member& View::add(const base::NodeId& id, Member member) {
  CHECK(id == self_ || others() < places());
  CHECK(find(id) == nullptr);
  worst_score_.reset();
  enter(id, member.state);
  return members_.emplace(id, std::move(member)).first->second;
}

void View::erase(const base::NodeId& id) {
  const auto found = members_.find(id);
  if (found == members_.end()) return;
  worst_score_.reset();
  leave(id, found->second.state);
  members_.erase(found);
}

void View::remove(const base::NodeId& id) {
  CHECK(id != self_);
  erase(id);
}

Member* View::find(const base::NodeId& id) {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

const Member* View::find(const base::NodeId& id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

std::vector<base::NodeId> View::pick(base::Rng& rng, std::size_t count) const {
  std::vector<base::NodeId> all;
  for (const State state : {State::kAlive, State::kSuspect}) {
    if (!all.empty()) break;
    for (const auto& [id, member] : members_) {
      if (id != self_ && member.state == state && member.endpoint) all.push_back(id);
    }
  }
  rng.shuffle(all);
  if (all.size() > count) all.resize(count);
  return all;
}

std::vector<base::NodeId> View::pick_for_news(base::Rng& rng, std::size_t count) const {
  std::vector<base::NodeId> ring = pick(rng, members_.size());
  // In the order of walking the ring from self: the next above is first, the next below last.
  const auto walk = [this](const base::NodeId& a, const base::NodeId& b) {
    const bool a_above = a > self_;
    const bool b_above = b > self_;
    return a_above != b_above ? a_above : a < b;
  };
  if (ring.size() >= 2) {
    std::iter_swap(ring.begin(), std::min_element(ring.begin(), ring.end(), walk));
    std::iter_swap(ring.begin() + 1, std::max_element(ring.begin() + 1, ring.end(), walk));
  }
  if (ring.size() > count) ring.resize(count);
  return ring;
}

std::array<std::uint32_t, kBuckets> View::buckets() const {
  std::array<base::Bytes, kBuckets> text;
  for (const auto& [id, member] : members_) {
    base::Bytes& out = text[id.bytes[0] >> 4];
    std::array<std::uint8_t, 16> age{};
    base::put_le64(age, member.head.incarnation.value);
    base::put_le64(base::MutableByteView(age).subspan(8), member.head.sequence.value);
    out.insert(out.end(), id.bytes.begin(), id.bytes.end());
    out.insert(out.end(), age.begin(), age.end());
  }
  std::array<std::uint32_t, kBuckets> out{};
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (!text[i].empty()) out[i] = base::get_le32(base::crypto::hash128({text[i]}));
  }
  return out;
}

std::uint64_t View::dead_hash() const {
  base::Bytes text;
  for (const base::NodeId& id : silent_) {
    if (members_.at(id).state != State::kDead) continue;
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
