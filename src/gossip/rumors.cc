#include "gossip/rumors.h"

#include <algorithm>
#include <bit>

namespace gossip {

void Rumors::add(const RumorKey& key, const base::NodeId& from, std::size_t members, bool urgent) {
  const auto rounds = static_cast<std::size_t>(std::bit_width(members));
  const auto before = rumors_.find(key);
  if (before != rumors_.end()) erase(before);
  rumors_[key] = {from, std::max(rounds, kFanOut), urgent, false};
  if (urgent) ++urgent_;
}

void Rumors::erase(std::map<RumorKey, Rumor>::iterator rumor) {
  if (rumor->second.urgent) --urgent_;
  rumors_.erase(rumor);
}

void Rumors::heard_again(const RumorKey& key) {
  const auto found = rumors_.find(key);
  if (found != rumors_.end() && found->second.may_die()) told(key);
}

void Rumors::forget(const base::NodeId& node) {
  for (const RumorKind kind : {RumorKind::kDigest, RumorKind::kSuspicion}) {
    const auto found = rumors_.find({kind, node});
    if (found != rumors_.end()) erase(found);
  }
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
  if (rumor.left == 0 && rumor.may_die()) erase(found);
}

void Rumors::had_round(const RumorKey& key) {
  const auto found = rumors_.find(key);
  if (found == rumors_.end()) return;
  found->second.had_round = true;
  if (found->second.left == 0) erase(found);
}

}  // namespace gossip
