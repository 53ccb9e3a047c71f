// Members of one group in a seeded world: a network that loses, doubles, delays, reorders and cuts
// links, disks that take time, crashes that keep only what was written. Everything that the paper's
// Figure 3 promises is checked at every action.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "balance/group.h"

namespace balance {

struct Faults {
  std::uint64_t loss_percent = 0;
  std::uint64_t double_percent = 0;
  base::Duration delay_max = std::chrono::milliseconds(5);
  base::Duration disk_max = std::chrono::milliseconds(2);
  std::uint64_t crash_permille = 0;  // per occasion: a step, a write done
  std::uint64_t cut_percent = 0;     // of links, drawn anew every 2 s
};

class GroupWorld {
 public:
  GroupWorld(std::uint64_t seed, bool pair);

  void set_faults(const Faults& faults);
  void run(base::Duration duration);
  // Runs until every member was told of the proposal made now, or the patience ends.
  [[nodiscard]] bool decides_within(base::Duration patience);
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] std::size_t decided() const { return decided_.size(); }
  [[nodiscard]] std::size_t leaders() const { return leader_of_.size(); }
  [[nodiscard]] std::size_t crashes() const { return crashes_; }
  [[nodiscard]] std::uint64_t trace() const { return trace_; }

 private:
  struct Member {
    std::optional<Group> group;  // none: crashed
    group::Recovered disk;
    std::deque<group::Persist> writes;  // asked for, not on the disk yet
    base::Incarnation life;
    std::uint64_t told = 1;  // last index committed in this life
    base::Time disk_free;
  };
  struct Delivery {
    std::size_t from, to;
    base::Bytes bytes;
  };
  struct DiskDone {
    std::size_t member;
    base::Incarnation life;
  };
  struct Restart {
    std::size_t member;
  };
  using Happening = std::variant<Delivery, DiskDone, Restart>;

  void at(base::Time when, Happening happening);
  void happen(const Happening& happening);
  void step(std::size_t who, const group::Event& event);
  void perform(std::size_t who, const group::Action& action);
  void post(std::size_t from, const group::Send& send);
  void start(std::size_t who);
  void crash(std::size_t who);
  void maybe_crash(std::size_t who);
  void propose();
  void check_durable(std::size_t who, const group::Send& send);
  void check_leader(std::size_t who, base::Term term);
  void check_committed(std::size_t who, const group::Committed& entry);
  void check_log_matching();
  void fail(std::string what);
  [[nodiscard]] bool holds(std::size_t who, std::uint64_t index, base::Term term) const;
  [[nodiscard]] std::size_t position(const base::NodeId& node) const;

  base::Rng rng_;
  bool pair_;
  base::Time now_;
  Faults faults_;
  std::vector<Member> members_;
  std::vector<base::NodeId> nodes_;
  std::map<std::pair<base::Time, std::uint64_t>, Happening> queue_;
  std::uint64_t sequence_ = 0;
  std::set<std::pair<std::size_t, std::size_t>> cut_;
  base::Time next_cut_;
  base::Time next_proposal_;
  std::uint64_t proposals_ = 0;
  std::map<std::uint64_t, group::Entry> decided_;
  std::map<base::Term, std::size_t> leader_of_;
  std::vector<std::string> violations_;
  std::size_t crashes_ = 0;
  std::uint64_t trace_ = 0;
};

}  // namespace balance
