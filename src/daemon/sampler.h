// Measures this machine and its jobs at an interval, off the loop, and hands out node::Sample.
//
// The load of the node is the system's, or, where it is measured by cgroup, the average of runnable
// tasks in the node's subtree; each job has its own average either way. The interval is the
// kernel's 5 s, shorter for a shorter window.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "daemon/copies.h"
#include "daemon/spare_memory.h"
#include "loop/handles.h"
#include "machine/proc_source.h"
#include "node/event.h"
#include "node/jobs.h"
#include "probe/input_devices.h"
#include "probe/load_average.h"

namespace ternd {

struct SamplerSettings {
  machine::LoadSource source = machine::LoadSource::kSystem;  // resolved: not kAuto
  base::Duration window = std::chrono::seconds(60);
  std::string cgroup;  // the node's subtree
  std::optional<std::int64_t> cpus_millis;
};

class Sampler {
 public:
  using Sink = std::function<void(node::Sample)>;
  Sampler(loop::Loop& loop, SamplerSettings settings, const Copies* copies,
          std::function<const node::jobs::Job*(const base::JobId&)> describe, Sink sink);
  ~Sampler();
  void soon();  // jobs came or went: sample now, without counting twice
  [[nodiscard]] base::Duration interval() const;
  [[nodiscard]] std::uint64_t memory_available() const { return memory_available_; }

 private:
  struct Seen;
  void begin();
  void finish(const Seen& seen);
  struct JobAverage {
    probe::LoadAverage average;
    bool came = false;  // from elsewhere, with its average
  };
  void measure_load(const Seen& seen, const base::JobId& id, std::int64_t known_micros,
                    std::uint32_t runnable, base::Duration age, node::JobSample& out);
  [[nodiscard]] std::int64_t hidden_load(base::Time at, const CopyView& copy,
                                         std::uint32_t runnable, std::uint64_t cpu_time_micros,
                                         std::int64_t cpus_millis);

  loop::Loop& loop_;
  SamplerSettings settings_;
  const Copies* copies_;  // null where no jobs can run
  std::function<const node::jobs::Job*(const base::JobId&)> describe_;
  Sink sink_;
  loop::Timer timer_;
  // Shared with the work off the loop, which may outlive this object.
  std::shared_ptr<machine::ProcSource> source_ = std::make_shared<machine::ProcSource>();
  std::shared_ptr<SpareMemory> spare_ = std::make_shared<SpareMemory>();
  std::optional<probe::LoadAverage> average_;
  base::Time average_began_{};
  std::map<base::JobId, JobAverage> job_averages_;
  // What a quota keeps from the system's load average, in thousandths of tasks.
  struct HeldBack {
    probe::LoadAverage average;
    base::Time at{};
    std::uint64_t cpu_time_micros = 0;
  };
  std::map<base::JobId, HeldBack> held_back_;
  std::uint64_t memory_available_ = 0;
  probe::Power power_ = probe::Power::kUnknown;
  probe::InputWatch inputs_;
  bool busy_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ternd
