#include "gossip/view.h"

#include <algorithm>

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
  for (const auto& [id, member] : members_) {
    if (id != self_ && !member.is_live()) return id;
  }
  return std::nullopt;
}

std::optional<base::NodeId> View::highest() const {
  std::optional<base::NodeId> out;
  std::uint64_t worst = 0;
  for (const auto& [id, member] : members_) {
    if (id == self_) continue;
    const std::uint64_t one = score(id);
    if (!out || one > worst) {
      out = id;
      worst = one;
    }
  }
  return out;
}

bool View::would_take(const base::NodeId& id) const {
  if (id == self_ || find(id) != nullptr) return false;
  if (!sampled_ || others() < places()) return true;
  if (gone()) return true;
  const auto worst = highest();
  return worst && score(id) < score(*worst);
}

std::vector<base::NodeId> View::make_place() {
  std::vector<base::NodeId> out;
  // Half empty again: the mesh is no longer larger than a full view can hold.
  if (sampled_ && live_others() < kSampleSize / 2) sampled_ = false;
  if (others() < places()) return out;
  const auto evict = [&](const base::NodeId& who) {
    out.push_back(who);
    members_.erase(who);
  };
  if (const auto spent = gone()) {
    evict(*spent);
    return out;
  }
  sampled_ = true;
  while (others() >= kSampleSize) evict(*highest());
  return out;
}

Member& View::add(const base::NodeId& id, Member member) {
  CHECK(id == self_ || others() < places());
  return members_.insert_or_assign(id, std::move(member)).first->second;
}

void View::remove(const base::NodeId& id) {
  CHECK(id != self_);
  members_.erase(id);
}

Member* View::find(const base::NodeId& id) {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

const Member* View::find(const base::NodeId& id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

std::size_t View::live_others() const {
  return static_cast<std::size_t>(std::count_if(
      members_.begin(), members_.end(),
      [this](const auto& item) { return item.first != self_ && item.second.is_live(); }));
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
  for (const auto& [id, member] : members_) {
    if (member.state == State::kDead) text.insert(text.end(), id.bytes.begin(), id.bytes.end());
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
