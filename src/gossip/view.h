// Whom a node knows: one entry per origin of a digest, itself among them.
//
// Up to kViewMax others, everyone is kept. Beyond, the view becomes a sample: the kSampleSize
// others with the lowest scores under a hash that each node salts for itself, which is a uniform
// sample of all ids ever offered, whatever their order or number of offers (min-wise sampling:
// Bortnikov et al., "Brahms", 2009, §3). It stays one until it can no longer fill itself, and then
// takes everyone again. When a place is needed, the dead and those that left go first.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/rng.h"
#include "gossip/event.h"

namespace gossip {

[[nodiscard]] constexpr bool is_live(State state) {
  return state == State::kAlive || state == State::kSuspect;
}

struct Member {
  std::string name;
  SharedBytes digest;
  DigestHead head;
  std::optional<DigestFields> fields;  // empty: a newer version's
  State state = State::kAlive;
  std::optional<base::Endpoint> endpoint;
  std::size_t next_address = 0;  // of fields->addresses, tried when it does not answer
  Heard heard = Heard::kRelayed;
  base::Time last_heard{};
  base::Time renewed_at{};
  base::Time learned_at{};
  base::Time suspicion_at{};  // of another's report about it
  bool suspicion_seen = false;
  base::Time contact_after{};
  base::Duration contact_backoff = kContactBackoffMin;
  base::Incarnation conflict_told;  // logged once for each

  [[nodiscard]] bool is_live() const { return gossip::is_live(state); }
  [[nodiscard]] Entry32 entry() const { return {head.node, head.incarnation, head.sequence}; }
};

class View {
 public:
  View(const base::NodeId& self, std::uint64_t salt);

  // Whether an unknown node would get a place.
  [[nodiscard]] bool would_take(const base::NodeId& id) const;
  // Legal after would_take(). Returns who had to go for it.
  [[nodiscard]] std::vector<base::NodeId> make_place();
  Member& add(const base::NodeId& id, Member member);  // legal after make_place(), or for self
  void remove(const base::NodeId& id);
  void set_state(const base::NodeId& id, Member& member, State state);  // the only way to change it

  [[nodiscard]] Member* find(const base::NodeId& id);
  [[nodiscard]] const Member* find(const base::NodeId& id) const;
  [[nodiscard]] const std::map<base::NodeId, Member>& members() const { return members_; }
  [[nodiscard]] const std::set<base::NodeId>& silent() const { return silent_; }  // suspect or dead
  [[nodiscard]] bool sampled() const { return sampled_; }
  [[nodiscard]] std::size_t live_others() const { return live_others_; }
  // Up to `count` random others that are alive, or, if none is, suspect.
  [[nodiscard]] std::vector<base::NodeId> pick(base::Rng& rng, std::size_t count) const;
  // `count` of them to tell news: the two neighbours in the ring of ids, then random ones. Random
  // pushes reach nearly all; that everyone also tells its neighbours reaches the rest.
  [[nodiscard]] std::vector<base::NodeId> pick_for_news(base::Rng& rng, std::size_t count) const;

  // Sums over (node, incarnation, sequence), for anti-entropy: one per leading four bits of the
  // id, and one of all.
  [[nodiscard]] std::array<std::uint32_t, kBuckets> buckets() const;
  [[nodiscard]] std::uint64_t hash() const;
  [[nodiscard]] std::uint64_t dead_hash() const;  // over the ids of the dead

 private:
  [[nodiscard]] std::uint64_t score(const base::NodeId& id) const;
  [[nodiscard]] std::size_t others() const;
  [[nodiscard]] std::size_t places() const { return sampled_ ? kSampleSize : kViewMax; }
  [[nodiscard]] std::optional<base::NodeId> gone() const;  // dead or left, if any
  using Scored = std::pair<std::uint64_t, base::NodeId>;
  [[nodiscard]] std::uint64_t worst_score() const;          // of the others; 0 when there are none
  [[nodiscard]] std::vector<Scored> others_scored() const;  // the worst first
  void enter(const base::NodeId& id, State state);          // into the counts and indexes below
  void leave(const base::NodeId& id, State state);
  void erase(const base::NodeId& id);

  base::NodeId self_;
  std::uint64_t salt_;
  bool sampled_ = false;
  std::map<base::NodeId, Member> members_;
  std::size_t live_others_ = 0;
  std::set<base::NodeId> silent_;
  std::set<base::NodeId> left_;
  mutable std::optional<std::uint64_t> worst_score_;  // none: to be found again
};

}  // namespace gossip
