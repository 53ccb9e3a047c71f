// Diffusion on a fixed graph of two random rings: over each edge flows a share of the difference.
//
// Jobs do not divide. So the divisible process runs beside them, on virtual load in millionths of a
// job, and over each edge go whole jobs, as many as keep what went there nearest to what flowed
// (Akbari, Berenbrink and Sauerwald 2012): a node is never more than half a job an edge away from
// the divisible process, and it comes to rest. Integers only.
#include <algorithm>
#include <cstdlib>

#include "compare/policy.h"

namespace compare {
namespace {

constexpr std::int64_t kUnit = 1'000'000;
// Second order: beta = 2 / (1 + sqrt(1 - lambda^2)), lambda the second eigenvalue of one step. Of
// a random graph of degree 4 it is 1 - (4 - 2 sqrt 3) / 5 = 0.893 (Friedman), so beta = 1.379.
constexpr std::int64_t kBeta = 1'379'000;

class Diffusion final : public Policy {
 public:
  explicit Diffusion(std::int64_t beta) : beta_(beta) {}
  void round(Mesh& mesh, std::uint32_t, const sim::Draws& draws) override {
    if (edges_.empty()) build(mesh, draws);
    for (Edge& edge : edges_) {
      const std::int64_t flow = (ideal_[edge.a] - ideal_[edge.b]) / (kNeighbours + 1);
      // y(t) = (beta - 1) y(t - 1) + beta * share * difference; first order is beta = 1.
      edge.flow = first_ ? flow : ((beta_ - kUnit) * edge.flow + beta_ * flow) / kUnit;
    }
    first_ = false;
    for (Edge& edge : edges_) {
      ideal_[edge.a] -= edge.flow;
      ideal_[edge.b] += edge.flow;
      edge.owed += edge.flow;
      const bool forth = edge.owed > 0;
      const std::uint32_t from = forth ? edge.a : edge.b;
      const std::int64_t whole =
          std::min<std::int64_t>((std::abs(edge.owed) + kUnit / 2) / kUnit, mesh.load(from));
      if (whole == 0) continue;
      mesh.move(from, forth ? edge.b : edge.a, static_cast<std::uint32_t>(whole));
      edge.owed -= (forth ? whole : -whole) * kUnit;
    }
  }

 private:
  struct Edge {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::int64_t flow = 0;  // of the last round, from a to b, in millionths of a job
    std::int64_t owed = 0;
  };
  void build(const Mesh& mesh, const sim::Draws& draws) {
    const std::uint32_t nodes = mesh.nodes();
    for (const std::uint32_t load : mesh.loads()) ideal_.push_back(load * kUnit);
    for (std::uint32_t ring = 0; ring < kNeighbours / 2; ++ring) {
      const auto order = shuffled(nodes, dice_for(draws, Choice::kRing, ring));
      for (std::uint32_t i = 0; i < nodes; ++i) {
        edges_.push_back({order[i], order[(i + 1) % nodes], 0, 0});
      }
    }
  }

  std::int64_t beta_;
  bool first_ = true;
  std::vector<Edge> edges_;
  std::vector<std::int64_t> ideal_;  // by node
};

}  // namespace

std::unique_ptr<Policy> make_diffusion_1() { return std::make_unique<Diffusion>(kUnit); }
std::unique_ptr<Policy> make_diffusion_2() { return std::make_unique<Diffusion>(kBeta); }

}  // namespace compare
