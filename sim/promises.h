// What must never happen, watched from outside the cores, at every event and by a rescan now and
// then. Each breach is recorded once for each promise and subject.
//
//   name               promise
//   one-coordinator    at most one coordinator for each (triad, term)           design.md §3
//   one-vote           one vote a (triad, term, store), across restarts         Raft §5.2
//   terms-grow         a store's term of a triad never falls
//   one-seat           a durable form record while another triad's lives on     §3
//   members-agree      who hold a triad's form record hold the same one
//   seats-sum          seats of each formed triad sum to 0 (mod 3)              §2
//   one-runs           at most one copy of a job runs                           §4
//   last-copy          no order of tern destroys the last copy that can run
//   epochs-grow        a copy runs only under an epoch above the ones before
//   one-outcome        every node that knows a handover's outcome knows the same
//   output             a log has no hole and no other bytes than the job's
//   wakes-when-idle  nothing parked is woken by rule unless S < 0, as its host sees it
//   oldest-first     of two that would fit, and were not parked a moment ago, the one that has
//                    waited longer is woken first
//   residence          no move by rule within 60 s of an arrival                §2
//   throttle-pace      a throttle changes at most once in 60 s by rule              §2
//   digest             all views show the same of an honest node's one digest,
//                      and what a view shows of a node never goes back; whom a
//                      sample let go it may take in again as a newcomer would
//   spreads            when faults are over, news reaches all within seconds        §5
//   tries-dead         who takes others for dead looks for them now and then         §5
//   address            who was heard from his address is answered there               §5
//   renews             who runs tells of itself anew, though nothing changed         §5
//   stranger           nobody shows a node that the root never certified            §6
//   slander            nobody counts as dead who was just heard                     §5
//   taken-once         no datagram is taken twice, in whatever life                 §5
//   no-spin            nothing re-arms itself at zero delay
//   limits             messages and datagrams stay within the declared sizes
//   load-conserved     the copies' tasks are those of the jobs that should run
//   own-records        a node reads every record it wrote
//   stops              who was told to stop takes no seat
//   keeps-jobs         a daemon that starts knows of each job that runs there
//   drain-stands       who was drained is so after a restart
//   forgot             nobody is said to have lost his store who did not             §3
//
// What nodes say, order and store of their agreements: sim/agreements.h; what people are told:
// sim/answers.h.
//
// These hold for every triad without a liar and without a store that forgot what it had synced: a
// triad with one is left out (tainted()), everything else is not.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "balance/record.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/time.h"
#include "gossip/event.h"
#include "node/event.h"
#include "sim/agreements.h"
#include "sim/answers.h"
#include "sim/meeting.h"

namespace node {
struct StatusNode;
}

namespace sim {

class World;
struct Copy;

struct Violation {
  std::string promise;
  base::Duration at{};  // since the world began
  std::uint32_t node = 0;
  std::string detail;
};

inline constexpr std::size_t kViolationsMax = 64;  // further ones are not kept

class Promises {
 public:
  explicit Promises(const World& world)
      : world_(world), agreements_(world, *this), answers_(world, *this) {}

  // ---- told by the world as it runs
  void stepped(std::uint32_t host);
  void sends(std::uint32_t host, const node::SendMessage& message);
  void sends_datagram(std::uint32_t host, const base::Endpoint& to);
  void hears(std::uint32_t host, base::ByteView message);  // of another member; small worlds only
  void persists(std::uint32_t host, const node::Persist& batch);
  void runs(std::uint32_t host, std::uint32_t job, base::Epoch epoch, const char* how);
  void destroyed(std::uint32_t host, std::uint32_t job, const char* how);
  // Its host wakes it: because a person asked, or by a rule, which has to hold then.
  void wakes(std::uint32_t host, const base::JobId& job);
  void asked_to_wake(std::uint32_t job) { asked_to_wake_.insert(job); }
  void begins(std::uint32_t host, const balance::FreezeAndStream& order);
  void orders(std::uint32_t host, const balance::Action& action) {
    agreements_.orders(host, action);
  }
  void decides(std::uint32_t host, const node::Persist& batch);
  void handover(std::uint32_t host, const node::HandoverSummary& summary);
  void restarted(std::uint32_t host);
  void told_to_stop(std::uint32_t host);
  void came_back(std::uint32_t host);
  void happens(std::uint32_t host, const node::Happened& what);
  void logs(std::uint32_t host, base::LogLevel level, std::string_view event);
  void limits(std::uint32_t host, const Copy& copy, std::int64_t micros);
  // A host has taken a sample: what is throttled counts there as before.
  void sampled(std::uint32_t host) { agreements_.sampled(host); }
  void rescan();
  void makes_none_since(std::uint32_t host, base::Time then);  // no digest of its own
  void broke(const char* promise, std::uint32_t host, std::string detail);
  // The same, unless a liar or a forgetful store had its hand in what happens to the job.
  void broke_job(const char* promise, std::uint32_t host, std::uint32_t job, std::string detail);
  // A liar, or a store that forgot: its triads, and the jobs that it touches, prove nothing.
  void taint(std::uint32_t host);
  // Its store is as it was some time ago: what moved on since it takes for its own again.
  void set_back(std::uint32_t host);
  void taint_job(const balance::HandoverId& id) {
    if (tainted(id.triad)) tainted_jobs_.insert(id.job);
  }

  // Whether the damage of a liar or of a store that forgot may be what keeps it.
  [[nodiscard]] bool excused(const base::TriadId& triad) const { return tainted(triad); }
  [[nodiscard]] bool excused_job(std::uint32_t job) const { return tainted_job(job); }
  [[nodiscard]] bool excused_host(std::uint32_t host) const;
  [[nodiscard]] const balance::FormRecord* form(const base::TriadId& triad) const;  // null: none
  // What some node told or stored of it; none: nobody did.
  [[nodiscard]] std::optional<balance::Decision> outcome(const balance::HandoverId& id) const;
  // Since when the host has had its present seat; none: it has no seat.
  struct Seated {
    base::TriadId triad;
    base::Time since{};
  };
  [[nodiscard]] const Seated* seated(std::uint32_t host) const;
  [[nodiscard]] base::Epoch last_begun(std::uint32_t job) const;  // of its handovers
  [[nodiscard]] std::vector<std::uint32_t> watched() const;  // hosts whose views a rescan reads
  [[nodiscard]] const Agreements& agreements() const { return agreements_; }
  [[nodiscard]] Answers& answers() { return answers_; }
  [[nodiscard]] const std::vector<Violation>& violations() const { return violations_; }
  [[nodiscard]] std::uint64_t checks() const { return checks_; }

 private:
  struct Votes {
    base::Term term;
    base::NodeId candidate;
  };
  using Version = std::pair<base::Incarnation, base::Sequence>;
  struct Told {  // the newest digest of an origin that any view showed
    Version version;
    gossip::DigestFields fields;
  };
  struct Shown {  // of one origin by one host
    std::uint64_t life = 0;
    Version version;
    base::Time since{};        // when this life of the host first showed it
    base::Time known_since{};  // as the host says
    std::uint32_t astray = 0;  // rescans at which its address was another's, one after another
  };
  struct Made {
    Version version;
    base::Time since{};
    gossip::DigestFields fields;  // what it would tell
  };
  struct Seen {  // the same, of this rescan
    std::uint32_t host = 0;
    std::uint32_t origin = 0;
    Version version;
  };
  [[nodiscard]] bool tainted(const base::TriadId& triad) const;
  [[nodiscard]] bool tainted_job(std::uint32_t job) const;
  [[nodiscard]] bool is_under_way(std::uint32_t job, const balance::HandoverId& id) const;
  void check_hard_state(std::uint32_t host, const base::TriadId& triad, base::ByteView value);
  void check_linger(std::uint32_t host, base::ByteView value);
  void learn_outcome(std::uint32_t host, const balance::HandoverId& id, balance::Decision outcome);
  void rescan_views();
  void move_window();
  [[nodiscard]] const std::optional<Made>* in_window(const std::vector<std::optional<Made>>& made,
                                                     std::uint32_t host) const;  // null: it is not
  [[nodiscard]] bool is_behind(const gossip::NodeView& view, const Made& made) const;
  void check_dead(std::uint32_t host, const std::vector<node::StatusNode>& nodes);
  void check_view(std::uint32_t host, const gossip::NodeView& view, bool quiet);
  void check_form(std::uint32_t host, const base::TriadId& triad, base::ByteView value);

  const World& world_;
  Agreements agreements_;
  Answers answers_;
  std::vector<Violation> violations_;
  std::set<std::string> seen_;
  std::uint64_t checks_ = 0;
  std::map<std::pair<base::TriadId, base::Term>, base::NodeId> coordinators_;
  std::map<std::pair<base::TriadId, base::StoreId>, Votes> votes_;
  std::map<base::TriadId, balance::FormRecord> forms_;
  std::map<std::uint32_t, std::set<base::TriadId>> holds_;  // durable form records, by host
  std::map<balance::HandoverId, balance::Decision> outcomes_;
  std::map<std::uint32_t, std::uint64_t> stopping_;     // by host: the life that is to end
  std::map<std::uint32_t, base::Epoch> epochs_;         // of jobs: the newest that ran
  std::map<std::uint32_t, balance::HandoverId> begun_;  // the newest of each job
  std::vector<std::optional<Seated>> seated_;           // by host
  std::set<std::uint32_t> asked_to_wake_;               // jobs, by a person
  std::set<std::uint32_t> tried_to_wake_;               // or to move: may rest for a while
  // Whose views are read: all hosts of a small world, in a larger one a window over them that moves
  // on every minute, so that a rescan costs the same for each host.
  std::uint32_t window_at_ = 0;
  std::uint32_t window_size_ = 0;
  std::uint32_t window_left_ = 0;                     // rescans until it moves
  std::unordered_map<std::uint32_t, Told> told_;      // by origin
  std::unordered_map<std::uint64_t, Shown> shown_;    // by (host, origin)
  std::vector<std::optional<Made>> made_, made_now_;  // by place in the window: of itself,
                                                      // at the last rescan and at this one
  std::vector<Seen> seen_now_;
  Meeting meeting_;  // of this rescan, when it is quiet
  struct Dead {      // where those are who a host takes for dead
    std::uint64_t life = 0;
    std::vector<base::Endpoint> at;
    base::Time tried{};  // one of them; or they were none
  };
  std::map<std::uint32_t, Dead> dead_;                   // small worlds only
  std::vector<std::uint32_t> copies_now_, running_now_;  // by job
  std::set<base::NodeId> tainted_nodes_;
  std::set<base::TriadId> tainted_triads_;
  std::set<base::JobId> tainted_jobs_;
};

}  // namespace sim
