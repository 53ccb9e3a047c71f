#include "sim/settled.h"

#include <algorithm>

#include "balance/limits.h"
#include "balance/rules.h"
#include "gossip/limits.h"
#include "probe/scum.h"
#include "probe/trit.h"
#include "sim/meeting.h"
#include "sim/world.h"

namespace sim {
namespace {

constexpr base::Duration kThrottleHeard = std::chrono::seconds(4);  // stored, and with the host

bool is_up(const World& world, std::uint32_t host) {
  return world.node(host) != nullptr && !world.is_off(host) && !world.is_clone(host);
}

// Whether so many members are gone, or cannot be found, that `from` hears of no decision.
bool is_undecidable(const World& world, const Meeting& meeting, std::uint32_t from,
                    const base::TriadId& triad) {
  const balance::FormRecord* form = world.promises().form(triad);
  if (form == nullptr || world.promises().excused(triad)) return true;
  std::size_t up = 0;
  for (const balance::Member& member : form->members) {
    const std::uint32_t host = world.host_of(member.node);
    if (host == kNobody || !is_up(world, host) || !meeting.finds(from, host)) continue;
    up += world.store(host) == member.store ? 1U : 0U;
  }
  return up * 2 <= form->members.size();
}

// A committed move of which only the sink knows whether its copy runs, and the sink is away: the
// original waits for it or for a person (design.md §4.6).
bool waits_for_sink(const World& world, const Meeting& meeting, std::uint32_t source,
                    const balance::HandoverId& id) {
  const balance::FormRecord* form = world.promises().form(id.triad);
  if (form == nullptr || world.promises().outcome(id) != balance::Decision::kCommit) return false;
  const std::uint32_t sink = world.host_of(form->seat(balance::Seat::kSink)->node);
  return sink == kNobody || !is_up(world, sink) || !meeting.finds(source, sink);
}

void check_view(World& world, const Meeting& meeting, std::uint32_t host) {
  std::size_t expected = 0;
  for (std::uint32_t other = 0; other < world.hosts(); ++other) {
    expected += can_be_asked(world, other) && meeting.finds(host, other) ? 1U : 0U;
  }
  std::size_t live = 0;
  for (const node::StatusNode& seen : world.node(host)->status().nodes) {
    const std::uint32_t other = world.host_of(seen.view.id);
    if (other == kNobody || !can_be_asked(world, other)) continue;
    if (!meeting.finds(host, other)) continue;
    const bool alive = seen.self || seen.view.state == gossip::State::kAlive;
    live += alive ? 1U : 0U;
    if (alive) continue;
    world.promises().broke("views-agree", host,
                           "it does not see that n" + std::to_string(other) + " is alive");
  }
  if (expected > gossip::kViewMax || live >= expected) return;
  world.promises().broke("views-agree", host,
                         "it knows " + std::to_string(live) + " of " + std::to_string(expected));
}

void check_outcomes(World& world, const Meeting& meeting, std::uint32_t host) {
  for (const Copy& copy : world.machine(host).copies()) {
    if (!copy.frozen || copy.parked || world.now() - copy.frozen_at < kOutcomes) continue;
    if (world.promises().excused_job(copy.job)) continue;
    if (is_undecidable(world, meeting, host, copy.frozen_for.triad)) continue;
    if (waits_for_sink(world, meeting, host, copy.frozen_for)) continue;
    world.promises().broke("outcome", host, "job " + std::to_string(copy.job) + " stays frozen");
  }
  const Promises::Seated* seat = world.promises().seated(host);
  if (seat == nullptr || world.now() - seat->since < kOutcomes) return;
  if (is_undecidable(world, meeting, host, seat->triad)) return;
  // A job of the triad that moves on and on would keep it; nothing in these worlds is so large.
  world.promises().broke("seats-end", host,
                         "triad " + seat->triad.brief() + " since " +
                             std::to_string((world.now() - seat->since).count() / 1'000'000) +
                             " s");
}

// One job that a PLUS node could give to a MINUS node that has room, by design.md §2 and with what
// the machines really carry; `low` is the sink's ratio.
bool could_take(const World& world, std::uint32_t source, std::uint32_t sink, std::int64_t low) {
  const Machine& from = world.machine(source);
  const Machine& to = world.machine(sink);
  const std::int64_t high = from.settled_ratio_micros();
  // What others know of it may be as far behind as is not worth telling (seed 439).
  low += gossip::kRatioStepMilli * 1000;
  const std::int64_t untold =
      to.shape().memory_bytes / static_cast<std::int64_t>(gossip::kMemoryStepPart);
  std::int64_t free =
      to.shape().memory_bytes * 3 / 4 - untold - balance::memory_reserve(to.shape().memory_bytes);
  for (const Copy& copy : to.copies()) free -= world.jobs()[copy.job].plan.memory_bytes;
  return std::any_of(from.copies().begin(), from.copies().end(), [&](const Copy& copy) {
    const JobTruth& job = world.jobs()[copy.job];
    const std::int64_t load = job.plan.threads * 1'000'000;
    const std::int64_t high_after = high - load * 1000 / from.shape().cpus_millis;
    const std::int64_t low_after = low + load * 1000 / to.shape().cpus_millis;
    const bool closer = std::abs(high_after - low_after) * 100 < std::abs(high - low) * 95;
    return !copy.frozen && closer && low_after * 100 <= probe::kPlusAboveMicros * 99 &&
           job.plan.memory_bytes * 10 < free * 9;
  });
}

// Where there is a third node, one has to sit with the two (design.md §3): not if each of those is
// kept by a triad that cannot be decided any more.
bool has_third(const World& world, const Meeting& meeting, std::uint32_t source,
               std::uint32_t sink) {
  bool any = false;
  for (std::uint32_t third = 0; third < world.hosts(); ++third) {
    if (third == source || third == sink || !can_be_asked(world, third)) continue;
    if (!meeting.finds(source, third)) continue;
    const Promises::Seated* seat = world.promises().seated(third);
    if (seat == nullptr || !is_undecidable(world, meeting, third, seat->triad)) return true;
    any = true;
  }
  return !any;
}

bool takes_guests(const World& world, std::uint32_t host) {
  return can_be_asked(world, host) && !world.node(host)->draining();
}

bool clearly_minus(const World& world, std::uint32_t host) {
  const Machine& machine = world.machine(host);
  const std::int64_t shown = probe::ratio_micros(
      machine.sample(world.now(), world.jobs()).load_micros, machine.shape().cpus_millis);
  const std::int64_t minus = probe::kMinusBelowMicros - 2 * probe::kTritMarginMicros;
  return machine.settled_ratio_micros() < minus && shown < minus;
}

bool has_ample_room(const World& world, std::uint32_t sink, const Copy& parked) {
  const Machine& to = world.machine(sink);
  const std::int64_t untold =
      to.shape().memory_bytes / static_cast<std::int64_t>(gossip::kMemoryStepPart);
  std::int64_t free = to.shape().memory_bytes * 3 / 4 - untold;
  for (const Copy& copy : to.copies()) free -= world.jobs()[copy.job].plan.memory_bytes;
  const std::int64_t after =
      to.settled_ratio_micros() + parked.facts.load_micros * 1000 / to.shape().cpus_millis;
  return after * 100 <= probe::kPlusAboveMicros * 90 && parked.facts.memory_bytes * 10 < free * 9;
}

void check_shedding(World& world, const Meeting& meeting, std::uint32_t source) {
  if (world.now() - world.last_change() < kLevel) return;
  const Promises::Seated* seat = world.promises().seated(source);
  // It has no other seat.
  if (seat != nullptr && is_undecidable(world, meeting, source, seat->triad)) return;
  const std::int64_t ratio = world.machine(source).settled_ratio_micros();
  if (ratio <= probe::kPlusAboveMicros + 2 * probe::kTritMarginMicros) return;
  for (std::uint32_t sink = 0; sink < world.hosts(); ++sink) {
    if (sink == source || !takes_guests(world, sink) || !meeting.finds(source, sink)) continue;
    const std::int64_t low = world.machine(sink).settled_ratio_micros();
    const Promises::Seated* taken = world.promises().seated(sink);
    if (taken != nullptr && is_undecidable(world, meeting, sink, taken->triad)) continue;
    // Of what ended long ago a load average still shows a little: near a threshold that counts.
    const std::int64_t shown =
        probe::ratio_micros(world.machine(sink).sample(world.now(), world.jobs()).load_micros,
                            world.machine(sink).shape().cpus_millis);
    const std::int64_t minus = probe::kMinusBelowMicros - 2 * probe::kTritMarginMicros;
    if (low >= minus || shown >= minus) continue;
    if (!could_take(world, source, sink, std::max(low, shown))) continue;
    if (!has_third(world, meeting, source, sink)) continue;
    return world.promises().broke("sheds", source,
                                  "PLUS at " + std::to_string(ratio / 1000) +
                                      " thousandths while n" + std::to_string(sink) +
                                      " could take");
  }
}

// One job that a node which is short of memory could give to a MINUS node that has much of it.
void check_memory(World& world, const Meeting& meeting, std::uint32_t source) {
  if (world.now() - world.last_change() < kLevel) return;
  if (world.promises().seated(source) != nullptr) return;
  const Machine& from = world.machine(source);
  const node::Sample here = from.sample(world.now(), world.jobs());
  if (here.memory_free_bytes * 10 >= balance::memory_reserve(here.memory_total_bytes) * 9) return;
  for (std::uint32_t sink = 0; sink < world.hosts(); ++sink) {
    if (sink == source || !takes_guests(world, sink) || !meeting.finds(source, sink)) continue;
    if (world.promises().seated(sink) != nullptr) continue;
    const Machine& to = world.machine(sink);
    const node::Sample there = to.sample(world.now(), world.jobs());
    const std::int64_t low = std::max(to.settled_ratio_micros(),
                                      probe::ratio_micros(there.load_micros, there.cpus_millis));
    if (low >= probe::kMinusBelowMicros - 2 * probe::kTritMarginMicros) continue;
    for (const Copy& copy : from.copies()) {
      const JobTruth& job = world.jobs()[copy.job];
      const std::int64_t load = job.plan.threads * 1'000'000;
      // Half of it stays free: then the shares come closer for certain.
      const bool much =
          (there.memory_free_bytes - job.plan.memory_bytes) * 2 > there.memory_total_bytes;
      const bool fits = low + load * 1000 / there.cpus_millis < probe::kPlusAboveMicros * 95 / 100;
      if (copy.frozen || !much || !fits || world.promises().excused_job(copy.job)) continue;
      return world.promises().broke("memory", source,
                                    "short of memory while n" + std::to_string(sink) +
                                        " could take job " + std::to_string(copy.job));
    }
  }
}

// Between the thresholds for certain, or below for certain: what is there and what still shows.
enum class Sure : std::uint8_t { kNo, kMinus, kErgodic };
Sure sure_trit(const Machine& machine) {
  const std::int64_t shown =
      probe::ratio_micros(machine.load_micros(), machine.shape().cpus_millis);
  const auto [low, high] = std::minmax({shown, machine.settled_ratio_micros()});
  constexpr std::int64_t kMargin = 2 * probe::kTritMarginMicros;
  if (high < probe::kMinusBelowMicros - kMargin) return Sure::kMinus;
  const bool between =
      low > probe::kMinusBelowMicros + kMargin && high < probe::kPlusAboveMicros - kMargin;
  return between ? Sure::kErgodic : Sure::kNo;
}

void check_throttles(World& world, std::uint32_t host) {
  if (world.asleep(host) || world.now() - world.born(host) < kLevel) return;
  const node::Node& node = *world.node(host);
  const Machine& machine = world.machine(host);
  const bool quiet = world.now() - world.last_change() >= kLevel;
  const Sure trit = sure_trit(machine);
  for (const node::JobSample& seen : machine.sample(world.now(), world.jobs()).jobs) {
    const std::uint32_t index = world.job_index(seen.job);
    const Copy& copy = *machine.find(index);
    const auto unsettled = node.unsettled();
    const bool in_doubt = std::any_of(unsettled.begin(), unsettled.end(),
                                      [&](const auto& end) { return end.job == seen.job; });
    if (copy.frozen || in_doubt || world.promises().excused_job(index)) continue;
    if (world.now() - copy.limited < kPaceSettled) continue;
    const std::string name = "job " + std::to_string(index);
    const node::Throttle* throttle = node.throttle_of(seen.job);
    // Decided just now: the host hears of it once that is stored (seed 13451). By its own clock,
    // which drifts by less.
    const bool hears = throttle != nullptr && throttle->changed != base::Time::min() &&
                       world.now() - throttle->changed < kThrottleHeard;
    const std::int64_t said = throttle == nullptr ? 0 : throttle->limit_micros;
    if (!hears && said != copy.limit_micros) {
      world.promises().broke("throttle-holds", host,
                             name + " may use " + std::to_string(copy.limit_micros / 1000) +
                                 " thousandths of a CPU, and its node says " +
                                 std::to_string(said / 1000));
    }
    if (!hears && throttle != nullptr && throttle->is_owners) {
      world.promises().broke("owner-gone", host, name + " is throttled, and nobody is there");
    }
    if (!quiet || (throttle != nullptr && throttle->is_persons)) continue;
    if (trit == Sure::kMinus && copy.limit_micros != 0) {
      world.promises().broke("throttle-lifted", host, name + " is throttled on a MINUS node");
    }
    const bool hog = seen.scum_micros > probe::kHogAboveMicros * 21 / 20;
    if (trit == Sure::kErgodic && hog && copy.limit_micros == 0) {
      world.promises().broke("throttles", host, name + " is a hog on an ERGODIC node");
    }
  }
}

void check_pauses(World& world, std::uint32_t host) {
  if (world.asleep(host) || world.now() - world.born(host) < kLevel) return;
  for (const Copy& copy : world.machine(host).copies()) {
    if (!copy.paused || copy.frozen || world.promises().excused_job(copy.job)) continue;
    world.promises().broke("goes-on", host,
                           "job " + std::to_string(copy.job) + " is paused, and nobody is there");
  }
}

// S, where nobody near a threshold is counted in favour of waking.
int careful_sum(const World& world) {
  int sum = 0;
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    if (world.is_off(host) || world.node(host) == nullptr) continue;
    if (world.node(host)->status().trit == probe::Trit::kMinus && clearly_minus(world, host)) --sum;
    const std::int64_t ratio = world.machine(host).settled_ratio_micros();
    if (ratio > probe::kPlusAboveMicros - 100'000) ++sum;
  }
  return sum;
}

// A parked job, S < 0 and a MINUS node that has ample room for it.
void check_waking(World& world, const Meeting& meeting, std::uint32_t source) {
  if (world.now() - world.last_change() < kLevel || careful_sum(world) >= 0) return;
  if (world.node(source)->status().sum >= 0) return;
  const Promises::Seated* seat = world.promises().seated(source);
  if (seat != nullptr && is_undecidable(world, meeting, source, seat->triad)) return;
  for (const Copy& copy : world.machine(source).copies()) {
    if (!copy.parked || world.now() - copy.frozen_at < kLevel) continue;
    if (world.promises().excused_job(copy.job)) continue;
    if (is_undecidable(world, meeting, source, copy.frozen_for.triad)) continue;
    if (waits_for_sink(world, meeting, source, copy.frozen_for)) continue;
    for (std::uint32_t sink = 0; sink < world.hosts(); ++sink) {
      if (!takes_guests(world, sink)) continue;
      if (sink != source && !meeting.finds(source, sink)) continue;
      const Promises::Seated* taken = world.promises().seated(sink);
      if (taken != nullptr && is_undecidable(world, meeting, sink, taken->triad)) continue;
      if (!clearly_minus(world, sink) || !has_ample_room(world, sink, copy)) continue;
      return world.promises().broke("wakes", source,
                                    "job " + std::to_string(copy.job) + " stays parked while n" +
                                        std::to_string(sink) + " could take it");
    }
  }
}

}  // namespace

void check_views(World& world) {
  const Meeting meeting(world);
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    if (can_be_asked(world, host)) check_view(world, meeting, host);
  }
}

void check_settled(World& world) {
  check_views(world);
  const Meeting meeting(world);
  const bool whole = world.hosts() <= gossip::kViewMax;
  for (std::uint32_t host = 0; host < world.hosts(); ++host) {
    if (world.is_off(host) || world.is_clone(host)) continue;
    if (world.promises().excused_host(host)) continue;
    if (world.node(host) == nullptr) {
      world.promises().broke("stays-up", host, "its daemon is down");
      continue;
    }
    check_outcomes(world, meeting, host);
    check_throttles(world, host);
    check_pauses(world, host);
    if (whole) check_shedding(world, meeting, host);
    if (whole) check_memory(world, meeting, host);
    if (whole) check_waking(world, meeting, host);
  }
}

}  // namespace sim
