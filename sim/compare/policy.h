// Ways to balance, in a model of rounds: unit jobs, equal nodes, each node at most one exchange a
// round unless its policy says otherwise, information and moves without delay or loss. What the
// real protocol adds to that is in protocol.h.
//
//   key             knows                                 does in a round
//   optimum         everything                            each surplus straight into a gap, once
//   triads          two others, fresh random ones         threes level; most stay who have most
//   triads-virtual  the same                              the same with IOUs; when level, jobs move
//   triads-planner  the same                              the same levels, by balance::plan_moves
//   triads-rules    the same                              what the daemon does: balance::wish and
//                                                         plan_moves with their thresholds and
//                                                         limit
//   pairs           one other                             pairs level (random matching)
//   push            the mean                              each job above it to a random node, blind
//   two-fresh       the mean, two others                  each job above it to the less loaded of
//   two-stale       the same, up to kStaleRounds old      two (Mitzenmacher 2000, bulletin board)
//   steal           the mean, one other                   who is below it takes half the difference
//                                                         from a random victim
//   idle-queue      the mean, names that idle nodes left  each job above it to a name in the own
//                   at a random node each                 queue (Lu et al. 2011)
//   diffusion-1     four neighbours                       a fifth of each difference (Cybenko 1989)
//   diffusion-2     the same, and its last flow           second order (Muthukrishnan et al. 1998)
//   mosix           a window of newest entries, gossiped  half the difference to its least loaded
//                   to one random node a round            entry (Amar, Barak et al. 2004)
//
// "The mean" is what the real policy would have to estimate; here it is exact, in their favour.
// Draws: the groups of round r are the same for all policies that group; every other choice has a
// stream of its own, so no policy shifts another's.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "compare/mesh.h"
#include "sim/draw.h"

namespace compare {

inline constexpr std::uint32_t kStaleRounds = 4;
inline constexpr std::uint32_t kWindow = 16;     // of mosix: entries a node knows
inline constexpr std::uint32_t kNeighbours = 4;  // of diffusion: two random rings
// Of triads-rules and of the protocol: CPUs of a node. Ten jobs make a ratio of 0.71, so that all
// fit below 0.8.
inline constexpr std::uint32_t kNodeCpus = 14;

class Policy {
 public:
  Policy() = default;
  virtual ~Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  // Rounds count from 1 and come in order, all of them to the same mesh.
  virtual void round(Mesh& mesh, std::uint32_t round, const sim::Draws& draws) = 0;
  // The policy's own rules ask for nothing more, level or not.
  [[nodiscard]] virtual bool content(const Mesh&) const { return false; }
  // What is level to the policy before its jobs move (triads-virtual: the IOUs); else the mesh's.
  [[nodiscard]] virtual const Loads& planned(const Mesh& mesh) const { return mesh.loads(); }
};

struct PolicyKind {
  std::string_view key;
  std::string_view title;
  std::unique_ptr<Policy> (*make)();
};

[[nodiscard]] const std::vector<PolicyKind>& policies();  // in the order of the table above
[[nodiscard]] const PolicyKind* find_policy(std::string_view key);

// What a draw of the policies decides.
enum class Choice : std::uint8_t { kGroups, kPush, kTwo, kSteal, kIdle, kGossip, kRing };
[[nodiscard]] inline sim::Dice dice_for(const sim::Draws& draws, Choice choice,
                                        std::uint32_t round) {
  return {draws, sim::Stream::kPolicy, (static_cast<std::uint64_t>(choice) << 32) | round};
}
// All nodes in a random order: groups are neighbours in it; who is left over sits out.
[[nodiscard]] std::vector<std::uint32_t> shuffled(std::uint32_t nodes, sim::Dice dice);
// Another node than `self`, each as likely.
[[nodiscard]] inline std::uint32_t other_than(std::uint32_t self, std::uint32_t nodes,
                                              sim::Dice& dice) {
  const auto drawn = static_cast<std::uint32_t>(dice.below(nodes - 1));
  return drawn + (drawn >= self ? 1U : 0U);
}

std::unique_ptr<Policy> make_optimum();
std::unique_ptr<Policy> make_triads();
std::unique_ptr<Policy> make_triads_virtual();
std::unique_ptr<Policy> make_triads_planner();
std::unique_ptr<Policy> make_triads_rules();
std::unique_ptr<Policy> make_pairs();
std::unique_ptr<Policy> make_push();
std::unique_ptr<Policy> make_two_fresh();
std::unique_ptr<Policy> make_two_stale();
std::unique_ptr<Policy> make_steal();
std::unique_ptr<Policy> make_idle_queue();
std::unique_ptr<Policy> make_diffusion_1();
std::unique_ptr<Policy> make_diffusion_2();
std::unique_ptr<Policy> make_mosix();

}  // namespace compare
