#include "gossip/rumors.h"

#include <algorithm>
#include <bit>

namespace gossip {
namespace {

constexpr std::size_t kPacketRumorsMax = kPayloadSizeMax / (kMessageHeaderSize + 32);

}  // namespace

Rumors::List::iterator Rumors::place_of(const RumorKey& key) {
  return std::lower_bound(
      rumors_.begin(), rumors_.end(), key,
      [](const Rumor& one, const RumorKey& wanted) { return one.key < wanted; });
}

Rumors::List::iterator Rumors::find(const RumorKey& key) {
  const auto at = place_of(key);
  return at != rumors_.end() && at->key == key ? at : rumors_.end();
}

void Rumors::add(const RumorKey& key, const base::NodeId& from, std::size_t members, bool urgent) {
  const auto rounds = static_cast<std::size_t>(std::bit_width(members));
  const Rumor rumor{key, from, std::max(rounds, kFanOut), urgent, false};
  const auto at = place_of(key);
  if (at != rumors_.end() && at->key == key) {
    if (at->urgent) --urgent_;
    *at = rumor;
  } else {
    rumors_.insert(at, rumor);
  }
  if (urgent) ++urgent_;
}

void Rumors::erase(List::iterator rumor) {
  if (rumor->urgent) --urgent_;
  rumors_.erase(rumor);
}

void Rumors::heard_again(const RumorKey& key) {
  const auto found = find(key);
  if (found != rumors_.end() && found->may_die()) told(key);
}

void Rumors::forget(const base::NodeId& node) {
  for (const RumorKind kind : {RumorKind::kDigest, RumorKind::kSuspicion}) {
    const auto found = find({kind, node});
    if (found != rumors_.end()) erase(found);
  }
}

void Rumors::forget_all() {
  rumors_ = {};
  urgent_ = 0;
}

std::vector<RumorKey> Rumors::for_peer(const base::NodeId& to, bool urgent_only) const {
  if (rumors_.empty()) return {};
  std::vector<const Rumor*> found;
  for (const Rumor& rumor : rumors_) {
    if ((rumor.urgent || !urgent_only) && rumor.from != to) found.push_back(&rumor);
  }
  const std::size_t count = std::min(found.size(), kPacketRumorsMax);
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end(),
                    [](const Rumor* a, const Rumor* b) {
                      return a->left != b->left ? a->left > b->left : a->key < b->key;
                    });
  std::vector<RumorKey> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.push_back(found[i]->key);
  return out;
}

void Rumors::told(const RumorKey& key) {
  const auto found = find(key);
  if (found == rumors_.end()) return;
  if (found->left > 0) --found->left;
  if (found->left == 0 && found->may_die()) erase(found);
}

void Rumors::had_round(const RumorKey& key) {
  const auto found = find(key);
  if (found == rumors_.end()) return;
  found->had_round = true;
  if (found->left == 0) erase(found);
}

}  // namespace gossip
