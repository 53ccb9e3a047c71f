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
#include <vector>

#include "base/rng.h"
#include "gossip/event.h"

namespace gossip {

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

  [[nodiscard]] bool is_live() const { return state == State::kAlive || state == State::kSuspect; }
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

  [[nodiscard]] Member* find(const base::NodeId& id);
  [[nodiscard]] const Member* find(const base::NodeId& id) const;
  [[nodiscard]] const std::map<base::NodeId, Member>& members() const { return members_; }
  [[nodiscard]] std::map<base::NodeId, Member>& members() { return members_; }
  [[nodiscard]] bool sampled() const { return sampled_; }
  [[nodiscard]] std::size_t live_others() const;
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
  [[nodiscard]] std::optional<base::NodeId> gone() const;     // dead or left, if any
  [[nodiscard]] std::optional<base::NodeId> highest() const;  // the worst score of the others

  base::NodeId self_;
  std::uint64_t salt_;
  bool sampled_ = false;
  std::map<base::NodeId, Member> members_;
};

}  // namespace gossip
