// Whom a node knows: one entry per origin of a digest, itself among them.
//
// Up to kViewMax others, everyone is kept. Beyond, the view becomes a sample: the kSampleSize
// others with the lowest scores under a hash that each node salts for itself, which is a uniform
// sample of all ids ever offered, whatever their order or number of offers (min-wise sampling:
// Bortnikov et al., "Brahms", 2009, §3). It is one from the start in a mesh where others have one,
// stays one until it can no longer fill itself, and then takes everyone again. When a place is
// needed, the dead and those that left go first.
//
// An entry is small (Member, 32 bytes) and refers to its digest, which other views may share; what
// is out of the ordinary with a member is kept beside (Trouble).
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

// A time to an eighth of a second, for 17 years of a node's clock.
class CoarseTime {
 public:
  CoarseTime() = default;
  explicit CoarseTime(base::Time time)
      : eighths_(static_cast<std::uint32_t>(time.time_since_epoch() / kUnit)) {}
  [[nodiscard]] base::Time at() const { return base::Time(eighths_ * kUnit); }

 private:
  static constexpr base::Duration kUnit = 125ms;
  std::uint32_t eighths_ = 0;
};

struct Member {
  enum class Reach : std::uint8_t { kNowhere, kFirstAddress, kElsewhere };

  SharedDigest digest;
  CoarseTime last_heard;
  CoarseTime renewed_at;
  CoarseTime learned_at;
  State state : 2 = State::kAlive;    // changed by View::set_state() alone
  Reach reach : 2 = Reach::kNowhere;  // by View::set_endpoint() alone
  Heard heard : 2 = Heard::kRelayed;
  bool followed : 1 = false;      // it was told that this node's sample holds it
  std::uint32_t prefix : 24 = 0;  // of its id, by View::add(): most lookups need no more

  [[nodiscard]] const base::NodeId& id() const { return digest->head.node; }
  [[nodiscard]] auto age() const { return digest->head.age(); }
  [[nodiscard]] bool is_live() const { return gossip::is_live(state); }
  [[nodiscard]] Entry32 entry() const {
    return {id(), digest->head.incarnation, digest->head.sequence};
  }
};
static_assert(sizeof(Member) <= 32);

struct Trouble {
  std::optional<base::Endpoint> endpoint;  // of Reach::kElsewhere
  std::size_t next_address = 0;            // of those tried in turn when it does not answer
  std::optional<base::Endpoint> met;       // where it was last, which its digest does not name
  std::optional<base::Time> suspicion_at;  // of another's report about it
  base::Time contact_after{};
  base::Duration contact_backoff = kContactBackoffMin;
  base::Incarnation conflict_told;  // logged once for each
};

class View {
 public:
  View(const base::NodeId& self, std::uint64_t salt);

  // Whether an unknown node would get a place.
  [[nodiscard]] bool would_take(const base::NodeId& id) const;
  // Legal after would_take(). Returns who had to go for it.
  [[nodiscard]] std::vector<base::NodeId> make_place();
  // Another one is a sample, so the mesh is large. Returns who had to go.
  [[nodiscard]] std::vector<base::NodeId> become_sample();
  void reconsider();  // ends a sample that does not fill itself
  // Legal after make_place(), or for self. Entries are valid until the next add() or remove().
  Member& add(Member member, const std::optional<base::Endpoint>& endpoint);
  void remove(const base::NodeId& id);
  void set_state(Member& member, State state);
  void set_digest(Member& member, SharedDigest digest);  // a newer one of the same origin
  void set_endpoint(Member& member, const std::optional<base::Endpoint>& endpoint);
  // Of one that does not answer: the next of its digest's addresses and of where it was met. A
  // handshake may have shown where it is now and the digest, older, where it was.
  void try_next_endpoint(Member& member);

  [[nodiscard]] Member* find(const base::NodeId& id);
  [[nodiscard]] const Member* find(const base::NodeId& id) const;
  [[nodiscard]] std::optional<base::Endpoint> endpoint(const Member& member) const;
  [[nodiscard]] const Trouble& trouble(const base::NodeId& id) const;
  [[nodiscard]] Trouble& troubled(const base::NodeId& id);
  void answers(const base::NodeId& id);  // contacts begin anew when it falls silent
  void forget_troubles(base::Time now);  // that are over
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }   // by id
  [[nodiscard]] const std::set<base::NodeId>& silent() const { return silent_; }  // suspect or dead
  [[nodiscard]] bool sampled() const { return sampled_; }
  [[nodiscard]] bool is_full_sample() const;  // whoever comes takes a live one's place
  [[nodiscard]] std::size_t live_others() const { return live_others_; }
  // The living one that follows `last` in the ring of ids, before others one that is not yet
  // followed; null when there is none.
  [[nodiscard]] Member* next_in_turn(const base::NodeId& last);
  // Up to `count` random others that are alive, or, if none is, suspect.
  [[nodiscard]] std::vector<base::NodeId> pick(base::Rng& rng, std::size_t count) const;
  // `count` of them to tell news: the two neighbours in the ring of ids, then random ones. Random
  // pushes reach nearly all; that everyone also tells its neighbours reaches the rest.
  [[nodiscard]] std::vector<base::NodeId> pick_for_news(base::Rng& rng, std::size_t count) const;

  // Sums over (node, incarnation, sequence), for anti-entropy: one per leading four bits of the
  // id, and one of all.
  [[nodiscard]] const std::array<std::uint32_t, kBuckets>& buckets() const;
  [[nodiscard]] std::uint64_t hash() const;
  [[nodiscard]] std::uint64_t dead_hash() const;  // over the ids of the dead

 private:
  using Scored = std::pair<std::uint64_t, base::NodeId>;
  [[nodiscard]] std::size_t place_of(const base::NodeId& id) const;  // where it is or would be
  [[nodiscard]] std::uint64_t score(const base::NodeId& id) const;
  [[nodiscard]] std::size_t others() const;
  [[nodiscard]] std::size_t places() const { return sampled_ ? kSampleSize : kViewMax; }
  [[nodiscard]] std::optional<base::NodeId> gone() const;   // dead or left, if any
  [[nodiscard]] std::uint64_t worst_score() const;          // of the others; 0 when there are none
  [[nodiscard]] std::vector<Scored> others_scored() const;  // the worst first
  [[nodiscard]] bool is_peer(const Member& member, State state) const;
  void add_neighbours(State state, std::vector<base::NodeId>& out) const;
  void draw(base::Rng& rng, std::size_t count, State state, std::vector<base::NodeId>& out) const;
  void enter(const base::NodeId& id, State state);  // into the counts and indexes below
  void leave(const base::NodeId& id, State state);
  void erase(const base::NodeId& id);
  void mark_bucket(const base::NodeId& id) { stale_buckets_ |= 1U << (id.bytes[0] >> 4); }

  base::NodeId self_;
  std::uint64_t salt_;
  bool sampled_ = false;
  bool filled_ = false;  // a sample that has once been full
  std::vector<Member> members_;
  std::map<base::NodeId, Trouble> troubles_;
  std::size_t live_others_ = 0;
  std::set<base::NodeId> silent_;
  std::set<base::NodeId> left_;
  mutable std::optional<std::uint64_t> worst_score_;  // none: to be found again
  mutable std::uint32_t stale_buckets_ = (1U << kBuckets) - 1;
  mutable std::array<std::uint32_t, kBuckets> buckets_{};
};

}  // namespace gossip
