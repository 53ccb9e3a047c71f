// Emptying this node (`tern drain`, design.md §8): which job leaves next, and for where. Pure.
//
//   reach() -> next() -> the node moves that job as a person would -> moved() or stays() -> next()
//   ...
//
// A drain is a person's word, so residence and never-worse do not bind it (design.md §2). One job
// after another, guests first, for the owner waits for those; each of equal rank with the smallest
// memory first, as it is gone soonest. Where time is short (at_once()) some are asked for together:
// a node has one seat (design.md §3), so still one moves at a time, but none of them waits while
// another's home is busy or does not answer. What those that are moving, for whomever, will take
// where they go is counted.
// A guest goes home if home takes it without becoming PLUS, else to the least loaded MINUS node
// with room, else home all the same: that is where it belongs. A job at home here goes to a MINUS
// node with room or stays. What could not leave is tried again after kDrainRetry; what cannot move
// at all is said and not tried. Where the person asked for it (parks()), a job at home here that
// nobody has room for, or whose moves failed kDrainTries times, is parked: the last step, when
// nobody else can be moved at that moment.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "balance/event.h"
#include "base/ids.h"
#include "base/time.h"

namespace node {

inline constexpr base::Duration kDrainRetry = std::chrono::seconds(10);
inline constexpr int kDrainTries = 3;
inline constexpr std::size_t kLeaveAtOnce = 4;  // before sleep

struct DrainJob {  // one that is here
  balance::JobFacts facts;
  std::string name;
  base::NodeId home;
  bool parking = false;  // by somebody: it leaves by itself
  bool busy = false;     // likewise, or being woken, or a handover of it is not over: not chosen
  std::optional<base::NodeId> leaves_for;  // the SINK of that handover
};

enum class Reach : std::uint8_t { kNobody, kGuests, kAll };  // who leaves

class Drain {
 public:
  struct Move {
    base::JobId job;
    std::optional<base::NodeId> target;  // none: it is to be parked
  };
  struct Left {  // a job that is still here, and why
    base::JobId job;
    std::string name;
    std::string why;
  };

  // kNobody ends it, or interrupts it; what has begun is finished.
  void reach(Reach reach);
  [[nodiscard]] bool on() const { return reach_ != Reach::kNobody; }
  [[nodiscard]] Reach reach() const { return reach_; }
  void parks(bool parks) { parks_ = parks; }  // with kAll

  void at_once(std::size_t moves) { at_once_ = moves; }  // 1, unless it is said
  // None: nothing can be tried now (see next_try).
  [[nodiscard]] std::optional<Move> next(base::Time now, base::NodeId self,
                                         const std::vector<DrainJob>& jobs,
                                         const std::vector<balance::NodeLoad>& seen);
  void moving(const Move& move) { moving_[move.job] = move.target; }
  // Of those that are moving; none: it is parked.
  [[nodiscard]] const std::map<base::JobId, std::optional<base::NodeId>>& targets() const {
    return moving_;
  }
  // So many are under way that another one would have to wait.
  [[nodiscard]] bool busy() const { return moving_.size() >= at_once_; }
  // That move, or park, is over; `why` empty: the job left.
  void moved(base::Time now, const base::JobId& job, std::string why);
  [[nodiscard]] base::Time next_try() const;
  [[nodiscard]] std::vector<Left> left(const std::vector<DrainJob>& jobs) const;

 private:
  struct Stays {
    base::Time again{};
    std::string why;
    int failed = 0;        // moves
    bool no_room = false;  // nobody has any
    bool busy = false;     // as DrainJob has it
    base::Time park_again = base::Time::min();
  };
  [[nodiscard]] std::optional<Move> next_park(base::Time now, base::NodeId self,
                                              const std::vector<const DrainJob*>& order) const;
  Reach reach_ = Reach::kNobody;
  bool parks_ = false;
  std::size_t at_once_ = 1;
  std::map<base::JobId, std::optional<base::NodeId>> moving_;  // to where; none: it is parked
  std::map<base::JobId, Stays> stay_;                          // of those that are here
};

// Where this job would go; none: nobody has room.
[[nodiscard]] std::optional<base::NodeId> drain_target(const DrainJob& job, base::NodeId self,
                                                       const std::vector<balance::NodeLoad>& view);

}  // namespace node
