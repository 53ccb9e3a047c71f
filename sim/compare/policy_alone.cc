// Policies where each node decides for itself: random push, two choices, work stealing,
// join-idle-queue.
#include <algorithm>

#include "compare/policy.h"

namespace compare {
namespace {

std::uint32_t ceiling_of(const Mesh& mesh) {
  return (mesh.jobs() + mesh.nodes() - 1) / mesh.nodes();
}

class Push final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    sim::Dice dice = dice_for(draws, Choice::kPush, round);
    const Loads before = mesh.loads();  // all decide at once
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      for (std::uint32_t i = ceiling_of(mesh); i < before[node]; ++i) {
        mesh.move(node, other_than(node, mesh.nodes(), dice), 1);
      }
    }
  }
};

class TwoChoices final : public Policy {
 public:
  explicit TwoChoices(bool fresh) : fresh_(fresh) {}
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    sim::Dice dice = dice_for(draws, Choice::kTwo, round);
    if ((round - 1) % kStaleRounds == 0) board_ = mesh.loads();
    const Loads before = mesh.loads();
    const Loads& known = fresh_ ? mesh.loads() : board_;
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      for (std::uint32_t i = ceiling_of(mesh); i < before[node]; ++i) {
        const std::uint32_t a = other_than(node, mesh.nodes(), dice);
        const std::uint32_t b = other_than(node, mesh.nodes(), dice);
        const std::uint32_t to = known[b] < known[a] ? b : a;
        if (known[to] + 2 <= mesh.load(node)) mesh.move(node, to, 1);
      }
    }
  }

 private:
  bool fresh_;
  Loads board_;
};

class Steal final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    sim::Dice dice = dice_for(draws, Choice::kSteal, round);
    const std::uint32_t floor = mesh.jobs() / mesh.nodes();
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      const std::uint32_t victim = other_than(node, mesh.nodes(), dice);
      if (mesh.load(node) >= floor || mesh.load(victim) < mesh.load(node) + 2) continue;
      mesh.move(victim, node, (mesh.load(victim) - mesh.load(node)) / 2);
    }
  }
};

class IdleQueue final : public Policy {
 public:
  void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) override {
    sim::Dice dice = dice_for(draws, Choice::kIdle, round);
    const std::uint32_t floor = mesh.jobs() / mesh.nodes();
    const std::uint32_t ceiling = ceiling_of(mesh);
    // A name stands for the gap that it was left with; what is not used lapses with the round.
    for (std::uint32_t node = 0; node < mesh.nodes(); ++node) {
      const std::uint32_t at = other_than(node, mesh.nodes(), dice);
      if (mesh.load(node) >= floor || mesh.load(at) <= ceiling) continue;
      mesh.move(at, node, std::min(floor - mesh.load(node), mesh.load(at) - ceiling));
    }
  }
};

}  // namespace

std::unique_ptr<Policy> make_push() { return std::make_unique<Push>(); }
std::unique_ptr<Policy> make_two_fresh() { return std::make_unique<TwoChoices>(true); }
std::unique_ptr<Policy> make_two_stale() { return std::make_unique<TwoChoices>(false); }
std::unique_ptr<Policy> make_steal() { return std::make_unique<Steal>(); }
std::unique_ptr<Policy> make_idle_queue() { return std::make_unique<IdleQueue>(); }

}  // namespace compare
