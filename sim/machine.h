// A machine of the world: its CPUs, the copies of jobs on it, and what a daemon would measure
// there. It outlives daemons; power loss empties it.
//
// Runnable tasks share the CPUs evenly: each runs at min(1, CPUs / tasks), those of a throttled job
// together at no more than its limit; what that holds back the machine's load average does not show
// (Sample::hidden_load_micros). A job's progress is CPU
// time; its output is a function of its progress, so a log proves by itself that nothing is missing
// or doubled. The load average is the kernel's (probe::LoadAverage), sampled every 5 s whether a
// daemon runs or not.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "node/event.h"
#include "probe/load_average.h"
#include "sim/scenario.h"

namespace sim {

// The truth about one job, wherever its copies are.
struct JobTruth {
  base::JobId id;
  JobPlan plan;
  std::int64_t progress_micros = 0;  // CPU time so far
  base::Time started{};
  bool begun = false;
  bool ended = false;  // by itself, by a signal, or lost
  bool lost = false;   // with a machine or with CRIU's help
  std::uint32_t moves = 0;
  base::Time arrived{};               // at where it runs
  std::uint32_t at = kNobody;         // where it runs
  std::uint32_t came_from = kNobody;  // where it ran before
  base::Epoch epoch;                  // the newest under which it ran
  base::Time asked_at{};              // when its person ran it
  std::uint64_t asked_life = 0;
  base::Time ended_at{};
  std::uint32_t ended_on = kNobody;  // where it ended by itself or of a signal
  int wait_status = 0;
  std::vector<std::uint32_t> places;  // in order: where it has had a copy, or one was to arrive

  [[nodiscard]] std::uint64_t output() const {
    return static_cast<std::uint64_t>(progress_micros / 1000 * plan.output_per_second / 1000);
  }
  [[nodiscard]] std::int64_t work_left() const {
    return plan.work.count() == 0 ? INT64_MAX : plan.work.count() - progress_micros;
  }
};

// The byte of a job's output at an offset; and many of them, beginning there.
[[nodiscard]] inline std::uint8_t output_byte(std::uint64_t offset) {
  return static_cast<std::uint8_t>(offset * 31 + offset / 251);
}
void fill_output(std::uint64_t offset, base::MutableByteView out);
[[nodiscard]] bool is_output(std::uint64_t offset, base::ByteView bytes);

struct Copy {
  std::uint32_t job = 0;
  bool frozen = false;  // for a handover, or at rest
  base::Epoch epoch;    // under which it was launched or let go
  probe::LoadAverage load;
  base::Time frozen_at{};
  balance::HandoverId frozen_for;   // meaningful while frozen
  std::uint64_t told = UINT64_MAX;  // output that the daemon was told of
  bool leaves = false;              // its kill is ordered
  // At rest on the disk, where it outlives daemons and power: frozen all the while.
  bool parking = false;  // it stands still for a park that is not done
  bool parked = false;   // its file has its name
  bool woken = false;    // parked, and the mark is there: it runs with the next step
  node::jobs::ParkedFacts facts = {};
  std::int64_t limit_micros = 0;                          // of CPU; 0: none
  base::Time limited{};                                   // when that changed
  probe::LoadAverage held_back = probe::LoadAverage({});  // in thousandths of tasks
  bool paused = false;  // by its host's owner: it is the copy that runs, and stands still

  [[nodiscard]] bool stands() const { return frozen || paused; }
};

class Machine {
 public:
  Machine(const NodeShape& shape, base::Time now);

  [[nodiscard]] Copy* find(std::uint32_t job);
  [[nodiscard]] const Copy* find(std::uint32_t job) const;
  [[nodiscard]] const std::vector<Copy>& copies() const { return copies_; }
  // Each brings the progress of all copies here up to `now` first.
  Copy& add(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job, base::Epoch epoch,
            std::int64_t load_micros);
  bool remove(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job);
  void freeze(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job,
              const balance::HandoverId& id);
  void thaw(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job);
  void limit(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job, std::int64_t micros);
  void pause(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job, bool on);
  void sleep(base::Time now, std::vector<JobTruth>& jobs, bool asleep);  // a closed lid
  void settle(base::Time now, std::vector<JobTruth>& jobs);

  // When the next job here ends by itself if nothing changes; kNever.
  [[nodiscard]] base::Time next_end(base::Time now, const std::vector<JobTruth>& jobs) const;
  [[nodiscard]] std::int64_t runnable_tasks() const;  // of jobs and of others
  void sample_load(base::Time now);
  // As if nothing was throttled.
  [[nodiscard]] std::int64_t load_micros() const { return load_.micros(); }
  // Of that, what the machine does not show; and which copies that are gone leave there.
  [[nodiscard]] std::int64_t hidden_micros() const { return held_back_.micros() / 1000; }
  [[nodiscard]] std::int64_t hidden_of_gone_micros() const;
  [[nodiscard]] node::Sample sample(base::Time now, const std::vector<JobTruth>& jobs) const;
  [[nodiscard]] const NodeShape& shape() const { return shape_; }
  void set_other_load(std::int64_t micros) { shape_.other_load_micros = micros; }
  // The ratio that would show after a minute without change.
  [[nodiscard]] std::int64_t settled_ratio_micros() const;
  void power_off(base::Time now);

  std::uint64_t end_version = 0;  // an end that was scheduled under another one is void

 private:
  [[nodiscard]] std::int64_t task_speed_micros() const;  // of one task, 1'000'000 = a whole CPU

  NodeShape shape_;
  std::vector<Copy> copies_;  // in order of arrival
  [[nodiscard]] std::int64_t rate_micros(std::size_t copy, std::int64_t speed) const;

  probe::LoadAverage load_;
  probe::LoadAverage held_back_;  // in thousandths of tasks
  base::Time settled_{};
  bool asleep_ = false;
  std::vector<std::int64_t> threads_;  // of copies_, beside them
};

}  // namespace sim
