// A seeded world of whole nodes: latency, loss, doubles, disks that keep a prefix of what was not
// synced, daemons that crash while their machines' processes go on. The byte of a job's output at
// offset k is pattern(k), so that a log proves by itself that nothing is missing or doubled.
// Promises that were broken are in `violations`.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "node/node.h"

namespace node::testing {

inline constexpr base::WallTime kWall{1'800'000'000};
inline std::uint8_t pattern(std::uint64_t offset) {
  return static_cast<std::uint8_t>(offset * 31 + offset / 251);
}

class World {
 public:
  struct Options {
    std::size_t nodes = 3;
    std::uint64_t loss_permille = 0;
    std::uint64_t double_permille = 0;
    bool faults_in_host = false;         // operations fail now and then
    bool first_has_no_seed = false;      // node 0 made the mesh: the others were told of it
    std::vector<std::string> obstacles;  // what any sink finds in the way of any job
    OwnerPolicy owner;                   // of every node
    PeoplePolicy people{true, {1000}};   // of every node; the worlds' jobs are of uid 1000
  };
  World(std::uint64_t seed, Options options);

  void start(std::size_t node);
  void crash(std::size_t node, base::Duration for_how_long);
  void run(base::Duration time);
  void end_copy(std::size_t node, const base::JobId& job, int status);
  bool run_until(const std::function<bool()>& done, base::Duration limit);
  // A job at home on `node`; its copy makes `rate` bytes of stdout each 200 ms.
  base::JobId run_job(std::size_t node, std::uint64_t rate = 50);
  base::JobId queue_job(std::size_t node);  // not started yet
  // What a copy there may have of CPUs; -1: there is no copy.
  [[nodiscard]] std::int64_t limit_of(std::size_t node, const base::JobId& job) const {
    const auto copy = machines_[node].local.find(job);
    return copy == machines_[node].local.end() ? -1 : copy->second.limit_micros;
  }
  [[nodiscard]] bool paused(std::size_t node, const base::JobId& job) const {
    const auto copy = machines_[node].local.find(job);
    return copy != machines_[node].local.end() && copy->second.paused;
  }
  std::uint64_t post(std::size_t node, const std::function<Event(std::uint64_t request)>& ask);
  [[nodiscard]] const std::vector<Reply>& replies(std::uint64_t request) {
    return replies_[request];
  }
  [[nodiscard]] bool answered(std::uint64_t request) {
    return !replies_[request].empty() && replies_[request].back().over;
  }
  [[nodiscard]] int where(const base::JobId& job) const;  // of the running copy; -1: none runs
  [[nodiscard]] std::size_t copies(const base::JobId& job) const;  // frozen ones too
  [[nodiscard]] std::uint64_t produced(const base::JobId& job) const { return produced_.at(job); }
  [[nodiscard]] std::uint64_t logged(std::size_t home, const base::JobId& job) const;
  [[nodiscard]] bool all_know_all() const;
  [[nodiscard]] base::NodeId id(std::size_t node) const { return machines_[node].id; }
  Node* node(std::size_t node) { return machines_[node].node.get(); }
  [[nodiscard]] std::uint64_t steps(std::size_t node) const { return machines_[node].steps; }
  [[nodiscard]] std::uint64_t handovers() const { return handovers_; }
  // How often a copy of the job was let go after a move.
  [[nodiscard]] std::uint64_t releases(const base::JobId& job) { return releases_[job]; }
  [[nodiscard]] std::uint64_t signals() const { return signals_; }  // sent to jobs
  [[nodiscard]] std::uint64_t trials() const { return trials_; }    // jobs looked at for dry runs
  [[nodiscard]] Node::Records& disk(std::size_t node) { return machines_[node].disk; }
  base::Rng& rng() { return rng_; }
  [[nodiscard]] base::Time now() const { return now_; }

  std::vector<std::string> violations;
  std::int64_t job_load_micros = 1'000'000;
  std::map<std::size_t, bool> sleep_waits;    // by node: as it asked last
  std::map<std::size_t, OwnerSample> owners;  // by node: what its samples say of its owner
  std::set<base::JobId> immovable;            // as samples say
  std::set<base::JobId> die_when_let_go;      // the next copy of each that is let go
  base::Duration operation_delay{};           // added to each restore
  std::uint64_t loss_permille = 0;

 private:
  enum class Incoming { kReceiving, kSealed, kHeld, kReleased, kDiscarded };
  struct Arrival {
    Incoming state = Incoming::kReceiving;
    std::uint64_t life = 0;
    MoveMetadata metadata;
  };
  struct Copy {
    bool frozen = false;
    bool parked = false;  // frozen, too
    std::uint64_t rate = 0;
    base::JobId job;
    std::int64_t limit_micros = 0;
    bool paused = false;
  };
  struct Spool {  // of stdout; at home this is the log
    std::uint64_t base = 0;
    std::uint64_t end = 0;
    std::uint64_t told = UINT64_MAX;
  };
  struct Machine {
    base::NodeId id;
    std::unique_ptr<Node> node;
    std::uint64_t life = 0;
    std::uint64_t steps = 0;
    std::uint64_t spins = 0;
    base::Time tick_at = base::kNever;
    Node::Records disk;
    std::deque<Persist> writes;
    base::Time write_free{};
    std::map<base::JobId, Copy> local;
    std::map<base::JobId, Spool> spools;
    std::map<balance::HandoverId, Arrival> incoming;
    std::map<base::JobId, balance::HandoverId> storing;
  };
  struct Item {
    base::Time at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator>(const Item& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };

  void at(base::Duration in, std::function<void()> what);
  void later(std::size_t node, std::uint64_t ms_max, std::function<void()> what);  // this life only
  void give(std::size_t node, const Event& event);
  void done(std::size_t node, balance::Event event) { give(node, Handover{std::move(event)}); }
  void perform(std::size_t node, const Action& action);
  void persist(std::size_t node, const Persist& batch);
  void apply(Machine& machine, const Persist& batch);
  void perform_job(std::size_t node, const jobs::Action& action);
  void perform_source(std::size_t node, const balance::Action& action);
  void perform_sink(std::size_t node, const balance::Action& action);
  void sealed(std::size_t node, const balance::HandoverId& id, const MoveMetadata& metadata);
  void restore(std::size_t node, const balance::HandoverId& id);
  void release(std::size_t node, const balance::HandoverId& id);
  void deliver(std::size_t to, std::function<void()> what);
  void produce();
  void sample(std::size_t node);
  void check();
  [[nodiscard]] std::size_t index(const base::NodeId& id) const;
  [[nodiscard]] std::size_t index(const base::Endpoint& endpoint) const;
  [[nodiscard]] bool chance(std::uint64_t permille) { return rng_.below(1000) < permille; }
  [[nodiscard]] base::WallTime wall() const {
    return base::WallTime{
        base::wall_seconds(kWall) +
        std::chrono::duration_cast<std::chrono::seconds>(now_.time_since_epoch()).count()};
  }

  base::Rng rng_;
  Options options_;
  base::crypto::SignKey root_;
  base::Time now_{std::chrono::hours(1)};
  std::uint64_t order_ = 0;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> heap_;
  std::vector<Machine> machines_;
  std::map<base::JobId, std::uint64_t> produced_;
  std::map<base::JobId, std::uint64_t> rates_;
  std::map<balance::HandoverId, MoveMetadata> streams_;
  std::map<std::uint64_t, std::vector<Reply>> replies_;
  std::uint64_t next_request_ = 1;
  std::uint64_t handovers_ = 0;
  std::uint64_t signals_ = 0;
  std::uint64_t trials_ = 0;
  std::map<base::JobId, std::uint64_t> releases_;
};

}  // namespace node::testing
