// What is to be told on: names of origins whose digest is news, and suspicions. Contents are looked
// up when a packet is filled, so a rumor always carries the newest digest.
//
// Each is told ceil(log2(n + 1)) times, at least kFanOut, less one for every time it comes back
// from somebody who has it already: what everyone knows dies out (Demers et al. 1987, §1.4,
// feedback and counter). It is told even to its origin, who learns so of a clone. Anti-entropy
// repairs the few that were missed. Bounded by the view: one rumor of each kind per member.
#pragma once

#include <vector>

#include "gossip/limits.h"
#include "gossip/wire.h"

namespace gossip {

enum class RumorKind : std::uint8_t { kDigest, kSuspicion };
struct RumorKey {
  RumorKind kind = RumorKind::kDigest;
  base::NodeId node;
  friend auto operator<=>(const RumorKey&, const RumorKey&) = default;
};

class Rumors {
 public:
  // `from`: who told it, and is not told again (zero: nobody). Replaces an older one. What is not
  // `urgent` only rides on packets that are sent anyway.
  void add(const RumorKey& key, const base::NodeId& from, std::size_t members, bool urgent);
  void heard_again(const RumorKey& key);
  void forget(const base::NodeId& node);
  void forget_all();
  // Whom to tell `to` about, the least told first, no more than a packet holds; each counts as told
  // only by told().
  [[nodiscard]] std::vector<RumorKey> for_peer(const base::NodeId& to, bool urgent_only) const;
  void told(const RumorKey& key);
  // It went to the neighbours and some more; until then no urgent rumor dies.
  void had_round(const RumorKey& key);
  [[nodiscard]] bool has_urgent() const { return urgent_ > 0; }
  [[nodiscard]] bool empty() const { return rumors_.empty(); }

 private:
  struct Rumor {
    RumorKey key;
    base::NodeId from;
    std::size_t left = 0;
    bool urgent = false;
    bool had_round = false;
    [[nodiscard]] bool may_die() const { return had_round || !urgent; }
  };
  using List = std::vector<Rumor>;
  [[nodiscard]] List::iterator place_of(const RumorKey& key);
  [[nodiscard]] List::iterator find(const RumorKey& key);  // end(): there is none
  void erase(List::iterator rumor);

  List rumors_;             // by key
  std::size_t urgent_ = 0;  // of them
};

}  // namespace gossip
