// Raft for one triad or pair: who coordinates, and what was decided, in which order.
//
// Sources: Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), cited
// as §n; Ongaro's thesis (2014) §9.6 (pre-vote), §6.2 (check quorum). The membership is fixed by
// the form record, which is entry 1 of the log, with term 0, the same everywhere; payloads are
// opaque. Messages may be lost, doubled, delayed, reordered.
//
//             timeout               majority would               majority voted
//   Follower ---------> PreCandidate ------------> Candidate -----------------> Leader
//      ^                   |    ^ timeout: again       | timeout: PreCandidate     |
//      +---- higher term, or a leader of this term ----+---------------------------+
//                                     no majority heard within timings.quorum -----+
//
// Rules
// - Only voters campaign, vote and are counted (all three of a triad; SOURCE alone of a pair). A
//   learner receives the log and the commit index, nothing else.
// - Durable before sent: term, vote and entries change in memory at once and go into one Persist at
//   the end of the step; every message made from then on waits for Persisted{that id}. A leader
//   counts its own copy, and a candidate its own vote, only when durable.
// - Pre-vote: nobody raises its term before a majority of voters said that they would elect it: its
//   log is at least as up to date as theirs and they heard no leader for timings.sticky. So a
//   member that comes back, or whose log is behind, does not depose a leader.
// - Timeouts are drawn anew for each attempt; the preferred member's are shorter than any other's,
//   and its first comes at once. If it cannot win (dead, or its log is behind), others do.
// - A leader first appends an empty entry of its own term and counts copies only of entries of its
//   own term (§5.4.2); all before are then committed with it.
// - Check quorum: a leader that had no answer from a majority within timings.quorum steps down
//   (same term). Always safe, since stepping down only costs an election; it lets the coordinator
//   on the wrong side of a partition know that it decides nothing any more.
// - Committed is emitted in order, each index once per life of this object, starting with 2 (entry
//   1 counts as committed by being in the form record), and only once the entry is durable *here*.
//   The commit index itself is not stored (Figure 2): after a restart it is 1, and Committed comes
//   again from 2 as soon as a leader confirms; the composition must take each entry as news that it
//   may have acted upon before (its own durable records tell).
//
// Who is heard: the transport vouches for `from`. A message is dropped, and counted, if it does not
// decode, names another group, comes from no member, or carries a store id other than the form
// record's for that member (a new state folder has no vote in old triads).
//
// A member that forgot (its store was put back to an older state, with the same store id) cannot be
// made harmless by Raft, only noticed. Each message carries the sender's start counter:
// - counter below the highest seen from that member in this life: dropped, counted (stale_life).
//   So a member whose counter went back gets no vote and gives none until it passed what was seen.
// - counter higher, but its log ends before what it had acknowledged to this leader: it is sent the
//   log again, MemberView::forgot stays true and Forgot is emitted once. Its new acknowledgements
//   are true and count. The composition must not let that node wake anything unasked.
//
// The caller
// - constructs a Group only after the form record is durable here, with a start counter higher than
//   in every earlier life of this store;
// - performs all actions in order; writes are applied in the order of their Persist, each of them
//   whole or not at all; Persisted{n} says that n and all before are durable;
// - calls step(Tick) when next_deadline() has come (an early Tick does nothing).
// Deterministic: same inputs, same outputs. Copies nothing that it was given by reference.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>
#include <vector>

#include "balance/group_limits.h"
#include "balance/group_log.h"
#include "balance/group_wire.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"

namespace balance {

namespace group {

using PersistId = base::Counter<struct GroupPersistTag>;  // 1, 2, 3... in each life

struct MemberConfig {
  base::NodeId node;
  base::StoreId store;
  bool voter = true;
};

struct Config {
  base::TriadId id;
  base::NodeId self;
  base::NodeId preferred;             // a voter: seat 0 of a triad, SOURCE of a pair
  std::vector<MemberConfig> members;  // two or three, distinct, one voter at least
  base::Bytes form;                   // payload of entry 1
  base::Incarnation incarnation;
  GroupTimings timings;
};

// What all Persist of earlier lives left behind. Empty for a new group.
struct Recovered {
  HardState hard;
  std::vector<Entry> entries;  // index 2, 3...; entry 1 is Config::form
};

// ---- events
struct Received {
  base::NodeId from;
  base::Bytes bytes;
};
struct Persisted {
  PersistId id;
};
// Only a leader takes it; the answer in the same step is Proposed or ProposalRefused.
struct Propose {
  base::Bytes payload;   // 1..kGroupPayloadBytesMax bytes
  bool closing = false;  // an outcome or dissolve: may use the room kept for these
};
struct Tick {};
using Event = std::variant<Received, Persisted, Propose, Tick>;

// ---- actions
struct Send {
  base::NodeId to;
  base::Bytes bytes;
};
// One atomic write. `log`, if set: the stored entries first..old_last vanish, then `entries` lie at
// first, first + 1... (index 2 at the lowest; `entries` is never empty; old_last < first: a plain
// append).
struct Persist {
  struct Rewrite {
    base::LogIndex first;
    base::LogIndex old_last;
    std::vector<Entry> entries;
  };
  PersistId id;
  std::optional<HardState> hard;
  std::optional<Rewrite> log;
};
// An empty payload opened a leader's term and means nothing else. As leader: the first Committed
// whose term is term() puts it in office (in_office()).
struct Committed {
  base::LogIndex index;
  base::Term term;
  base::Bytes payload;
};
struct BecameLeader {
  base::Term term;
};
struct SteppedDown {
  base::Term term;  // in which it led
};
// Appended at `index`, not yet committed; another entry may be committed there instead if a new
// leader takes over, so compare the payload (or Committed::term with term).
struct Proposed {
  base::LogIndex index;
  base::Term term;
};
struct ProposalRefused {
  base::Code code;  // kRefused: not the leader; kTooLarge; kInvalid: empty; kFull
};
struct Forgot {
  base::NodeId node;
};
using Action = std::variant<Send, Persist, Committed, BecameLeader, SteppedDown, Proposed,
                            ProposalRefused, Forgot>;
using Actions = std::vector<Action>;

// ---- what can be seen
enum class Role : std::uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

struct MemberView {
  base::NodeId node;
  bool voter = false;
  // Known to the leader, in its current term; elsewhere 0 and the moment it stepped down or began.
  base::LogIndex match;     // durable there as in our log; 1 = has stored the form record
  base::LogIndex commit;    // what it knows to be committed: when all know dissolve, all may go
  base::Time last_contact;  // when its last answer to this leader's appends came (for the leader
                            // itself: kNever). At election: the time of the election
  bool forgot = false;
};

// Input dropped, by reason. Lying members and bugs show up here, not as an abort.
struct Counters {
  std::uint64_t undecodable = 0;
  std::uint64_t wrong_group = 0;
  std::uint64_t not_member = 0;
  std::uint64_t wrong_store = 0;
  std::uint64_t stale_life = 0;
  std::uint64_t against_rules = 0;  // what no correct member says: a second leader of a term, a
                                    // learner that campaigns, an entry that contradicts a commit
  std::uint64_t held_dropped = 0;   // own messages beyond kGroupHeldMax
};

}  // namespace group

class Group {
 public:
  // kInvalid if what was recovered contradicts itself or the members (a damaged store: the caller
  // must treat this node as a stranger to this triad). Wrong `config` is our bug: CHECKed.
  [[nodiscard]] static base::Result<Group> open(group::Config config, group::Recovered recovered,
                                                base::Rng rng, base::Time now);

  [[nodiscard]] group::Actions step(base::Time now, const group::Event& event);
  [[nodiscard]] base::Time next_deadline() const;  // kNever for a learner

  [[nodiscard]] group::Role role() const { return role_; }
  [[nodiscard]] bool is_leader() const { return role_ == group::Role::kLeader; }
  // Leader, and an entry of its own term is committed: it knows all that was ever decided.
  [[nodiscard]] bool in_office() const;
  [[nodiscard]] base::Term term() const { return hard_.term; }
  // Leader of term(), if known; a voter forgets it when its timeout passes without a word from it,
  // a learner (which has no timeout) never.
  [[nodiscard]] std::optional<base::NodeId> leader() const;
  [[nodiscard]] base::LogIndex commit_index() const { return commit_; }  // may exceed Committed
  [[nodiscard]] base::LogIndex last_index() const { return log_.last(); }
  [[nodiscard]] std::vector<group::MemberView> members() const;  // in the order of the config
  [[nodiscard]] const group::Counters& counters() const { return counters_; }

 private:
  // Positions in config_.members.
  static constexpr std::size_t kNobody = kGroupMembersMax;

  struct Peer {
    base::LogIndex next;  // first entry to send
    base::LogIndex match;
    base::LogIndex commit;
    base::Time last_contact;
    base::Incarnation life;        // highest start counter seen
    base::Incarnation match_life;  // in which it acknowledged `match`
    bool granted = false;          // in the current campaign
    bool forgot = false;
  };
  struct Held {
    group::PersistId after;
    group::Send send;
  };
  struct Write {  // asked for, not yet confirmed
    group::PersistId id;
    base::LogIndex last;  // how much of the present log is durable with it
  };

  Group(group::Config config, group::Recovered recovered, base::Rng rng, base::Time now);

  void on(base::Time now, const group::Received& event);
  void on(base::Time now, const group::Persisted& event);
  void on(base::Time now, const group::Propose& event);
  void on(base::Time now, const group::Tick& event);

  void receive(base::Time now, std::size_t from, const group::PreVote& body, base::Term term);
  void receive(base::Time now, std::size_t from, const group::PreVoteReply& body, base::Term term);
  void receive(base::Time now, std::size_t from, const group::Vote& body, base::Term term);
  void receive(base::Time now, std::size_t from, const group::VoteReply& body, base::Term term);
  void receive(base::Time now, std::size_t from, const group::Append& body, base::Term term);
  void receive(base::Time now, std::size_t from, const group::AppendReply& body, base::Term term);

  // group.cc: terms, campaigns, writes
  [[nodiscard]] std::size_t position(const base::NodeId& node) const;
  [[nodiscard]] bool heard(std::size_t from, const group::Message& message);
  [[nodiscard]] bool votes(std::size_t position) const { return config_.members[position].voter; }
  [[nodiscard]] std::size_t majority() const;
  [[nodiscard]] bool majority_granted() const;
  void draw_deadline(base::Time now);
  void set_hard(const group::HardState& hard);
  void follow(base::Time now, base::Term term, std::size_t leader);
  void campaign(base::Time now);
  void stand(base::Time now);
  void ask_for_votes(base::Time now);
  void take_office(base::Time now);
  void send(std::size_t to, group::Body body);
  void finish_step();

  // group_replication.cc: the log
  [[nodiscard]] bool contradicts_commit(const group::Append& body) const;
  void store(const group::Append& body);
  void deliver();
  void append_own(group::Entry entry);
  void replicate(std::size_t to, bool with_entries);
  void replicate_all();
  void beat(base::Time now);
  void refused(std::size_t from, const group::AppendReply& body);
  void count_copies();
  [[nodiscard]] bool quiet(base::Time now, const Peer& peer) const;
  [[nodiscard]] bool quorum_heard(base::Time now) const;

  group::Config config_;
  std::size_t self_;
  std::size_t preferred_;
  base::Rng rng_;
  group::Role role_ = group::Role::kFollower;
  group::HardState hard_;
  GroupLog log_;
  base::LogIndex commit_{1};
  base::LogIndex delivered_{1};
  std::size_t leader_ = kNobody;
  base::Time heard_leader_;                     // meaningful while leader_ is known
  base::Time election_at_ = base::kNever;       // kNever: learner, leader
  base::Time resend_at_ = base::kNever;         // heartbeat of a leader, repetition of a campaign
  std::array<Peer, kGroupMembersMax> peers_{};  // own position: unused

  // The write that this step asks for, and those asked for before.
  bool hard_dirty_ = false;
  std::optional<base::LogIndex> rewrite_from_;
  base::LogIndex stored_last_{1};  // last index on disk once all writes are done
  group::PersistId last_write_{0};
  group::PersistId done_write_{0};
  group::PersistId stand_write_{0};  // holds the vote of the latest candidacy
  std::deque<Write> writes_;
  base::LogIndex durable_{1};  // of the present log
  std::deque<Held> held_;
  group::Actions out_;
  group::Counters counters_;
};

}  // namespace balance
