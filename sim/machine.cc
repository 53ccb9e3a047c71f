#include "sim/machine.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "probe/sample.h"
#include "probe/scum.h"

namespace sim {
namespace {

constexpr std::int64_t kMicros = 1'000'000;
constexpr std::size_t kOutputPeriod = 251 * 256;  // of output_byte()

const std::array<std::uint8_t, kOutputPeriod>& one_period() {
  static const auto kBytes = [] {
    std::array<std::uint8_t, kOutputPeriod> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = output_byte(i);
    return bytes;
  }();
  return kBytes;
}

// As the pieces of a period that `size` bytes from `offset` are made of.
template <typename Piece>
void in_pieces(std::uint64_t offset, std::size_t size, const Piece& piece) {
  for (std::size_t done = 0; done < size;) {
    const std::size_t from = (offset + done) % kOutputPeriod;
    const std::size_t count = std::min(size - done, kOutputPeriod - from);
    piece(done, base::ByteView(one_period()).subspan(from, count));
    done += count;
  }
}

}  // namespace

void fill_output(std::uint64_t offset, base::MutableByteView out) {
  in_pieces(offset, out.size(), [&](std::size_t at, base::ByteView piece) {
    std::copy(piece.begin(), piece.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
  });
}

bool is_output(std::uint64_t offset, base::ByteView bytes) {
  bool same = true;
  in_pieces(offset, bytes.size(), [&](std::size_t at, base::ByteView piece) {
    same = same && std::equal(piece.begin(), piece.end(), bytes.subspan(at).begin());
  });
  return same;
}

Machine::Machine(const NodeShape& shape, base::Time now)
    : shape_(shape), load_(now), held_back_(now), settled_(now) {}

Copy* Machine::find(std::uint32_t job) {
  for (Copy& copy : copies_) {
    if (copy.job == job) return &copy;
  }
  return nullptr;
}

const Copy* Machine::find(std::uint32_t job) const {
  for (const Copy& copy : copies_) {
    if (copy.job == job) return &copy;
  }
  return nullptr;
}

Copy& Machine::add(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job,
                   base::Epoch epoch, std::int64_t load_micros) {
  CHECK(find(job) == nullptr);
  settle(now, jobs);
  threads_.push_back(jobs[job].plan.threads);
  Copy copy{job, false, epoch, probe::LoadAverage(now, probe::kLoadWindowDefault, load_micros),
            {},  {}};
  copy.held_back = probe::LoadAverage(now);
  copies_.push_back(std::move(copy));
  jobs[job].epoch = std::max(jobs[job].epoch, epoch);
  return copies_.back();
}

bool Machine::remove(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job) {
  settle(now, jobs);
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    if (copies_[i].job != job) continue;
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(i));
    threads_.erase(threads_.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

void Machine::freeze(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job,
                     const balance::HandoverId& id) {
  settle(now, jobs);
  if (Copy* copy = find(job)) {
    copy->frozen = true;
    copy->frozen_at = now;
    copy->frozen_for = id;
  }
}

void Machine::thaw(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job) {
  settle(now, jobs);
  if (Copy* copy = find(job)) copy->frozen = false;
}

void Machine::limit(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job,
                    std::int64_t micros) {
  settle(now, jobs);
  Copy* copy = find(job);
  if (copy == nullptr || copy->limit_micros == micros) return;
  copy->limit_micros = micros;
  copy->limited = now;
}

void Machine::pause(base::Time now, std::vector<JobTruth>& jobs, std::uint32_t job, bool on) {
  settle(now, jobs);
  if (Copy* copy = find(job)) copy->paused = on;
}

std::int64_t Machine::hidden_of_gone_micros() const {
  std::int64_t micros = hidden_micros();
  for (const Copy& copy : copies_) micros -= copy.parked ? 0 : copy.held_back.micros() / 1000;
  return std::max<std::int64_t>(micros, 0);
}

void Machine::sleep(base::Time now, std::vector<JobTruth>& jobs, bool asleep) {
  settle(now, jobs);
  asleep_ = asleep;
}

std::int64_t Machine::runnable_tasks() const {
  if (asleep_) return 0;
  std::int64_t tasks = shape_.other_load_micros / kMicros;
  for (std::size_t i = 0; i < copies_.size(); ++i) tasks += copies_[i].stands() ? 0 : threads_[i];
  return tasks;
}

std::int64_t Machine::task_speed_micros() const {
  const std::int64_t tasks = runnable_tasks();
  if (tasks * 1000 <= shape_.cpus_millis) return kMicros;
  return shape_.cpus_millis * 1000 / tasks;
}

// Of all of a copy's tasks together.
std::int64_t Machine::rate_micros(std::size_t copy, std::int64_t speed) const {
  const std::int64_t rate = speed * threads_[copy];
  const std::int64_t limit = copies_[copy].limit_micros;
  return limit == 0 ? rate : std::min(rate, limit);
}

void Machine::settle(base::Time now, std::vector<JobTruth>& jobs) {
  const base::Duration passed = now - settled_;
  settled_ = now;
  if (asleep_ || passed.count() <= 0) return;
  const std::int64_t speed = task_speed_micros();
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    const Copy& copy = copies_[i];
    JobTruth& job = jobs[copy.job];
    if (copy.stands() || job.ended) continue;
    const std::int64_t gain = copy.limit_micros == 0
                                  ? passed.count() * speed / kMicros * job.plan.threads
                                  : passed.count() * rate_micros(i, speed) / kMicros;
    job.progress_micros += std::min(gain, job.work_left());
  }
}

base::Time Machine::next_end(base::Time now, const std::vector<JobTruth>& jobs) const {
  if (asleep_) return base::kNever;
  const std::int64_t speed = task_speed_micros();
  std::int64_t least = INT64_MAX;
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    const Copy& copy = copies_[i];
    const JobTruth& job = jobs[copy.job];
    if (copy.stands() || job.ended || job.work_left() == INT64_MAX) continue;
    const std::int64_t rate = std::max<std::int64_t>(rate_micros(i, speed), 1);
    least = std::min(least, job.work_left() * kMicros / rate + 1000);  // rounding: never at once
  }
  return least == INT64_MAX ? base::kNever : now + base::Duration(least);
}

void Machine::sample_load(base::Time now) {
  load_.sample(now, static_cast<std::uint32_t>(runnable_tasks()));
  const std::int64_t speed = task_speed_micros();
  std::int64_t held_back = 0;
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    const bool runs = !copies_[i].stands() && !asleep_;
    copies_[i].load.sample(now, runs ? static_cast<std::uint32_t>(threads_[i]) : 0);
    const std::int64_t full = std::max<std::int64_t>(speed * threads_[i], 1);
    const std::int64_t millis =
        runs ? threads_[i] * 1000 * (full - rate_micros(i, speed)) / full : 0;
    copies_[i].held_back.sample(now, static_cast<std::uint32_t>(millis));
    held_back += millis;
  }
  held_back_.sample(now, static_cast<std::uint32_t>(held_back));
}

node::Sample Machine::sample(base::Time now, const std::vector<JobTruth>& jobs) const {
  node::Sample sample;
  sample.load_micros = std::max<std::int64_t>(load_.micros() - hidden_micros(), 0);
  sample.cpus_millis = shape_.cpus_millis;
  sample.memory_total_bytes = shape_.memory_bytes;
  sample.memory_free_bytes = shape_.memory_bytes * 3 / 4;
  for (const Copy& copy : copies_) {
    if (copy.parked) continue;
    const JobTruth& job = jobs[copy.job];
    sample.memory_free_bytes -= job.plan.memory_bytes;
    node::JobSample one;
    one.job = job.id;
    one.load_micros = copy.load.measured_micros();
    one.young_load_micros = one.load_micros - copy.load.micros();
    one.hidden_load_micros = copy.held_back.micros() / 1000;
    one.memory_bytes = job.plan.memory_bytes;
    probe::Usage usage;
    usage.runtime = now - job.started;
    usage.cpu_micros =
        job.progress_micros * 1000 / std::max<std::int64_t>(usage.runtime.count() / 1000, 1000);
    usage.memory_micros =
        job.plan.memory_bytes / std::max<std::int64_t>(shape_.memory_bytes / kMicros, 1);
    one.cpu_micros = usage.cpu_micros;
    one.memory_micros = usage.memory_micros;
    one.scum_micros = probe::scum_of(usage).total_micros();
    one.cpu_time_micros = static_cast<std::uint64_t>(job.progress_micros);
    one.pid = 100 + copy.job;
    sample.jobs.push_back(one);
  }
  sample.memory_free_bytes = std::max<std::int64_t>(sample.memory_free_bytes, 0);
  return sample;
}

std::int64_t Machine::settled_ratio_micros() const {
  std::int64_t tasks = shape_.other_load_micros / kMicros;
  for (std::size_t i = 0; i < copies_.size(); ++i) tasks += copies_[i].stands() ? 0 : threads_[i];
  return probe::ratio_micros(tasks * kMicros, shape_.cpus_millis);
}

void Machine::power_off(base::Time now) {
  for (std::size_t i = copies_.size(); i-- > 0;) {
    if (copies_[i].parked && !copies_[i].woken) continue;
    copies_.erase(copies_.begin() + static_cast<std::ptrdiff_t>(i));
    threads_.erase(threads_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  asleep_ = false;
  settled_ = now;
  load_ = held_back_ = probe::LoadAverage(now);
}

}  // namespace sim
