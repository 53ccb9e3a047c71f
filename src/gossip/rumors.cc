#include "gossip/rumors.h"

#include <algorithm>
#include <bit>

namespace gossip {

void Rumors::add(const RumorKey& key, const base::NodeId& from, std::size_t members, bool urgent) {
  const auto rounds = static_cast<std::size_t>(std::bit_width(members));
  rumors_[key] = {from, std::max(rounds, kFanOut), urgent, false};
}

void Rumors::heard_again(const RumorKey& key) {
  const auto found = rumors_.find(key);
  if (found != rumors_.end() && found->second.may_die()) told(key);
}

void Rumors::forget(const base::NodeId& node) {
  rumors_.erase({RumorKind::kDigest, node});
  rumors_.erase({RumorKind::kSuspicion, node});
}

std::vector<RumorKey> Rumors::for_peer(const base::NodeId& to, bool urgent_only) const {
  std::vector<std::pair<std::size_t, RumorKey>> found;
  for (const auto& [key, rumor] : rumors_) {
    if (rumor.from == to) continue;
    if (rumor.urgent || !urgent_only) found.emplace_back(rumor.left, key);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<RumorKey> out;
  out.reserve(found.size());
  for (const auto& [left, key] : found) out.push_back(key);
  return out;
}

void Rumors::told(const RumorKey& key) {
  const auto found = rumors_.find(key);
  if (found == rumors_.end()) return;
  Rumor& rumor = found->second;
  if (rumor.left > 0) --rumor.left;
  if (rumor.left == 0 && rumor.may_die()) rumors_.erase(found);
}

void Rumors::had_round(const RumorKey& key) {
  const auto found = rumors_.find(key);
  if (found == rumors_.end()) return;
  found->second.had_round = true;
  if (found->second.left == 0) rumors_.erase(found);
}

bool Rumors::has_urgent() const {
  return std::any_of(rumors_.begin(), rumors_.end(),
                     [](const auto& item) { return item.second.urgent; });
}

}  // namespace gossip
