#include "sim/settled.h"

#include <algorithm>

#include "balance/limits.h"
#include "gossip/limits.h"
#include "probe/trit.h"
#include "sim/meeting.h"
#include "sim/world.h"

namespace sim {
namespace {

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
    if (!copy.frozen || world.now() - copy.frozen_at < kOutcomes) continue;
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
  // What others know of it may be as far behind as is not worth telling.
  const std::int64_t untold =
      to.shape().memory_bytes / static_cast<std::int64_t>(gossip::kMemoryStepPart);
  std::int64_t free = to.shape().memory_bytes * 3 / 4 - untold;
  for (const Copy& copy : to.copies()) free -= world.jobs()[copy.job].plan.memory_bytes;
  return std::any_of(from.copies().begin(), from.copies().end(), [&](const Copy& copy) {
    const JobTruth& job = world.jobs()[copy.job];
    const std::int64_t load = job.plan.threads * 1'000'000;
    const std::int64_t high_after = high - load * 1000 / from.shape().cpus_millis;
    const std::int64_t low_after = low + load * 1000 / to.shape().cpus_millis;
    const bool closer = std::abs(high_after - low_after) * 100 < std::abs(high - low) * 95;
    return !copy.frozen && closer && low_after * 100 <= probe::kPlusAboveMicros * 95 &&
           job.plan.memory_bytes * 10 < free * 9;
  });
}

void check_shedding(World& world, const Meeting& meeting, std::uint32_t source) {
  if (world.now() - world.last_change() < kLevel) return;
  const Promises::Seated* seat = world.promises().seated(source);
  // It has no other seat.
  if (seat != nullptr && is_undecidable(world, meeting, source, seat->triad)) return;
  const std::int64_t ratio = world.machine(source).settled_ratio_micros();
  if (ratio <= probe::kPlusAboveMicros + 2 * probe::kTritMarginMicros) return;
  for (std::uint32_t sink = 0; sink < world.hosts(); ++sink) {
    if (sink == source || !can_be_asked(world, sink) || !meeting.finds(source, sink)) continue;
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
    return world.promises().broke("sheds", source,
                                  "PLUS at " + std::to_string(ratio / 1000) +
                                      " thousandths while n" + std::to_string(sink) +
                                      " could take");
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
    if (whole) check_shedding(world, meeting, host);
  }
}

}  // namespace sim
