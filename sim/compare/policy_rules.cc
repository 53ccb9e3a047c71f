// Triads as balance decides them: the same functions that the daemon calls, given a group of three.
//
// What differs from the daemon: a round is a whole triad, whose moves all succeed; the members'
// figures are exact and fresh; the groups are random, while the daemon's source picks the least
// loaded sink of its view. kMovesPerTriadMax binds triads-rules and not triads-planner. Residence
// is not modelled. Under the rules it would change nothing, since a sink never becomes PLUS and so
// sheds nothing that it took; levelling passes jobs on round after round (13 times, from one node)
// and would wait a minute each time.
#include <algorithm>
#include <array>
#include <string>

#include "balance/limits.h"
#include "balance/planner.h"
#include "balance/rules.h"
#include "compare/policy.h"

namespace compare {
namespace {

constexpr std::int64_t kMicros = 1'000'000;  // the load of a unit job
constexpr std::int64_t kMemory = 1LL << 40;  // never short of it here
constexpr base::Time kNow{std::chrono::hours(1)};

template <typename Id>
Id id_of(std::uint32_t number) {  // ordered as the numbers are
  Id id;
  for (std::size_t i = 0; i < 4; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
  }
  return id;
}

std::int64_t ratio_of(std::uint32_t load, std::int64_t cpus_millis) {
  return static_cast<std::int64_t>(load) * kMicros * 1000 / cpus_millis;
}

// What plan_moves moves from one to the other; at most kMovesPerTriadMax.
std::uint32_t planned_moves(const Mesh& mesh, std::uint32_t from, std::uint32_t to,
                            std::int64_t cpus_millis) {
  balance::wire::Offer offer;
  offer.ratio_micros = ratio_of(mesh.load(from), cpus_millis);
  offer.cpus_millis = cpus_millis;
  const std::uint32_t offered =
      std::min(mesh.load(from), static_cast<std::uint32_t>(balance::kOfferJobsMax));
  for (std::uint32_t i = 0; i < offered; ++i) {
    offer.jobs.push_back({id_of<base::JobId>(i), kMicros, 1, 0});
  }
  balance::wire::Room room;
  room.ratio_micros = ratio_of(mesh.load(to), cpus_millis);
  room.cpus_millis = cpus_millis;
  room.memory_bytes = kMemory;
  room.accepts = true;
  return static_cast<std::uint32_t>(balance::plan_moves(offer, room).size());
}

// The sink that balance::wish would propose for this source among the group; kNone.
std::uint32_t wished_sink(const Mesh& mesh, const std::array<std::uint32_t, 3>& group,
                          std::uint32_t source) {
  std::vector<balance::NodeLoad> view;
  for (const std::uint32_t node : group) {
    balance::NodeLoad load;
    load.id = id_of<base::NodeId>(node);
    load.live = true;
    load.effective_ratio_micros = ratio_of(mesh.load(node), kNodeCpus * 1000);
    load.trit = probe::classify(load.effective_ratio_micros);
    load.cpus_millis = kNodeCpus * 1000;
    load.memory_total_bytes = load.memory_free_bytes = kMemory;
    load.accepts_jobs = true;
    view.push_back(load);
  }
  balance::LocalState local;
  local.effective_ratio_micros = ratio_of(mesh.load(source), kNodeCpus * 1000);
  local.trit = probe::classify(local.effective_ratio_micros);
  local.cpus_millis = kNodeCpus * 1000;
  local.memory_total_bytes = local.memory_free_bytes = kMemory;
  balance::JobFacts job;  // all are the same; arrived long ago
  job.load_micros = kMicros;
  job.memory_bytes = 1;
  local.jobs.push_back(job);
  const auto wish = balance::wish(kNow, local, view, id_of<base::NodeId>(source));
  if (!wish || wish->sinks.empty()) return kNone;
  for (const std::uint32_t node : group) {
    if (id_of<base::NodeId>(node) == wish->sinks.front()) return node;
  }
  return kNone;
}

std::array<std::uint32_t, 3> by_load(const Mesh& mesh, const std::uint32_t* members) {
  std::array<std::uint32_t, 3> group;
  std::copy_n(members, 3, group.begin());
  std::stable_sort(group.begin(), group.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return mesh.load(a) > mesh.load(b); });
  return group;
}

class Rules final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    const auto order = shuffled(mesh.nodes(), dice_for(draws, Choice::kGroups, round));
    for (std::size_t i = 0; i + 3 <= order.size(); i += 3) {
      const auto group = by_load(mesh, &order[i]);
      if (mesh.load(group[0]) == mesh.load(group[2])) continue;
      const std::uint32_t sink = wished_sink(mesh, group, group[0]);
      if (sink == kNone) continue;
      mesh.move(group[0], sink, planned_moves(mesh, group[0], sink, kNodeCpus * 1000));
    }
  }
  [[nodiscard]] bool content(const Mesh& mesh) const override {
    const auto [least, most] = std::minmax_element(mesh.loads().begin(), mesh.loads().end());
    return probe::classify(ratio_of(*most, kNodeCpus * 1000)) != probe::Trit::kPlus ||
           probe::classify(ratio_of(*least, kNodeCpus * 1000)) != probe::Trit::kMinus;
  }
};

// The planner sheds down to 0.8 and fills up to it. With CPUs such that 0.8 is the group's own mean
// it levels the group: first to the mean rounded up, then, for what is left, rounded down. Called
// again until it plans nothing, it is not held by kMovesPerTriadMax.
class Planner final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    const auto order = shuffled(mesh.nodes(), dice_for(draws, Choice::kGroups, round));
    for (std::size_t i = 0; i + 3 <= order.size(); i += 3) {
      const auto group = by_load(mesh, &order[i]);
      const std::uint32_t sum = mesh.load(group[0]) + mesh.load(group[1]) + mesh.load(group[2]);
      level_to(mesh, group, (sum + 2) / 3);
      if (sum % 3 != 0) level_to(mesh, group, sum / 3);
    }
  }

 private:
  static void level_to(Mesh& mesh, const std::array<std::uint32_t, 3>& group, std::uint32_t mark) {
    if (mark == 0) return;
    // A little more than mark / 0.8, against the roundings of at most kMovesPerTriadMax moves.
    const std::int64_t cpus_millis = std::int64_t{mark} * 1250 + mark / 64 + 1;
    for (std::size_t from = 0; from < 3; ++from) {
      for (std::size_t to = 3; to-- > 0;) {
        if (from == to) continue;
        while (const auto moves = planned_moves(mesh, group[from], group[to], cpus_millis)) {
          mesh.move(group[from], group[to], moves);
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<Policy> make_triads_planner() { return std::make_unique<Planner>(); }
std::unique_ptr<Policy> make_triads_rules() { return std::make_unique<Rules>(); }

}  // namespace compare
