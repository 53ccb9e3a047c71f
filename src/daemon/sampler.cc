#include "daemon/sampler.h"

#include <algorithm>
#include <set>

#include "machine/input_devices.h"
#include "probe/held_back.h"
#include "probe/scum.h"

namespace ternd {
namespace {

constexpr base::Duration kIntervalMax = std::chrono::seconds(5);
constexpr base::Duration kIntervalMin = std::chrono::milliseconds(500);

// Since the oldest of a job's processes began on this machine.
base::Duration age_of(const std::vector<probe::ProcessSample>& processes,
                      base::Duration since_boot) {
  base::Duration age{};
  for (const probe::ProcessSample& process : processes) {
    age = std::max(age, since_boot - process.started);
  }
  return age;
}

}  // namespace

struct Sampler::Seen {
  struct Job {
    CopyView copy;
    std::uint32_t runnable = 0;
    std::vector<probe::ProcessSample> processes;
  };
  base::Time at{};
  std::int64_t system_load_micros = 0;
  std::uint32_t runnable = 0;
  std::int64_t cpus_millis = 1000;
  machine::MemoryView memory;
  base::Duration since_boot{};
  std::vector<Job> jobs;
  node::OwnerSample owner;
  probe::InputCounts inputs;
};

Sampler::Sampler(loop::Loop& loop, SamplerSettings settings, const Copies* copies,
                 std::function<const node::jobs::Job*(const base::JobId&)> describe, Sink sink)
    : loop_(loop),
      settings_(std::move(settings)),
      copies_(copies),
      describe_(std::move(describe)),
      sink_(std::move(sink)),
      timer_(loop, [this] { begin(); }) {
  timer_.start(base::Duration(0));
}

Sampler::~Sampler() { *alive_ = false; }

base::Duration Sampler::interval() const {
  return std::clamp(settings_.window / 12, kIntervalMin, kIntervalMax);
}

void Sampler::soon() {
  if (!busy_) timer_.start(base::Duration(0));
}

void Sampler::begin() {
  if (busy_) return;
  busy_ = true;
  auto seen = std::make_shared<Seen>();
  if (copies_ != nullptr) {
    for (const CopyView& copy : copies_->all()) {
      if (!copy.ended && !copy.cgroup.empty()) seen->jobs.push_back({copy, 0, {}});
    }
  }
  const bool by_cgroup = settings_.source == machine::LoadSource::kCgroup;
  const std::string cgroup = settings_.cgroup;
  loop::run_blocking(
      loop_,
      [source = source_, spare = spare_, seen, by_cgroup, cgroup, power = power_] {
        (void)spare->give_back();
        if (by_cgroup) {
          auto runnable = source->runnable_below(cgroup);
          if (runnable) seen->runnable = *runnable;
        } else {
          auto load = source->system_load();
          if (load) seen->system_load_micros = load->load1_micros;
        }
        seen->owner.power = source->power(power);
        seen->owner.idle = source->idle(base::wall_seconds(loop::Loop::wall_now()));
        seen->inputs = machine::input_counts("");
        auto cpus = source->cpus();
        if (cpus) seen->cpus_millis = cpus->usable_millis;
        auto memory = source->memory();
        if (memory) seen->memory = *memory;
        auto since_boot = source->since_boot();
        if (since_boot) seen->since_boot = *since_boot;
        for (Seen::Job& job : seen->jobs) {
          auto runnable = source->runnable_below(job.copy.cgroup);
          if (runnable) job.runnable = *runnable;
          auto processes = source->processes_below(job.copy.cgroup);
          if (processes) job.processes = std::move(*processes);
        }
        seen->at = loop::Loop::now();
      },
      [this, seen, alive = alive_] {
        if (!*alive) return;
        busy_ = false;
        timer_.start(interval());
        finish(*seen);
      });
}

void Sampler::finish(const Seen& seen) {
  node::Sample sample;
  if (settings_.source == machine::LoadSource::kCgroup) {
    if (!average_) {
      average_.emplace(seen.at, settings_.window);
      average_began_ = seen.at;
    }
    average_->sample(seen.at, seen.runnable);
    sample.load_micros = average_->micros();
  } else {
    sample.load_micros = seen.system_load_micros;
  }
  sample.owner = seen.owner;
  const auto used = inputs_.update(seen.at, seen.inputs);
  if (used) sample.owner.idle = std::min(sample.owner.idle.value_or(*used), *used);
  power_ = seen.owner.power.state;
  sample.cpus_millis = settings_.cpus_millis.value_or(seen.cpus_millis);
  sample.memory_total_bytes = seen.memory.usable.total_bytes;
  sample.memory_free_bytes = seen.memory.usable.available_bytes;
  memory_available_ =
      static_cast<std::uint64_t>(std::max<std::int64_t>(sample.memory_free_bytes, 0));
  std::set<base::JobId> there;
  for (const Seen::Job& seen_job : seen.jobs) {
    const node::jobs::Job* job = describe_(seen_job.copy.job);
    if (job == nullptr) continue;
    const base::JobId id = seen_job.copy.job;
    node::JobSample one;
    one.job = id;
    one.pid = seen_job.copy.init.pid;
    measure_load(seen, id, job->spec.load_micros, seen_job.runnable,
                 age_of(seen_job.processes, seen.since_boot), one);
    probe::JobPast past;
    past.cpu_time = base::Duration(static_cast<std::int64_t>(job->spec.cpu_micros));
    past.age = std::chrono::seconds(std::max<std::int64_t>(
        base::wall_seconds(loop::Loop::wall_now()) - base::wall_seconds(job->spec.started_at), 0));
    past.arrived = seen.since_boot;
    const std::int64_t total = std::max<std::int64_t>(seen.memory.machine_total_bytes, 1);
    const probe::Usage usage =
        probe::usage_of_job(seen_job.processes, past, seen.since_boot, total);
    one.cpu_micros = usage.cpu_micros;
    one.memory_micros = usage.memory_micros;
    one.scum_micros = probe::scum_of(usage).total_micros();
    one.cpu_time_micros =
        static_cast<std::uint64_t>(probe::cpu_time_of_job(seen_job.processes, past).count());
    for (const probe::ProcessSample& process : seen_job.processes) {
      one.memory_bytes += process.rss_bytes;
    }
    if (settings_.source == machine::LoadSource::kSystem) {
      one.hidden_load_micros = hidden_load(seen.at, seen_job.copy, seen_job.runnable,
                                           one.cpu_time_micros, sample.cpus_millis);
    }
    there.insert(id);
    sample.jobs.push_back(std::move(one));
  }
  std::erase_if(job_averages_, [&](const auto& known) { return !there.contains(known.first); });
  std::erase_if(held_back_, [&](const auto& h) { return !job_averages_.contains(h.first); });
  sink_(std::move(sample));
}

void Sampler::measure_load(const Seen& seen, const base::JobId& id, std::int64_t known_micros,
                           std::uint32_t runnable, base::Duration age, node::JobSample& out) {
  const auto found = job_averages_.try_emplace(
      id,
      JobAverage{probe::LoadAverage(seen.at, settings_.window, known_micros), known_micros > 0});
  JobAverage& known = found.first->second;
  known.average.sample(seen.at, runnable);
  out.load_micros = known.average.measured_micros();
  // What came is in the node's effective load from its arrival on.
  if (known.came) return;
  if (settings_.source == machine::LoadSource::kCgroup)
    age = std::min(age, seen.at - average_began_);
  const std::int64_t shown =
      out.load_micros - probe::not_shown_micros(out.load_micros, age, settings_.window);
  out.young_load_micros = out.load_micros - std::max(shown, known.average.micros());
}

std::int64_t Sampler::hidden_load(base::Time at, const CopyView& copy, std::uint32_t runnable,
                                  std::uint64_t cpu_time_micros, std::int64_t cpus_millis) {
  const auto [found, fresh] = held_back_.try_emplace(
      copy.job, HeldBack{probe::LoadAverage(at, settings_.window), at, cpu_time_micros});
  HeldBack& held = found->second;
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(at - held.at).count();
  // CPU time is counted in ticks of 10 ms: a shorter interval says little.
  if (!fresh && passed >= 200) {
    const std::uint64_t had = cpu_time_micros - std::min(cpu_time_micros, held.cpu_time_micros);
    const auto rate =
        static_cast<std::int64_t>(std::min<std::uint64_t>(had, INT64_MAX / 1000)) * 1000 / passed;
    held.average.sample(at,
                        probe::held_back_millis({runnable, rate, copy.limit_micros, cpus_millis}));
    held.at = at;
    held.cpu_time_micros = cpu_time_micros;
  }
  return held.average.micros() / 1000;
}

}  // namespace ternd
