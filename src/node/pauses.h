// Which guests stand still because the owner needs her machine (node/owner.h). Pure.
//
//   tend() -> PauseJob -> the host -> answered() -> tend() -> ...
//
// What was paused the host remembers with the copy, over restarts of the daemon; this node does
// not. So of each guest that it has not spoken about it says once whether it stands still, and
// again when that changes; after a failure it is said again after kPauseRetry. What a handover or a
// park freezes stands still besides: neither lifts the other's (PauseJob, node/event.h).
//
// A pause takes nothing else from a job: it may be moved, parked or killed meanwhile, arrives
// running elsewhere, and counts there as what it was before: its own average is kept from when it
// was last seen to run.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace node {

struct JobSample;  // node/event.h

inline constexpr base::Duration kPauseRetry = std::chrono::seconds(10);

class Pauses {
 public:
  struct Order {
    std::uint64_t token = 0;
    base::JobId job;
    bool on = false;
  };
  // The guests that are here and run, each with the epoch of its stay; who is in none of them is
  // forgotten. `next_token` is counted up.
  [[nodiscard]] std::vector<Order> tend(base::Time now, bool pause,
                                        const std::map<base::JobId, base::Epoch>& guests,
                                        const std::vector<JobSample>& seen,
                                        std::uint64_t& next_token);
  // What was said is done, or could not be. The order, if its job's state is news by that.
  [[nodiscard]] std::optional<Order> answered(base::Time now, std::uint64_t token, bool ok);
  // It stands still, as far as the host has said.
  [[nodiscard]] bool is_paused(const base::JobId& job) const;
  [[nodiscard]] std::size_t count() const;
  // A paused job's sample with the load that it had.
  void count_as_before(JobSample& job) const;

 private:
  struct Guest {
    base::Epoch stay;
    std::optional<bool> stands;  // none: not known, or a failure
    std::optional<Order> asked;
    base::Time again = base::Time::min();
    std::int64_t load_micros = 0;  // when it last ran
  };
  std::map<base::JobId, Guest> guests_;
};

}  // namespace node
