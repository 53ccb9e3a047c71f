#include "plot/gossip_curves.h"

#include <algorithm>
#include <map>
#include <utility>

#include "compare/policy.h"
#include "sim/world.h"

namespace plot {
namespace {

using base::Duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kSettled = seconds(40);
constexpr Duration kWatched = seconds(20);
constexpr Duration kLook = milliseconds(2);
constexpr Duration kFollowed = seconds(1);  // a change
constexpr std::uint32_t kJobsPerSecond = 2;
constexpr std::uint32_t kRoundsMax = 1000;

sim::Scenario scenario_for(const WorldSize& size, bool busy) {
  sim::Scenario scenario;
  scenario.seed = size.seed;
  scenario.nodes = size.nodes;
  scenario.faulty = kSettled + kWatched + kFollowed;
  scenario.rate_ppm[static_cast<std::size_t>(sim::Fault::kLoss)] = size.loss_ppm;
  if (!busy) return scenario;
  const sim::Draws draws(size.seed);
  sim::Dice dice(draws, sim::Stream::kWorld, sim::kNobody - 2);
  const Duration gap = Duration(seconds(1)) / kJobsPerSecond;
  for (Duration at = kSettled; at < kSettled + kWatched; at += gap) {
    sim::JobPlan job;
    job.at = at + dice.between(Duration(0), gap);
    job.node = static_cast<std::uint32_t>(dice.below(size.nodes));
    job.work = seconds(600);
    scenario.jobs.push_back(job);
  }
  return scenario;
}

using Version = std::pair<base::Incarnation, base::Sequence>;

// What the origin told when, and how far each has come.
class Follower {
 public:
  explicit Follower(const sim::World& world)
      : world_(world),
        told_(world.hosts()),
        known_(world.hosts(), std::vector<Version>(world.hosts())),
        taken_(world.hosts(), UINT64_MAX) {}

  void look(Duration now) {
    const std::uint32_t hosts = world_.hosts();
    for (std::uint32_t viewer = 0; viewer < hosts; ++viewer) read_view(viewer);
    for (std::uint32_t origin = 0; origin < hosts; ++origin) {
      const Version newest = known_[origin][origin];
      if (told_[origin].empty() || told_[origin].back().version < newest) {
        told_[origin].push_back({newest, now, {}});
      }
      for (Told& told : told_[origin]) {
        if (now - told.at <= kFollowed) told.informed.push_back(informed(origin, told.version));
      }
      for (std::uint32_t viewer = 0; viewer < hosts; ++viewer) {
        if (viewer != origin) ++lags_[lag_of(origin, known_[viewer][origin], now)];
      }
    }
  }

  [[nodiscard]] Spreading result(Duration begin) const {
    Spreading out;
    const auto looks = static_cast<std::size_t>(kFollowed / kLook);
    std::vector<std::size_t> sums(looks, 0);
    for (const auto& origin : told_) {
      for (const Told& told : origin) {
        if (told.at <= begin || told.informed.size() < looks) continue;
        ++out.changes;
        for (std::size_t i = 0; i < looks; ++i) sums[i] += told.informed[i];
      }
    }
    const double all = std::max(out.changes, 1.0) * world_.hosts();
    for (std::size_t i = 0; i < looks; ++i) {
      out.informed.emplace_back(static_cast<double>(i) * seconds_of(kLook),
                                static_cast<double>(sums[i]) / all);
    }
    std::uint64_t total = 0;
    for (const auto& [lag, count] : lags_) total += count;
    std::uint64_t left = total;
    for (const auto& [lag, count] : lags_) {
      left -= count;
      out.behind.emplace_back(seconds_of(lag),
                              static_cast<double>(left) / static_cast<double>(total));
    }
    return out;
  }

 private:
  struct Told {
    Version version;
    Duration at{};
    std::vector<std::size_t> informed;  // by look since
  };
  static double seconds_of(Duration time) { return static_cast<double>(time.count()) / 1e6; }
  // A view changes only by digests, so most looks need not read it.
  void read_view(std::uint32_t viewer) {
    const node::Node* node = world_.node(viewer);
    if (node == nullptr) return;
    const std::uint64_t taken = node->counters().digests_taken + node->counters().digests_made;
    if (std::exchange(taken_[viewer], taken) == taken) return;
    for (const node::StatusNode& entry : node->status().nodes) {
      const std::uint32_t origin = world_.host_of(entry.view.id);
      if (origin == sim::kNobody) continue;
      known_[viewer][origin] = {entry.view.incarnation, entry.view.sequence};
    }
  }
  [[nodiscard]] std::size_t informed(std::uint32_t origin, const Version& version) const {
    std::size_t count = 0;
    for (const std::vector<Version>& view : known_) count += view[origin] >= version ? 1U : 0U;
    return count;
  }
  // How long something newer than `known` has been told for.
  [[nodiscard]] Duration lag_of(std::uint32_t origin, Version known, Duration now) const {
    if (told_[origin].back().version == known) return Duration(0);
    for (const Told& told : told_[origin]) {
      if (told.version > known) return now - told.at;
    }
    return Duration(0);
  }

  const sim::World& world_;
  std::vector<std::vector<Told>> told_;      // by origin, the oldest first
  std::vector<std::vector<Version>> known_;  // by viewer and origin
  std::vector<std::uint64_t> taken_;         // digests, when a view was read
  std::map<Duration, std::uint64_t> lags_;   // how often
};

}  // namespace

Curve rumour_curve(std::uint32_t nodes, const sim::Draws& draws) {
  std::vector<char> knows(nodes, 0);
  std::vector<std::uint32_t> told = {0};
  knows[0] = 1;
  Curve curve = {{0, 1.0 / nodes}};
  for (std::uint32_t round = 1; told.size() < nodes && round <= kRoundsMax; ++round) {
    sim::Dice dice = compare::dice_for(draws, compare::Choice::kGossip, round);
    const std::size_t before = told.size();
    for (std::size_t i = 0; i < before; ++i) {
      const std::uint32_t to = compare::other_than(told[i], nodes, dice);
      if (knows[to] != 0) continue;
      knows[to] = 1;
      told.push_back(to);
    }
    curve.emplace_back(round, static_cast<double>(told.size()) / nodes);
  }
  return curve;
}

Spreading watch_spreading(const WorldSize& size) {
  sim::World world(scenario_for(size, true), sim::QueueKind::kHeap);
  world.run_until(kSettled, false);
  Follower follower(world);
  for (Duration at = kSettled; at <= kSettled + kWatched + kFollowed; at += kLook) {
    world.run_until(at, false);
    follower.look(at);
  }
  return follower.result(kSettled);
}

Traffic measure_traffic(const WorldSize& size, bool busy) {
  sim::World world(scenario_for(size, busy), sim::QueueKind::kHeap);
  world.run_until(kSettled, false);
  const sim::WorldCounts before = world.counts();
  world.run_until(kSettled + kWatched, false);
  const sim::WorldCounts& after = world.counts();
  const double by = static_cast<double>(size.nodes) * static_cast<double>(kWatched / seconds(1));
  Traffic out;
  out.datagrams = static_cast<double>(after.datagrams - before.datagrams) / by;
  out.bytes = static_cast<double>(after.datagram_bytes - before.datagram_bytes) / by;
  return out;
}

}  // namespace plot
