// Policies that level random groups, and the optimum.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "compare/measures.h"
#include "compare/policy.h"
#include "compare/rounds.h"

namespace compare {
namespace {

// Brings the members to within one of each other. Who has most keeps what does not divide, so no
// job moves that could stay.
template <std::size_t kSize>
void level_group(Mesh& mesh, const std::uint32_t* members) {
  std::array<std::uint32_t, kSize> group;
  std::copy_n(members, kSize, group.begin());
  std::stable_sort(group.begin(), group.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return mesh.load(a) > mesh.load(b); });
  std::uint32_t sum = 0;
  for (const std::uint32_t node : group) sum += mesh.load(node);
  std::array<std::uint32_t, kSize> goal;
  for (std::uint32_t i = 0; i < kSize; ++i) {
    goal[i] = sum / std::uint32_t{kSize} + (i < sum % kSize ? 1U : 0U);
  }
  std::size_t to = kSize - 1;
  for (std::size_t from = 0; from < kSize; ++from) {
    while (mesh.load(group[from]) > goal[from]) {
      while (mesh.load(group[to]) >= goal[to]) --to;
      mesh.move(group[from], group[to],
                std::min(mesh.load(group[from]) - goal[from], goal[to] - mesh.load(group[to])));
    }
  }
}

template <std::size_t kSize>
void level_groups(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) {
  const auto order = shuffled(mesh.nodes(), dice_for(draws, Choice::kGroups, round));
  for (std::size_t i = 0; i + kSize <= order.size(); i += kSize) {
    level_group<kSize>(mesh, &order[i]);
  }
}

template <std::size_t kSize>
class Groups final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    level_groups<kSize>(mesh, round, draws);
  }
};

// design.md §3: IOUs are passed on between triads until they are level; then each job moves once,
// straight to where its IOU ended. When that is the case is known to the model from outside.
//
// Whoever holds an IOU asks the node that it names for a job. A node that is asked and holds IOUs
// of others itself endorses one of those instead of giving a job ("ask him, I am owed the same"),
// so in the end only those who have too much give, and no node both gives and takes: of all ways
// to the same levels this has the fewest moves.
class Virtual final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    if (!ious_) ious_.emplace(mesh.loads(), Mesh::Pick::kGuestsFirst);
    if (level_of(ious_->loads()).spread > kLevelSpread) {
      return level_groups<3>(*ious_, round, draws);
    }
    if (!std::exchange(settled_, true)) settle(mesh);
  }
  [[nodiscard]] const Loads& planned(const Mesh& mesh) const override {
    return ious_ ? ious_->loads() : mesh.loads();
  }

 private:
  void settle(Mesh& mesh) const {
    // IOUs away from home, by the node that they name and by the one that holds them.
    std::vector<std::vector<std::uint32_t>> names(mesh.nodes());
    std::vector<std::vector<std::uint32_t>> held(mesh.nodes());
    std::vector<std::uint32_t> holder(ious_->jobs());
    std::vector<std::uint32_t> giver(ious_->jobs());
    for (std::uint32_t iou = 0; iou < ious_->jobs(); ++iou) {
      giver[iou] = ious_->home(iou);
      holder[iou] = ious_->where(iou);
      if (giver[iou] == holder[iou]) continue;
      names[giver[iou]].push_back(iou);
      held[holder[iou]].push_back(iou);
    }
    // One visit of each node is enough: endorsing makes nobody else both giver and holder.
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      for (const std::uint32_t asked : names[node]) {
        if (giver[asked] != node || holder[asked] == node) continue;  // endorsed before
        const auto settled = [&](std::uint32_t iou) {
          return holder[iou] != node || giver[iou] == node;
        };
        while (!held[node].empty() && settled(held[node].back())) held[node].pop_back();
        if (held[node].empty()) break;
        const std::uint32_t own = held[node].back();
        held[node].pop_back();
        holder[own] = holder[asked];
        held[holder[asked]].push_back(own);
        holder[asked] = node;  // and is at home again
      }
    }
    for (std::uint32_t iou = 0; iou < ious_->jobs(); ++iou) {
      if (giver[iou] != holder[iou]) mesh.move(giver[iou], holder[iou], 1);
    }
  }

  std::optional<Mesh> ious_;
  bool settled_ = false;
};

class Optimum final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t, const sim::Draws&) override {
    const std::uint32_t nodes = mesh.nodes();
    std::vector<std::uint32_t> order(nodes);
    for (std::uint32_t i = 0; i < nodes; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return mesh.load(a) > mesh.load(b); });
    const auto goal = [&](std::uint32_t rank) {
      return mesh.jobs() / nodes + (rank < mesh.jobs() % nodes ? 1U : 0U);
    };
    std::uint32_t to = nodes - 1;
    for (std::uint32_t from = 0; from < nodes; ++from) {
      while (mesh.load(order[from]) > goal(from)) {
        while (mesh.load(order[to]) >= goal(to)) --to;
        mesh.move(order[from], order[to],
                  std::min(mesh.load(order[from]) - goal(from), goal(to) - mesh.load(order[to])));
      }
    }
  }
  [[nodiscard]] bool content(const Mesh& mesh) const override {
    return level_of(mesh.loads()).spread <= 1;
  }
};

}  // namespace

const std::vector<PolicyKind>& policies() {
  static const std::vector<PolicyKind> kAll = {
      {"optimum", "omniscient optimum", make_optimum},
      {"triads", "triads", make_triads},
      {"triads-virtual", "triads, virtual load first", make_triads_virtual},
      {"triads-planner", "triads, the planner levels", make_triads_planner},
      {"triads-rules", "triads, the daemon's rules", make_triads_rules},
      {"pairs", "pairwise matching", make_pairs},
      {"push", "random push", make_push},
      {"two-fresh", "two choices, fresh", make_two_fresh},
      {"two-stale", "two choices, stale", make_two_stale},
      {"steal", "work stealing", make_steal},
      {"idle-queue", "join-idle-queue", make_idle_queue},
      {"diffusion-1", "diffusion, first order", make_diffusion_1},
      {"diffusion-2", "diffusion, second order", make_diffusion_2},
      {"mosix", "MOSIX's window", make_mosix},
  };
  return kAll;
}

const PolicyKind* find_policy(std::string_view key) {
  for (const PolicyKind& kind : policies()) {
    if (kind.key == key) return &kind;
  }
  return nullptr;
}

std::vector<std::uint32_t> shuffled(std::uint32_t nodes, sim::Dice dice) {
  std::vector<std::uint32_t> order(nodes);
  for (std::uint32_t i = 0; i < nodes; ++i) order[i] = i;
  for (std::uint32_t left = nodes; left > 1; --left) {
    std::swap(order[left - 1], order[dice.below(left)]);
  }
  return order;
}

std::unique_ptr<Policy> make_optimum() { return std::make_unique<Optimum>(); }
std::unique_ptr<Policy> make_triads() { return std::make_unique<Groups<3>>(); }
std::unique_ptr<Policy> make_triads_virtual() { return std::make_unique<Virtual>(); }
std::unique_ptr<Policy> make_pairs() { return std::make_unique<Groups<2>>(); }

}  // namespace compare
