// The inside of gossip::Gossip; gossip/gossip.h says what it does. One step: the event, then all
// timers that are due, then what was queued for each peer leaves in as few datagrams as hold it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "base/id_map.h"
#include "base/rng.h"
#include "gossip/detector.h"
#include "gossip/envelope.h"
#include "gossip/gossip.h"
#include "gossip/pool.h"
#include "gossip/rumors.h"
#include "gossip/view.h"

namespace gossip {

inline constexpr int kRaisesMax = 3;

class Core {
 public:
  Core(Config config, base::Log& log);

  [[nodiscard]] Actions step(base::Time now, const Event& event);
  [[nodiscard]] base::Time next_deadline() const;
  [[nodiscard]] std::vector<NodeView> node_views() const;
  [[nodiscard]] std::optional<NodeView> node_view(const base::NodeId& id) const;
  [[nodiscard]] std::optional<base::Endpoint> met(const base::NodeId& id) const;
  [[nodiscard]] const identity::Roster& roster() const { return roster_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] const base::NodeId& self() const { return self_; }
  [[nodiscard]] const View& view() const { return view_; }

 private:
  struct Seed {
    base::Endpoint endpoint;
    base::Time after{};
    base::Duration backoff = kSeedBackoffMin;
    std::optional<base::NodeId> node;  // who answered there last
  };
  struct Source {  // whose packet is being read
    base::NodeId id;
    base::Endpoint from;
  };
  struct Follower {
    base::Endpoint at;
    base::Time since{};  // it said so last
  };
  struct Outgoing {
    base::Endpoint to;
    std::vector<base::Bytes> messages;
  };

  // ---- core.cc: events, timers, sending
  void on(const Started& event);
  void on(const LocalDigest& event);
  void on(const Datagram& event);
  void on(const PortRefused& event);
  void on(const MemberIntroduced& event);
  void on(const PeerSeed& event);
  void on(const WallClock& event);
  void on(const Leave& event);
  void on(const Tick& event);
  void tell_view();
  void run_timers();
  void run_detector();
  void expire();
  void make_contacts();
  [[nodiscard]] bool is_satisfied(const Seed& seed) const;
  [[nodiscard]] base::Time next_contact() const;
  [[nodiscard]] base::WallTime wall() const;
  [[nodiscard]] std::optional<base::Endpoint> endpoint_of(const base::NodeId& id) const;
  void queue(const base::NodeId& to, const Message& message);
  void queue(const Source& to, const Message& message);
  void flush();
  void flush_peer(const base::NodeId& to, Outgoing outgoing);
  void send(const base::NodeId& to, const base::Endpoint& endpoint, base::ByteView payload,
            bool again);

  // ---- core_receive.cc: datagrams, certificates, digests
  void read_unproven(const Source& source, const Opened& opened,
                     const std::vector<Message>& messages);
  void read(const Source& source, const std::vector<Message>& messages);
  void reached_from(Member& member, const base::Endpoint& endpoint);
  void answer_challenge(const Source& source, const ChallengeMessage& challenge,
                        const Opened& opened, bool challenge_back);
  void take_ping(const Source& source, const PingMessage& ping);
  void take_chain(base::ByteView chain);
  bool learn(base::ByteView chain);  // false: does not hold
  [[nodiscard]] std::size_t roster_max() const;
  bool make_roster_place();
  void take_digest(const Source& source, const DigestMessage& message);
  void take_new(const Source& source, const DigestHead& head, const DigestMessage& message);
  void take_newer(const Source& source, Member& member, const DigestHead& head,
                  base::ByteView bytes);
  void take_own(const DigestHead& head, base::ByteView bytes);
  void note_conflict(const Member& member, base::ByteView bytes);
  // Null: it does not hold, and was dropped.
  [[nodiscard]] SharedDigest check_digest(const DigestHead& head, base::ByteView bytes);
  void drop(Drop why, const base::NodeId* from = nullptr);
  void drop_chain(const base::Error& error);

  // ---- core_spread.cc: own digests, rumors, states of others
  void publish(bool urgent);
  void refute();
  void go_silent();
  void spread(const base::NodeId& node, const base::NodeId& from, bool urgent);
  void add_rumor(const RumorKey& key, const base::NodeId& from, bool urgent);
  void spread_round();
  [[nodiscard]] std::vector<base::Bytes> digest_messages(const Member& member, bool chain) const;
  [[nodiscard]] std::vector<base::Bytes> rumor_messages(const RumorKey& key) const;
  void take_suspicion(const Source& source, const Entry32& entry);
  void set_state(Member& member, State state);
  void apply(const Detector::Verdict& verdict);
  void removed(const std::vector<base::NodeId>& nodes);
  [[nodiscard]] NodeView show(const Member& member) const;
  [[nodiscard]] std::string name_of(const base::NodeId& id) const;

  // ---- core_sync.cc: anti-entropy
  void start_sync();
  void start_sync_with(const base::NodeId& peer, bool called);
  void greet_again();
  void take_sync_hash(const Source& source, const SyncHashMessage& message);
  void take_buckets(const Source& source, const SyncBucketsMessage& message);
  void send_summaries(const Source& to, std::size_t bucket);
  void take_summary(const Source& source, const SyncSummaryMessage& message);
  void take_have(const Source& source, const HaveMessage& message);
  void take_want(const Source& source, const WantMessage& message);
  void queue_digest(const Source& to, const Member& member, bool chain);
  void want(const Source& from, std::vector<Wish> wishes);

  // ---- core_sample.cc: when the view is a sample
  [[nodiscard]] bool would_take(const base::NodeId& id) const;
  void turned_into_sample();
  void tend_sample();
  [[nodiscard]] HaveMessage some_haves(const Member* of);
  void greet_from_sample(const Source& to);
  void hint_at_sample(const Source& to);
  void followed_by(const Source& source);
  void tell_followers();
  void forget_followers();

  identity::NodeKeys keys_;
  base::NodeId self_;
  base::Bytes chain_;
  std::string own_name_;
  identity::Roster roster_;
  base::Log& log_;
  base::Rng rng_;
  Envelope envelope_;
  View view_;
  std::unique_ptr<Detector> detector_;
  Rumors rumors_;
  std::shared_ptr<Pool> pool_;
  Counters counters_;

  base::Time now_{};
  Actions actions_;
  std::map<base::NodeId, Outgoing> outbox_;
  std::vector<base::NodeId> touched_;  // whose place in the view this step changed

  bool started_ = false;
  bool silent_ = false;  // left, or another node runs with this identity
  base::Time wall_at_{};
  base::WallTime wall_{};
  DigestFields told_;   // in the newest own digest
  DigestFields local_;  // how it is now
  base::Incarnation incarnation_;
  base::Sequence sequence_;
  int raises_ = 0;
  bool publish_wanted_ = false;
  base::Time published_at_{};
  base::Time renew_at_ = base::kNever;
  base::Time refuted_at_{};
  base::Time spread_at_ = base::kNever;
  base::Time sync_at_ = base::kNever;
  base::Time expire_at_ = base::kNever;
  base::Time contact_at_{};  // none before
  // Kept, as it looks at all who are silent; stale when contacts_changed_, or in mid-step.
  base::Time next_contact_ = base::kNever;
  bool contacts_changed_ = true;
  std::vector<Seed> seeds_;
  std::deque<std::pair<base::NodeId, base::Endpoint>> introduced_;  // not in the view yet
  base::NodeMap<Follower> followers_;
  base::NodeId tended_;  // the last one
  base::Time refresh_at_{};
};

}  // namespace gossip
