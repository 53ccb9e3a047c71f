#include "sim/generate.h"

#include <algorithm>

#include "sim/draw.h"

namespace sim {
namespace {

using base::Duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kSettle = seconds(240);
constexpr std::uint64_t kMillion = 1'000'000;
constexpr std::uint64_t kOrdersMax = 12;       // of a restless world's people, for each job
constexpr std::uint64_t kFlappingOneIn = 5;    // worlds
constexpr int kLong = 6;                       // times as long: the dead are given up
constexpr std::uint32_t kLookedAtMax = 64;     // nodes; larger worlds have other ends
constexpr std::uint64_t kLooksMax = 3;         // of each kind
constexpr Duration kLooksAgain = seconds(80);  // after the faults: all see each other
constexpr Duration kLooksEnd = seconds(20);
constexpr std::uint64_t kDownsMax = 3;
constexpr std::uint64_t kDrainsMax = 2;
constexpr std::uint64_t kThrottlesMax = 3;  // of each job
constexpr Duration kDownLong = seconds(20);
constexpr Duration kResolvesAfter = seconds(60);  // after the faults
constexpr Duration kHandoverTakes = seconds(6);   // about: what strikes within strikes it

// Each decision has an ordinal of its own, so that none shifts another.
std::uint64_t drawn(const Draws& draws, std::uint64_t what, std::uint64_t bound) {
  return (draws.at(Stream::kPlan, kNobody, what) >> 32) * bound >> 32;
}

void plan_machines(Scenario& world, const Draws& draws) {
  for (std::uint32_t i = 0; i < world.nodes; ++i) {
    Dice dice(draws, Stream::kPlan, i);
    NodeShape shape;
    const std::int64_t cpus[] = {500, 1000, 2000, 4000, 4000, 8000, 16000};
    shape.cpus_millis = cpus[dice.below(std::size(cpus))];
    shape.memory_bytes = static_cast<std::int64_t>(1 + dice.below(32)) << 30;
    if (dice.below(4) == 0) shape.memory_bytes >>= 5;  // a board, where memory is what lacks
    const std::uint64_t others = dice.below(8);
    if (others < 2) shape.other_load_micros = static_cast<std::int64_t>(dice.below(4) * kMillion);
    // As much as a MINUS may have: what comes in addition may widen the gap.
    if (others == 2) shape.other_load_micros = shape.cpus_millis / 4000 * 1'000'000;
    if (!(shape == world.shape)) world.shapes[i] = shape;
  }
}

// What a job's people ask for: in a restless world its handovers follow each other closely.
void plan_people(Scenario& world, Dice& dice, bool restless) {
  const auto jobs = static_cast<std::uint32_t>(std::min<std::size_t>(world.jobs.size(), 64));
  for (std::uint32_t i = 0; i < jobs; ++i) {
    if (dice.below(3) != 0 && !restless) continue;
    const bool parks = dice.below(2) == 0;
    const std::uint64_t orders = restless ? 1 + dice.below(kOrdersMax) : 1;
    Duration at = world.jobs[i].at;
    for (std::uint64_t k = 0; k < orders && at < world.faulty; ++k) {
      PersonPlan person;
      person.job = i;
      at +=
          restless ? dice.between(seconds(1), seconds(25)) : dice.between(seconds(1), seconds(60));
      person.at = at;
      const bool kills = dice.below(8) == 0 && k + 1 == orders;
      person.verb = kills ? PersonPlan::Verb::kKill : PersonPlan::Verb::kMigrate;
      if (!kills && parks && dice.below(3) == 0) {
        person.verb = PersonPlan::Verb::kPark;
        world.people.push_back(person);
        // Some are woken by a person, the others by the rules or not at all.
        if (dice.below(2) == 0) continue;
        person.verb = PersonPlan::Verb::kWake;
        person.at += dice.between(milliseconds(500), seconds(20));
        world.people.push_back(person);
        continue;
      }
      if (dice.below(4) != 0) person.to = static_cast<std::uint32_t>(dice.below(world.nodes));
      world.people.push_back(person);
    }
  }
  std::stable_sort(world.people.begin(), world.people.end(),
                   [](const PersonPlan& a, const PersonPlan& b) { return a.at < b.at; });
}

void plan_jobs(Scenario& world, const Draws& draws, bool flapping) {
  Dice dice(draws, Stream::kWorld, kNobody - 1);
  const std::uint64_t jobs = 1 + dice.below(3 * std::min(world.nodes, 2000U));
  const bool restless = dice.below(2) == 0 || flapping;
  // Some worlds are loaded at one node, others everywhere.
  const std::uint32_t spread = dice.below(2) == 0 ? std::max(world.nodes / 3, 1U) : world.nodes;
  for (std::uint64_t i = 0; i < jobs; ++i) {
    JobPlan job;
    job.at = dice.between(seconds(2), restless ? world.faulty / 4 : world.faulty * 2 / 3);
    job.node = static_cast<std::uint32_t>(dice.below(spread));
    job.threads = static_cast<std::int64_t>(1 + dice.below(3));
    // Lengths with a heavy tail, as real ones have: doubled with probability 1/2.
    const int doublings = std::min(__builtin_ctzll(dice.next() | 256), 8);
    const Duration least = restless ? seconds(40) : seconds(5);
    job.work = dice.below(4) == 0 ? Duration(0) : least * (1 << doublings);
    job.memory_bytes = static_cast<std::int64_t>(1 + dice.below(500)) << 20;
    job.output_per_second = dice.below(2) == 0 ? 0 : static_cast<std::int64_t>(dice.below(2000));
    world.jobs.push_back(job);
  }
  std::stable_sort(world.jobs.begin(), world.jobs.end(),
                   [](const JobPlan& a, const JobPlan& b) { return a.at < b.at; });
  plan_people(world, dice, restless);
}

Duration length_of(Fault fault, Dice& dice) {
  switch (fault) {
    case Fault::kPause:
      return dice.between(milliseconds(100), seconds(20));
    case Fault::kLid:
      return dice.between(seconds(1), seconds(60));
    case Fault::kOwner:
      return dice.between(seconds(10), seconds(120));
    case Fault::kClog:
      return dice.between(milliseconds(200), seconds(10));
    case Fault::kSnapshot:
      return dice.between(seconds(5), seconds(60));
    default:
      return dice.between(milliseconds(500), seconds(40));
  }
}

void plan_rates(Scenario& world, const Draws& draws, FaultMode mode) {
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    const auto fault = static_cast<Fault>(kind);
    if (fault_sort(fault) == FaultSort::kScheduled) continue;
    if (fault_sort(fault) == FaultSort::kEach) {
      const std::uint32_t ppm = fault == Fault::kHidden ? 100'000 : 500'000;
      if (drawn(draws, kind, 2) == 0) world.rate_ppm[kind] = ppm;
      continue;
    }
    if (mode == FaultMode::kSwarm && drawn(draws, kind, 3) == 0) {
      // From one in a thousand to one in three, each magnitude as likely.
      const std::uint64_t strength = drawn(draws, 100 + kind, 9);
      world.rate_ppm[kind] = static_cast<std::uint32_t>(1000ULL << strength) + 300;
    }
  }
  if (mode != FaultMode::kSome) return;
  for (const Fault fault : {Fault::kLoss, Fault::kDuplicate, Fault::kReorder, Fault::kDumpFails,
                            Fault::kRestoreFails, Fault::kReset}) {
    world.rate_ppm[static_cast<std::size_t>(fault)] = 10'000;
  }
}

// Every second fault comes while a handover that a person asked for is under way, at one of its two
// ends or at any node.
void strike_a_handover(const Scenario& world, Dice& dice, FaultPlan& plan) {
  if (dice.below(2) == 0 || world.people.empty()) return;
  const PersonPlan& person = world.people[dice.below(world.people.size())];
  plan.at = person.at + dice.between(Duration(0), kHandoverTakes);
  const std::uint64_t which = dice.below(3);
  if (which == 0) plan.node = world.jobs[person.job].node;
  if (which == 1 && person.to != kNobody) plan.node = person.to;
}

void plan_faults(Scenario& world, const Draws& draws, FaultMode mode) {
  Dice dice(draws, Stream::kPlan, kNobody - 1);
  for (std::size_t kind = 0; kind < kFaultKinds; ++kind) {
    const auto fault = static_cast<Fault>(kind);
    if (fault_sort(fault) != FaultSort::kScheduled) continue;
    const bool common = fault == Fault::kCrash || fault == Fault::kPartition;
    if (mode == FaultMode::kSome && !common) continue;
    const bool relays = fault >= Fault::kLieDigests && fault <= Fault::kLieDeaths;
    const std::uint64_t one_in = breaks_trust(fault) ? 12 : relays ? 6 : 3;
    if (mode == FaultMode::kSwarm && drawn(draws, kind, one_in) != 0) continue;
    const std::uint64_t times = 1 + dice.below(4);
    for (std::uint64_t i = 0; i < times; ++i) {
      FaultPlan plan;
      plan.fault = fault;
      plan.at = dice.between(seconds(5), world.faulty);
      plan.node = static_cast<std::uint32_t>(dice.below(world.nodes));
      strike_a_handover(world, dice, plan);
      plan.length = length_of(fault, dice);
      plan.part_ppm = static_cast<std::uint32_t>(100'000 + dice.below(500'000));
      plan.salt = dice.next();
      const bool of_links = fault >= Fault::kPartition && fault <= Fault::kIsolate;
      if (of_links && plan.salt % 4 == 0) plan.length *= kLong;
      world.faults.push_back(plan);
    }
  }
  std::stable_sort(world.faults.begin(), world.faults.end(),
                   [](const FaultPlan& a, const FaultPlan& b) { return a.at < b.at; });
}

// One node after another is cut off, or stops, for about as long as a coordinator is waited for,
// while writes and handovers take long and messages come late: terms follow each other, and members
// come back with what nobody else has stored.
void plan_flapping(Scenario& world, const Draws& draws) {
  Dice dice(draws, Stream::kPlan, kNobody - 2);
  for (Duration at = seconds(8); at < world.faulty;) {
    FaultPlan plan;
    plan.fault = dice.below(3) == 0 ? Fault::kPause : Fault::kIsolate;
    plan.at = at;
    plan.node = static_cast<std::uint32_t>(dice.below(world.nodes));
    plan.length = dice.between(milliseconds(300), seconds(6));
    // Longer than anybody waits: who comes back holds a copy of what was given up.
    const bool outlasts = plan.fault == Fault::kIsolate && dice.below(24) == 0;
    if (outlasts) plan.length = dice.between(seconds(50), seconds(100));
    world.faults.push_back(plan);
    at += dice.between(milliseconds(200), seconds(4));
  }
  const auto rate = [&](Fault fault, std::uint32_t ppm) {
    std::uint32_t& drawn = world.rate_ppm[static_cast<std::size_t>(fault)];
    drawn = std::max(drawn, ppm);
  };
  rate(Fault::kSlowDisk, 200'000);
  rate(Fault::kDumpSlow, 500'000);
  rate(Fault::kMessageLate, 50'000);
  rate(Fault::kMessageLost, 50'000);
}

// In one world of three; some jobs again and again.
void plan_throttles(Scenario& world, Dice dice) {
  if (dice.below(3) != 0) return;
  const std::size_t jobs = std::min<std::size_t>(world.jobs.size(), 64);
  for (std::size_t job = 0; job < jobs; ++job) {
    Duration at = world.jobs[job].at;
    for (std::uint64_t left = dice.below(kThrottlesMax + 1); left > 0; --left) {
      at += dice.between(seconds(2), seconds(90));
      PersonPlan person{at, PersonPlan::Verb::kThrottle, static_cast<std::uint32_t>(job)};
      const std::uint64_t what = dice.below(8);
      const auto percent = static_cast<std::uint32_t>(1 + dice.below(200));
      if (what != 0) person.percent = what == 1 ? 0 : percent;
      if (at < world.faulty) world.people.push_back(person);
    }
  }
}

// Each kind draws numbers of its own, and faults are drawn before: whoever is taken away here
// shifts nothing else.
void plan_other_people(Scenario& world, const Draws& draws) {
  using Verb = PersonPlan::Verb;
  const auto dice_of = [&](Verb verb) {
    return Dice(draws, Stream::kPeople, static_cast<std::uint64_t>(verb));
  };
  const auto any_node = [&](Dice& dice) {
    return static_cast<std::uint32_t>(dice.below(world.nodes));
  };
  for (const Verb verb : {Verb::kPs, Verb::kLogs}) {
    Dice dice = dice_of(verb);
    for (std::uint64_t left = dice.below(kLooksMax + 1); left > 0; --left) {
      PersonPlan person{dice.between(seconds(5), world.faulty), verb, 0, any_node(dice), {}};
      const Duration after = dice.between(kLooksAgain, kSettle - kLooksEnd);
      if (dice.below(2) == 0) person.at = world.faulty + after;
      const std::uint64_t job = dice.below(world.jobs.size());
      if (names_job(verb)) person.job = static_cast<std::uint32_t>(job);
      world.people.push_back(person);
    }
  }
  Dice down = dice_of(Verb::kDown);
  const std::uint64_t downs = down.below(2) == 0 ? 1 + down.below(kDownsMax) : 0;
  for (std::uint64_t i = 0; i < downs; ++i) {
    const Duration at = down.between(seconds(5), world.faulty);
    const std::uint32_t node = any_node(down);
    world.people.push_back({at, Verb::kDown, 0, node, down.between(milliseconds(500), kDownLong)});
  }
  Dice resolve = dice_of(Verb::kResolve);
  const std::size_t jobs = std::min<std::size_t>(world.jobs.size(), 64);
  for (std::size_t job = 0; job < jobs; ++job) {
    const Duration at = resolve.between(world.faulty / 4, world.faulty + kResolvesAfter);
    world.people.push_back({at, Verb::kResolve, static_cast<std::uint32_t>(job), kNobody, {}});
  }
  plan_throttles(world, dice_of(Verb::kThrottle));
  Dice drain = dice_of(Verb::kDrain);
  for (std::uint64_t left = drain.below(4) == 0 ? 1 + drain.below(kDrainsMax) : 0; left > 0;
       --left) {
    const Duration at = drain.between(seconds(5), world.faulty);
    const Duration length =
        drain.between(seconds(1), std::max(world.faulty - at, Duration(seconds(2))));
    world.people.push_back({at, Verb::kDrain, 0, any_node(drain), length});
  }
  std::stable_sort(world.people.begin(), world.people.end(),
                   [](const PersonPlan& a, const PersonPlan& b) { return a.at < b.at; });
}

}  // namespace

Scenario generate(const Wanted& wanted) {
  const Draws draws(wanted.seed);
  Scenario world;
  world.seed = wanted.seed;
  const bool flapping = wanted.faults == FaultMode::kSwarm && wanted.nodes == 0 &&
                        drawn(draws, 1004, kFlappingOneIn) == 0;
  world.nodes =
      wanted.nodes != 0 ? wanted.nodes : static_cast<std::uint32_t>(2 + drawn(draws, 1000, 8));
  if (flapping) world.nodes = 3 + world.nodes % 3;
  world.faulty = wanted.faulty.count() != 0
                     ? wanted.faulty
                     : seconds(60 + static_cast<std::int64_t>(drawn(draws, 1001, 180)));
  // A thousand a second, so that a large mesh grows as meshes do.
  world.starts = std::clamp<Duration>(milliseconds(world.nodes), seconds(1),
                                      std::max<Duration>(world.faulty / 2, seconds(1)));
  world.settle = kSettle;
  world.latency_min = Duration(static_cast<std::int64_t>(50 + drawn(draws, 1002, 2000)));
  world.latency_typical = Duration(static_cast<std::int64_t>(200 + drawn(draws, 1003, 30'000)));
  plan_machines(world, draws);
  plan_jobs(world, draws, flapping);
  if (wanted.faults != FaultMode::kNone) {
    plan_rates(world, draws, wanted.faults);
    if (flapping) plan_flapping(world, draws);
    plan_faults(world, draws, wanted.faults);
    if (world.nodes <= kLookedAtMax) plan_other_people(world, draws);
  }
  return world;
}

}  // namespace sim
