#include "compare/rounds.h"

#include <algorithm>

namespace compare {

Outcome run_rounds(const PolicyKind& kind, const Loads& start, std::uint32_t rounds_max,
                   const sim::Draws& draws) {
  Mesh mesh(start);
  const std::unique_ptr<Policy> policy = kind.make();
  Outcome out;
  out.key = kind.key;
  out.title = kind.title;
  out.nodes = mesh.nodes();
  out.jobs = mesh.jobs();
  out.least_moves = least_moves(start, kLevelSpread);
  out.optimal_moves = least_moves(start, 0);
  out.level = level_of(mesh.loads());
  out.curve.push_back({out.level.spread, out.level.variance, 0});
  out.content = policy->content(mesh);
  while (out.rounds < rounds_max && out.level.spread > kLevelSpread && !out.content) {
    policy->round(mesh, ++out.rounds, draws);
    out.level = level_of(mesh.loads());
    const Level planned = level_of(policy->planned(mesh));
    out.curve.push_back({planned.spread, planned.variance, mesh.moves()});
    out.content = policy->content(mesh);
  }
  if (out.level.spread <= kLevelSpread) out.level_round = out.rounds;
  out.moves = mesh.moves();
  out.jobs_moved = mesh.jobs_moved();
  out.ping_pongs = mesh.ping_pongs();
  for (std::uint32_t job = 0; job < mesh.jobs(); ++job) {
    out.most_moves = std::max(out.most_moves, mesh.moves_of(job));
  }
  return out;
}

}  // namespace compare
