#include "node/throttles.h"

#include <algorithm>

#include "base/wire.h"
#include "node/event.h"
#include "probe/decay.h"
#include "probe/limits.h"
#include "probe/scum.h"

namespace node {
namespace {

constexpr std::uint64_t kVersionMax = 2;
constexpr std::int64_t kMillion = 1'000'000;
constexpr char kPrefix[] = "throttle/";
constexpr int kSettled = 4;  // windows, after which an average shows what the job is
constexpr std::int64_t kUseMax = probe::kCpusMillisMax * 1000;  // of CPU, in millionths
constexpr std::int64_t kTimeMax = std::int64_t{1} << 50;        // microseconds: 35 years
// Samples closer together say little of CPU time, which is counted in ticks of 10 ms.
constexpr base::Duration kIntervalMin = std::chrono::milliseconds(200);
static_assert(kTimeMax <= INT64_MAX / 1000 && probe::kLoadMicrosMax <= INT64_MAX / kMillion);

// time * share in millionths; both bounded.
std::int64_t part(std::int64_t time, std::int64_t share) {
  time = std::clamp<std::int64_t>(time, 0, kTimeMax);
  share = std::clamp<std::int64_t>(share, 0, kUseMax);
  return time / kMillion * share + time % kMillion * share / kMillion;
}

// The new average, `passed` after the old one.
std::int64_t faded(std::int64_t average, std::int64_t value, base::Duration passed,
                   base::Duration window) {
  const std::uint64_t decay = probe::decay_of(passed, window);
  const auto old =
      static_cast<std::int64_t>(probe::scale_down(static_cast<std::uint64_t>(average), decay));
  return old + static_cast<std::int64_t>(
                   probe::scale_down(static_cast<std::uint64_t>(value), probe::kDecayOne - decay));
}

}  // namespace

std::string throttle_key(const base::JobId& job) { return kPrefix + job.hex(); }

base::Bytes encode(const Throttle& t) {
  base::Writer w;
  const std::uint64_t version = t.is_owners ? 2 : 1;
  w.array(8 + version)
      .u64(version)
      .counter(t.epoch)
      .boolean(t.is_persons)
      .boolean(t.is_settled)
      .i64(t.limit_micros);
  w.i64(t.changed.time_since_epoch().count()).i64(t.used_micros).i64(t.load_micros);
  w.i64(t.taken_micros);
  if (version > 1) w.boolean(t.is_owners);
  return w.take();
}

base::Result<Throttle> decode_throttle(base::ByteView bytes) {
  base::Reader r(bytes);
  Throttle t;
  const std::size_t fields = r.array(8 + kVersionMax);
  const std::uint64_t version = r.u64();
  if (version == 0 || version > kVersionMax || fields != 8 + version) {
    r.reject("an unknown version of a throttle's record");
  }
  t.epoch = r.counter<base::Epoch>();
  t.is_persons = r.boolean();
  t.is_settled = r.boolean();
  t.limit_micros = r.i64();
  const std::int64_t changed = r.i64();
  t.changed = base::Time(base::Duration(changed));
  t.used_micros = r.i64();
  t.load_micros = r.i64();
  t.taken_micros = r.i64();
  if (version > 1) t.is_owners = r.boolean();
  if (t.is_owners && t.is_persons) r.reject("a throttle of two words");
  const auto within = [](std::int64_t value, std::int64_t most) {
    return value >= 0 && value <= most;
  };
  const bool never = t.changed == base::Time::min();
  if (!(never || within(changed, INT64_MAX / 2)) || !within(t.limit_micros, kUseMax) ||
      !within(t.used_micros, kUseMax) || !within(t.load_micros, probe::kLoadMicrosMax) ||
      !within(t.taken_micros, kTimeMax)) {
    r.reject("a throttle out of bounds");
  }
  if (base::Status status = r.finish(); !status) return status.error();
  return t;
}

Throttles::Throttles(const Records& records, base::Duration window)
    : window_(std::clamp(window, probe::kLoadWindowMin, probe::kLoadWindowMax)) {
  for (auto it = records.lower_bound(kPrefix); it != records.end(); ++it) {
    if (it->first.rfind(kPrefix, 0) != 0) break;
    const auto job = base::JobId::from_hex_text(it->first.substr(sizeof(kPrefix) - 1));
    auto throttle = decode_throttle(it->second);
    if (job && throttle) throttles_.emplace(*job, *throttle);
  }
}

const Throttle* Throttles::find(const base::JobId& job) const {
  const auto found = throttles_.find(job);
  return found == throttles_.end() ? nullptr : &found->second;
}

bool Throttles::fails(base::Time now, const base::JobId& job) const {
  const auto found = failed_.find(job);
  return found != failed_.end() && now - found->second < kThrottleRetry;
}

// ---- what a job uses

std::vector<std::string> Throttles::sampled(base::Time now, const std::vector<JobSample>& jobs,
                                            const std::map<base::JobId, base::Epoch>& stays) {
  std::vector<std::string> dropped;
  for (auto it = throttles_.begin(); it != throttles_.end();) {
    const auto stay = stays.find(it->first);
    const bool holds = stay != stays.end() && stay->second == it->second.epoch;
    if (!holds) dropped.push_back(throttle_key(it->first));
    it = holds ? std::next(it) : throttles_.erase(it);
  }
  std::erase_if(uses_, [&](const auto& use) { return !stays.contains(use.first); });
  std::erase_if(failed_, [&](const auto& f) { return !stays.contains(f.first); });
  for (const JobSample& job : jobs) {
    const auto stay = stays.find(job.job);
    if (stay != stays.end()) observe(now, job, stay->second);
  }
  return dropped;
}

void Throttles::stood(base::Time now, const base::JobId& job) {
  if (const auto use = uses_.find(job); use != uses_.end()) use->second.at = now;
}

bool Throttles::stays_on(const base::JobId& job, base::Epoch epoch) {
  if (const auto use = uses_.find(job); use != uses_.end()) use->second.epoch = epoch;
  const auto found = throttles_.find(job);
  if (found == throttles_.end() || found->second.epoch == epoch) return false;
  found->second.epoch = epoch;
  return true;
}

void Throttles::thawed(base::Time now, const base::JobId& job) {
  const auto found = uses_.find(job);
  if (found == uses_.end()) return;
  found->second.average_micros.reset();
  found->second.since = now;
  found->second.begins_anew = true;
}

bool Throttles::forget(const base::JobId& job) {
  uses_.erase(job);
  failed_.erase(job);
  return throttles_.erase(job) != 0;
}

void Throttles::observe(base::Time now, const JobSample& job, base::Epoch epoch) {
  if (const auto known = uses_.find(job.job); known != uses_.end()) {
    if (known->second.epoch != epoch) uses_.erase(known);
  }
  const auto [found, fresh] = uses_.try_emplace(job.job);
  Use& use = found->second;
  use.epoch = epoch;
  const Throttle* throttle = find(job.job);
  if (fresh) {
    use.since = now;
    if (throttle != nullptr) {  // this daemon has just started
      use.taken_micros = throttle->taken_micros;
      if (throttle->limit_micros != 0 && throttle->changed <= now) {
        use.taken_micros +=
            part((now - throttle->changed).count(), throttle->used_micros - throttle->limit_micros);
      }
    }
  } else if (use.begins_anew) {
    use.begins_anew = false;
  } else if (now - use.at < kIntervalMin) {
    return;
  } else {
    const base::Duration passed = now - use.at;
    const std::uint64_t had =
        job.cpu_time_micros - std::min(job.cpu_time_micros, use.cpu_time_micros);
    const auto gained = static_cast<std::int64_t>(std::min<std::uint64_t>(had, kTimeMax));
    const std::int64_t rate = std::min(gained * 1000 / (passed.count() / 1000), kUseMax);
    use.average_micros = faded(use.average_micros.value_or(rate), rate, passed, window_);
    if (throttle != nullptr && throttle->limit_micros != 0 && throttle->load_micros > 0) {
      const std::int64_t wants = std::min(job.load_micros, throttle->load_micros);
      const std::int64_t before = part(throttle->used_micros, std::max<std::int64_t>(wants, 0) *
                                                                  kMillion / throttle->load_micros);
      use.taken_micros = std::min(
          use.taken_micros + std::max<std::int64_t>(part(passed.count(), before) - gained, 0),
          kTimeMax);
    }
  }
  use.at = now;
  use.cpu_time_micros = job.cpu_time_micros;
  use.load_micros = job.load_micros;
}

std::optional<std::int64_t> Throttles::used(const base::JobId& job) const {
  const auto found = uses_.find(job);
  return found == uses_.end() ? std::nullopt : found->second.average_micros;
}

// ---- changes

Throttle& Throttles::stay(const base::JobId& job, base::Epoch epoch) {
  Throttle& throttle = throttles_[job];
  if (throttle.epoch != epoch) throttle = Throttle{};
  throttle.epoch = epoch;
  return throttle;
}

void Throttles::set_limit(base::Time now, const base::JobId& job, Throttle& throttle,
                          std::int64_t limit) {
  const auto use = uses_.find(job);
  // As before the throttle that is there, where one limit follows another.
  if (limit != 0 && throttle.limit_micros == 0 && use != uses_.end()) {
    throttle.used_micros = use->second.average_micros.value_or(0);
    throttle.load_micros = use->second.load_micros;
    throttle.is_settled = now - use->second.since >= kSettled * window_;
    throttle.load_micros = std::max(throttle.load_micros, throttle.used_micros);
  }
  throttle.limit_micros = limit;
  throttle.changed = now;
  throttle.taken_micros = use == uses_.end() ? 0 : use->second.taken_micros;
}

bool Throttles::by_rule(base::Time now, const base::JobId& job, base::Epoch epoch, bool on) {
  const Throttle* known = find(job);
  const bool is_on = known != nullptr && known->epoch == epoch && known->limit_micros != 0;
  if (is_on == on || fails(now, job)) return false;
  if (known != nullptr && known->epoch == epoch && (known->is_persons || known->is_owners)) {
    return false;
  }
  if (!on) {
    set_limit(now, job, stay(job, epoch), 0);
    return true;
  }
  const std::optional<std::int64_t> use = used(job);
  if (!use) return false;
  set_limit(now, job, stay(job, epoch), std::max(*use / 2, kThrottleLeast));
  return true;
}

bool Throttles::by_owner(base::Time now, const base::JobId& job, base::Epoch epoch, bool on) {
  const Throttle* known = find(job);
  const bool holds = known != nullptr && known->epoch == epoch;
  const bool is_on = holds && known->is_owners;
  if (is_on == on || (holds && known->is_persons)) return false;
  if (on && fails(now, job)) return false;
  if (!on || !holds || known->limit_micros == 0) {
    const std::optional<std::int64_t> use = used(job);
    if (on && !use) return false;
    set_limit(now, job, stay(job, epoch), on ? std::max(*use / 2, kThrottleLeast) : 0);
  }
  throttles_[job].is_owners = on;
  return true;
}

void Throttles::by_person(base::Time now, const base::JobId& job, base::Epoch epoch,
                          std::optional<std::int64_t> limit_micros) {
  Throttle& throttle = stay(job, epoch);
  failed_.erase(job);
  if (!limit_micros && throttle.is_persons && throttle.limit_micros != 0) {
    const bool knows = throttle.used_micros > 0;
    set_limit(now, job, throttle, knows ? std::max(throttle.used_micros / 2, kThrottleLeast) : 0);
    if (!knows) thawed(now, job);
  }
  throttle.is_persons = limit_micros.has_value();
  throttle.is_owners = throttle.is_owners && !throttle.is_persons;
  if (limit_micros && *limit_micros != throttle.limit_micros) {
    set_limit(now, job, throttle, std::clamp<std::int64_t>(*limit_micros, 0, kUseMax));
  }
}

void Throttles::in_force(base::Time now, const base::JobId& job) {
  const auto found = throttles_.find(job);
  if (found != throttles_.end()) found->second.changed = now;
}

void Throttles::failed(base::Time now, const base::JobId& job) {
  failed_[job] = now;
  const auto found = throttles_.find(job);
  if (found == throttles_.end()) return;
  found->second.is_persons = found->second.is_owners = false;
  set_limit(now, job, found->second, 0);
}

// ---- as before the throttle

std::int64_t Throttles::load_bound(base::Time now, const base::JobId& job) const {
  const Throttle* throttle = find(job);
  // Its own average takes a window and more to fall to what the job is, once it is lifted.
  const bool shows = throttle != nullptr && throttle->is_settled &&
                     (throttle->limit_micros != 0 ||
                      now - std::max(throttle->changed, base::Time{}) < 3 * window_);
  return shows ? throttle->load_micros : probe::kLoadMicrosMax;
}

JobSample Throttles::counted(base::Time now, const JobSample& job) const {
  JobSample out = job;
  out.load_micros = std::min(job.load_micros, load_bound(now, job.job));
  const auto use = uses_.find(job.job);
  if (use == uses_.end() || use->second.taken_micros == 0 || job.cpu_micros <= 0) return out;
  const std::int64_t time = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(std::min<std::uint64_t>(job.cpu_time_micros, kTimeMax)), 1,
      kTimeMax);
  const std::int64_t taken = std::min(use->second.taken_micros, kTimeMax);
  // Both times in units that keep the product small.
  const std::int64_t unit = std::max<std::int64_t>(std::max(time, taken) >> 30, 1);
  const std::int64_t more = (taken / unit) * 1024 / std::max<std::int64_t>(time / unit, 1);
  const std::int64_t share = std::min(job.cpu_micros, kUseMax);
  out.cpu_micros = std::min(share + share / 1024 * std::min<std::int64_t>(more, 1 << 20) +
                                share % 1024 * std::min<std::int64_t>(more, 1 << 20) / 1024,
                            kUseMax);
  const auto term = [](std::int64_t cpu) {
    return probe::scum_of({cpu, 0, base::Duration(0)}).total_micros();
  };
  out.scum_micros = job.scum_micros - term(job.cpu_micros) + term(out.cpu_micros);
  return out;
}

std::int64_t Throttles::load_correction(base::Time now, const JobSample& job) const {
  const std::int64_t old = std::max<std::int64_t>(job.load_micros - job.young_load_micros, 0);
  const std::int64_t hidden = std::clamp<std::int64_t>(job.hidden_load_micros, 0, old);
  return hidden + std::min(old, load_bound(now, job.job)) - old;
}

}  // namespace node
