// Raft, watched on the wire and on the disks, by what its paper lets a member say. Part of
// sim/agreements.h, which owns it and tells it everything.
//
//   name              promise
//   one-entry         an index and a term name one entry                          Raft §5.3
//   log-matching      who confirms entries holds those that this leader told      §5.3
//   up-to-date        nobody elects a candidate whose log ends before his own     §5.4.1
//   commit-proven     a follower knows as committed only entries that it holds as
//                     a leader told them, up to where that one said that they are §5.3
//   log-whole         nothing lies on disk behind an entry that was replaced
//   in-office         who is in office has opened its term on a majority's disks  §5.4.2, §8
//   quorum            nobody stays in office whom no majority answers             thesis §6.2
#pragma once

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "balance/group_wire.h"
#include "base/time.h"
#include "node/event.h"

namespace sim {

class World;
class Promises;

class Consensus {
 public:
  Consensus(const World& world, Promises& promises) : world_(world), promises_(promises) {}

  // All are legal for triads that are not excused. `voters`: hosts.
  void says(std::uint32_t host, const base::NodeId& to, const balance::group::Message& message);
  void hears(std::uint32_t host, const balance::group::Message& message);
  void takes_office(std::uint32_t host, const base::TriadId& triad, base::Term term,
                    const std::vector<std::uint32_t>& voters, std::size_t have_left);
  // At every step of a triad's (no pair's) coordinator.
  void stays_in_office(std::uint32_t host, const base::TriadId& triad, base::Term term);
  void stores(std::uint32_t host, const node::Persist& batch);

 private:
  using Term = std::pair<base::TriadId, base::Term>;
  struct Heard {  // in one life
    std::uint64_t life = 0;
    base::LogIndex commit;
  };
  struct Told {  // by the leader of a term
    std::uint32_t leader = 0;
    std::map<base::LogIndex, base::Term> entries;
    base::LogIndex commit;
    std::map<std::uint32_t, Heard> heard;  // by host
    base::Time answered{};                 // or slept till then
    base::Time stepped{};
  };
  struct Follower {  // in one life
    std::uint64_t life = 0;
    base::Term term;
    base::LogIndex before;  // committed, as it knew when this term began, or told as leader
    base::LogIndex commit;  // as it said last
  };
  [[nodiscard]] std::optional<base::Term> term_at(std::uint32_t host, const base::TriadId& triad,
                                                  base::LogIndex index) const;
  [[nodiscard]] balance::group::LogEnd end_of(std::uint32_t host, const base::TriadId& triad) const;
  void on_append(std::uint32_t host, const Term& term, const balance::group::Append& append);
  void on_reply(std::uint32_t host, const Term& term, const balance::group::AppendReply& reply);
  void check_commit(std::uint32_t host, const Term& term, const balance::group::AppendReply& reply);
  [[nodiscard]] base::LogIndex proven(std::uint32_t host, const Term& term) const;
  void check_grant(std::uint32_t host, const Term& term, const base::NodeId& candidate,
                   const char* what);
  void hears_leader(std::uint32_t host, const balance::group::Message& message);
  [[nodiscard]] bool is_led(std::uint32_t host, const Term& term) const;
  void check_lets(std::uint32_t host, const Term& term, const base::NodeId& candidate);
  Follower& follower(std::uint32_t host, const Term& term);

  const World& world_;
  Promises& promises_;
  std::map<Term, Told> told_;
  std::map<std::pair<base::TriadId, balance::group::LogEnd>, base::Bytes> entries_;
  std::map<std::pair<Term, base::NodeId>, balance::group::LogEnd> stands_with_;
  std::map<std::pair<base::TriadId, std::uint32_t>, Follower> followers_;
  struct Led {  // when a host last heard the leader of a term
    std::uint64_t life = 0;
    base::Term term;
    base::Time at{};
  };
  std::map<std::pair<base::TriadId, std::uint32_t>, Led> led_;
  // By whom it was heard, and whose store it has: the newest.
  std::map<std::tuple<base::TriadId, std::uint32_t, base::StoreId>, base::Incarnation> lives_;
  // Whose wish to stand a host heard without having just heard a leader.
  std::set<std::tuple<Term, std::uint32_t, base::StoreId>> unled_;
};

}  // namespace sim
