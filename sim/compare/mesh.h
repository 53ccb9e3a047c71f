// Unit jobs on equal nodes, each job with its own way: what the round models of tern-sim compare
// move about. Nothing here decides anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/draw.h"

namespace compare {

using Loads = std::vector<std::uint32_t>;  // jobs by node

inline constexpr std::uint32_t kJobsPerNode = 10;  // on average, as in anchors.md
inline constexpr std::uint32_t kNone = UINT32_MAX;

enum class Start : std::uint8_t {
  kRandom,  // each job at a node of its own choice
  kHalf,    // the first half of the nodes have 2 * kJobsPerNode each
  kOne,     // all jobs on the first node
};

// nodes * kJobsPerNode jobs. Every policy that is given the same draws begins with the same.
[[nodiscard]] Loads start_loads(std::uint32_t nodes, Start start, const sim::Draws& draws);

class Mesh {
 public:
  // Which of a node's jobs go first. All cost the same to move, so this changes no level, but who
  // moves twice: kOldest, the longest there, as residence asks; kGuestsFirst, those that are not at
  // home (on virtual load they are to move anyway).
  enum class Pick : std::uint8_t { kOldest, kGuestsFirst };

  explicit Mesh(const Loads& loads, Pick pick = Pick::kOldest);

  // `count` at most load(from); `from` and `to` differ.
  void move(std::uint32_t from, std::uint32_t to, std::uint32_t count);

  [[nodiscard]] std::uint32_t nodes() const { return static_cast<std::uint32_t>(loads_.size()); }
  [[nodiscard]] std::uint32_t jobs() const { return static_cast<std::uint32_t>(at_.size()); }
  [[nodiscard]] std::uint32_t load(std::uint32_t node) const { return loads_[node]; }
  [[nodiscard]] const Loads& loads() const { return loads_; }
  [[nodiscard]] std::uint32_t where(std::uint32_t job) const { return at_[job]; }
  [[nodiscard]] std::uint32_t home(std::uint32_t job) const { return home_[job]; }
  [[nodiscard]] std::uint32_t moves_of(std::uint32_t job) const { return moved_[job]; }

  [[nodiscard]] std::uint64_t moves() const { return moves_; }
  [[nodiscard]] std::uint64_t jobs_moved() const { return jobs_moved_; }  // once or more
  // Moves that took a job straight back to where its last move had taken it from.
  [[nodiscard]] std::uint64_t ping_pongs() const { return ping_pongs_; }

 private:
  struct Queue {
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
  };
  void push(Queue& queue, std::uint32_t job);
  [[nodiscard]] std::uint32_t pop(Queue& queue);
  void move_one(std::uint32_t from, std::uint32_t to);

  Pick pick_;
  Loads loads_;
  std::vector<Queue> queues_;        // by node; the oldest first
  std::vector<Queue> guests_;        // by node; kGuestsFirst only
  std::vector<std::uint32_t> next_;  // by job: behind it in its queue
  std::vector<std::uint32_t> at_, home_, came_from_, moved_;
  std::uint64_t moves_ = 0;
  std::uint64_t jobs_moved_ = 0;
  std::uint64_t ping_pongs_ = 0;
};

}  // namespace compare
