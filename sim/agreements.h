// The agreement, watched on the wire and on the disks: what a node says, orders and stores against
// what it has stored. Part of sim/promises.h, which owns it and tells it everything.
//
//   name              promise
//   durable-first     what a message or an order says is on its sender's disk    house-style.md
//   elected           who leads has the durable votes of a majority              Raft §5.2
//   pre-vote          who asks for votes was let by a majority; nobody lets who leads or hears
//                     a leader                                                   thesis §9.6
//   committed         what a leader tells as committed, a majority has stored    §5.3, §5.4.2
//   committed-stays   no committed entry is replaced; who leads has them all     §5.4.3
//   one-acceptance    an acceptance ends before the next one begins, for ever    design.md §3
//   acceptance-kept   until its triad is stored, its proposer cancels, or its time is over
//   cancel-heard      nobody accepts what he heard cancelled while he stored it
//   form-accepted     who takes a seat has accepted that very proposal
//   one-seat          nor is one stored beside a seat
//   fits              a proposal's roles fit what its node sees                  §2, §3
//   plan              what moves by rule was offered, hogs first, has room, narrows the gap  §2
//   effective         work just moved is counted at both ends                    §2
//   by-outcome        the ends of a handover follow the committed outcome, or give way to
//                     a person's word                                            §4.5
//   end-order         the states of an end follow each other as in its diagram
//   acted             an end that says it is done has done to the job what it says
//   one-handover      of a triad is under way at a time                          §4.5
//   held-kept         a held copy goes when it was told that the original runs, or a higher epoch
//   checked           nothing is offered to begin but what SINK said that it can take
//   ready-held        who says ready holds a restored copy                       §4.3
//   epoch-once        an epoch of a job belongs to one handover                  §4.1
//   home-forward      what home knows of where its job runs does not go back
//   home-told         who has another's job tells its home so until home confirms
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "balance/group_wire.h"
#include "balance/record.h"
#include "balance/wire.h"
#include "node/event.h"
#include "node/job_wire.h"
#include "sim/consensus.h"

namespace sim {

class World;
class Promises;

inline constexpr std::size_t kWordsKeptMax = 16;  // offers and rooms of one term; the first go

class Agreements {
 public:
  Agreements(const World& world, Promises& promises)
      : world_(world), promises_(promises), consensus_(world, promises) {}

  void says(std::uint32_t host, const balance::wire::Message& message);  // what is not of Raft
  void says(std::uint32_t host, const node::Message& message);
  void hears(std::uint32_t host, const balance::wire::Message& message);
  void hears(std::uint32_t host, const node::HereAck& ack);
  void says_in_group(std::uint32_t host, const base::NodeId& to,
                     const balance::group::Message& message);
  void orders(std::uint32_t host, const balance::Action& action);
  void sampled(std::uint32_t host);
  // A batch is asked for (the node has just decided), and a batch is about to be on disk.
  void decides(std::uint32_t host, const node::Persist& batch);
  void stores(std::uint32_t host, const node::Persist& batch);
  // The first time that this host leads this term.
  void leads(std::uint32_t host, const base::TriadId& triad, base::Term term);
  void still_leads(std::uint32_t host, const base::TriadId& triad, base::Term term);
  void rescan();
  // Home knows that its job runs under this epoch.
  void knows(std::uint32_t host, const base::JobId& job, base::Epoch epoch);
  // An entry of a triad's log is committed: told once, in the order of the log.
  void commits(std::uint32_t host, const base::TriadId& triad, base::ByteView stored);
  // A person resolved it in a handover of which the other end has never stored anything: nobody can
  // confirm that what is there is gone.
  [[nodiscard]] bool lacks_other_end(const base::JobId& job) const;
  [[nodiscard]] base::Time acceptance_since(std::uint32_t host) const;  // kNever: it has none

 private:
  using Term = std::pair<base::TriadId, base::Term>;
  struct Words {
    std::vector<balance::wire::Offer> offers;
    std::vector<balance::wire::Room> rooms;
    std::vector<base::JobId> prepared;
  };
  struct Guest {  // a job of another home, in one life of the host that has it
    std::uint64_t life = 0;
    base::Time told{};  // or not awaited until then
    bool confirmed = false;
  };
  struct Accepting {  // the last acceptance that a host has decided on
    base::ProposalId proposal;
    std::uint64_t life = 0;
    bool cancelled = false;  // and heard so
  };
  struct Committed {
    std::map<std::string, base::Bytes> entries;  // by key of the store
  };
  [[nodiscard]] const base::Bytes* disk(std::uint32_t host, const std::string& key) const;
  // A member that stored the form record and has left since: it had all that was committed.
  [[nodiscard]] bool has_left(std::uint32_t host, const base::TriadId& triad) const;
  [[nodiscard]] std::vector<std::uint32_t> voters(const base::TriadId& triad) const;
  [[nodiscard]] std::optional<balance::Decision> outcome_on_disk(
      std::uint32_t host, const balance::HandoverId& id) const;
  void not_durable(std::uint32_t host, const std::string& what);
  void check_commit(std::uint32_t host, const balance::group::Message& message,
                    base::LogIndex commit);
  void check_end(std::uint32_t host, const balance::HandoverId& id,
                 const balance::EndRecord& record);
  void stores_acceptance(std::uint32_t host, const balance::RecordChange& change, bool forms);
  void stores_end(std::uint32_t host, const balance::RecordChange& change);
  void stores_form(std::uint32_t host, const base::TriadId& triad, base::ByteView value);
  void check_acted(std::uint32_t host, const balance::HandoverId& id,
                   const balance::EndRecord& record);
  void check_discarded(std::uint32_t host, const balance::HandoverId& id);
  [[nodiscard]] bool was_superseded(std::uint32_t host, const balance::HandoverId& id) const;
  void check_exit(std::uint32_t host, std::uint32_t job);
  Guest& guest(std::uint32_t host, const base::JobId& job);
  void check_guests(std::uint32_t host);
  void check_forward(std::uint32_t host, const base::JobId& job);
  void check_epoch(std::uint32_t host, const balance::HandoverId& id);
  void check_plan(std::uint32_t host, const balance::wire::Prepare& prepare);
  [[nodiscard]] std::int64_t waking_ratio(std::uint32_t host) const;
  void check_effective(std::uint32_t host, std::int64_t ratio_micros);
  [[nodiscard]] bool is_owned(std::uint32_t host, const base::JobId& id) const;
  void check_roles(std::uint32_t host, const balance::Acceptance& acceptance);

  const World& world_;
  Promises& promises_;
  Consensus consensus_;
  std::map<base::TriadId, Committed> committed_;
  std::map<base::TriadId, std::vector<balance::HandoverId>> begun_;  // committed
  std::map<balance::HandoverId, balance::Decision> decided_;         // committed
  std::map<base::TriadId, std::set<std::uint32_t>> stored_form_;
  std::map<std::pair<base::TriadId, base::StoreId>, balance::group::HardState> votes_;
  std::map<std::pair<Term, base::NodeId>, std::set<base::NodeId>> let_;  // pre-votes given
  std::map<Term, Words> words_;
  std::map<std::pair<base::JobId, base::Epoch>, base::TriadId> epochs_;
  std::map<std::pair<std::uint32_t, base::JobId>, Guest> guests_;
  // By home: the newest epoch under which it knew of its job, in that life.
  std::map<std::pair<std::uint32_t, base::JobId>, std::pair<std::uint64_t, base::Epoch>> known_;
  std::map<std::uint32_t, base::Time> acceptance_at_;
  std::set<std::pair<std::uint32_t, base::ProposalId>> accepted_;  // ever
  std::map<std::uint32_t, Accepting> accepting_;
  std::set<base::ProposalId> cancelled_;  // so its proposer said
  std::set<balance::HandoverId> can_take_;
  // What a host was told: that the original runs again, or that a higher epoch is there.
  std::set<std::pair<std::uint32_t, balance::HandoverId>> may_discard_;
  std::set<std::pair<std::uint32_t, balance::HandoverId>> superseded_;  // the latter alone
  std::map<base::JobId, balance::HandoverId> resolved_;                 // by a person, in this one
  std::set<std::pair<std::uint32_t, balance::HandoverId>> ends_;        // ever stored; small worlds
};

}  // namespace sim
