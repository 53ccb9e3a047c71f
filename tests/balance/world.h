// A seeded world of a few Balance cores: a lossy network, disks that keep a prefix of what was not
// synced, machines whose operations fail, hang or are cut short, and crashes at every boundary
// between two actions. It keeps count of the copies of every job and checks the promises of
// design.md §4 after every event. Promises that were broken are in violations().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "balance/balance.h"
#include "base/rng.h"

namespace balance::testing {

struct WorldOptions {
  std::size_t nodes = 3;
  std::size_t jobs = 2;
  std::uint64_t loss_permille = 50;
  std::uint64_t double_permille = 50;
  std::uint64_t late_permille = 20;        // delayed by seconds
  std::uint64_t crash_per_million = 1500;  // after each action
  std::uint64_t fail_permille = 50;        // of host operations
  std::uint64_t hang_permille = 30;
  std::uint64_t accident_permille = 10;    // a frozen or held copy dies, at each weather change
  std::uint64_t power_permille = 5;        // a machine loses power, likewise
  std::uint64_t partition_permille = 200;  // likewise
  std::uint64_t gone_permille = 0;         // likewise: one machine loses power and stays off...
  bool comes_back = false;                 // until long after the faults, or for ever
  base::Duration faults_for = std::chrono::seconds(60);
  base::Duration calm_for = std::chrono::seconds(240);
};
[[nodiscard]] WorldOptions options_of(std::uint64_t seed, std::size_t nodes);

class World {
 public:
  World(std::uint64_t seed, WorldOptions options);
  void run();
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  struct Counts {
    std::uint64_t events = 0;
    std::uint64_t crashes = 0;
    std::uint64_t begun = 0;
    std::uint64_t commits = 0;
    std::uint64_t aborts = 0;
    std::uint64_t voids = 0;  // committed, but the original ran on
    std::uint64_t gone = 0;   // aborted, but the copy ran
    std::uint64_t lost = 0;
    std::uint64_t lingered = 0;  // triads that a node kept without a seat
    std::uint64_t away = 0;      // machines that were off for long, or for ever
    std::uint64_t waiting = 0;   // frozen or held copies that wait for one, or for a person
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  enum class Copy { kRunning, kFrozen };
  enum class Incoming { kReceiving, kSealed, kHeld, kReleased, kDiscarded };
  struct Machine {
    Recovered disk;
    std::deque<std::pair<std::uint64_t, Persist>> writes;  // life, write
    base::Time write_free{};
    std::map<JobId, Copy> local;
    std::map<JobId, std::uint64_t> local_epoch;  // under which it runs, or ran before it was frozen
    std::map<HandoverId, Incoming> incoming;
    std::set<HandoverId> thawed;
    std::map<HandoverId, std::uint64_t> expecting;  // life
    std::unique_ptr<Balance> core;
    std::uint64_t life = 0;
    std::uint64_t stopping = 0;  // the life that was told to end
    base::Time tick_at = base::kNever;
    int spins = 0;
    NodeId id;
    StoreId store;
  };
  struct Job {
    std::uint64_t accidents = 0;
    bool lost = false;
    std::uint64_t run_epoch = 1;
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
  [[nodiscard]] bool chance(std::uint64_t permille) {
    return faults_ && rng_.below(1000) < permille;
  }
  void give(std::size_t node, const Event& event);
  void perform(std::size_t node, const Action& action);
  void send(std::size_t node, const Send& action);
  void persist(std::size_t node, const Persist& action);
  void finish_write(std::size_t node, std::uint64_t life);
  template <typename Op>
  void host(std::size_t node, Op op);  // op(bool may_fail) -> optional<Event>
  void stream(std::size_t node, const FreezeAndStream& action);
  void stream_done(std::size_t source, std::uint64_t life, HandoverId id, std::size_t sink,
                   int tries);
  void seal(std::size_t node, const SendSeal& action);
  void release(std::size_t node, const ReleaseCopy& action);
  void discard(std::size_t node, const HandoverId& id);
  void thaw(std::size_t node, const HandoverId& id);
  void kill(std::size_t node, const KillOriginal& order);
  void crash(std::size_t node, bool power);
  void start(std::size_t node);
  void weather();
  void go_away(std::size_t node);
  void come_back();
  void sample();
  void note(std::size_t node, const HandoverEvent& event);
  void check();
  void check_disks();
  void check_calm();
  void destroyed(const JobId& job, bool was_ready, const char* how);
  [[nodiscard]] std::size_t can_run(const JobId& job) const;
  void check_calm_disk(std::size_t node);
  void check_calm_jobs();
  void check_newest(const JobId& job, std::size_t host);
  [[nodiscard]] bool waits_for_away(std::size_t node, const TriadId& triad) const;
  void violation(std::string what);
  [[nodiscard]] std::size_t index(const NodeId& id) const;
  [[nodiscard]] bool cut(std::size_t a, std::size_t b) const {
    return cut_.contains({std::min(a, b), std::max(a, b)});
  }

  base::Rng rng_;
  WorldOptions options_;
  base::Time now_{};
  bool faults_ = true;
  std::uint64_t order_ = 0;
  std::priority_queue<Item, std::vector<Item>, std::greater<>> heap_;
  std::vector<Machine> machines_;
  std::map<JobId, Job> jobs_;
  std::set<std::pair<std::size_t, std::size_t>> cut_;
  std::size_t plus_ = 0;
  std::optional<std::size_t> away_;
  bool was_away_ = false;
  std::uint64_t request_ = 0;
  std::map<HandoverId, Decision> outcomes_;
  std::map<HandoverId, std::uint64_t> begun_;
  std::map<std::pair<std::size_t, JobId>, OwnRecord> epochs_;
  std::map<std::pair<std::size_t, JobId>, Epoch> given_out_;
  std::vector<std::string> violations_;
  Counts counts_;
};

}  // namespace balance::testing
