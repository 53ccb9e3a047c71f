#include "compare/mesh.h"

#include "base/check.h"

namespace compare {

Loads start_loads(std::uint32_t nodes, Start start, const sim::Draws& draws) {
  CHECK(nodes >= 2);
  CHECK(nodes <= UINT32_MAX / kJobsPerNode);
  Loads loads(nodes, 0);
  const std::uint32_t jobs = nodes * kJobsPerNode;
  switch (start) {
    case Start::kRandom: {
      sim::Dice dice(draws, sim::Stream::kWorld, 0);
      for (std::uint32_t i = 0; i < jobs; ++i) ++loads[dice.below(nodes)];
      break;
    }
    case Start::kHalf: {
      const std::uint32_t half = nodes / 2;
      for (std::uint32_t i = 0; i < half; ++i) loads[i] = jobs / half;
      for (std::uint32_t i = 0; i < jobs % half; ++i) ++loads[i];  // an odd node's jobs
      break;
    }
    case Start::kOne:
      loads[0] = jobs;
      break;
  }
  return loads;
}

Mesh::Mesh(const Loads& loads, Pick pick) : pick_(pick), loads_(loads), queues_(loads.size()) {
  if (pick == Pick::kGuestsFirst) guests_.resize(loads.size());
  for (std::uint32_t node = 0; node < nodes(); ++node) {
    for (std::uint32_t i = 0; i < loads_[node]; ++i) {
      next_.push_back(kNone);
      at_.push_back(node);
      push(queues_[node], jobs() - 1);
    }
  }
  home_ = at_;
  came_from_.assign(at_.size(), kNone);
  moved_.assign(at_.size(), 0);
}

void Mesh::push(Queue& queue, std::uint32_t job) {
  next_[job] = kNone;
  if (queue.tail == kNone) {
    queue.head = job;
  } else {
    next_[queue.tail] = job;
  }
  queue.tail = job;
}

std::uint32_t Mesh::pop(Queue& queue) {
  const std::uint32_t job = queue.head;
  queue.head = next_[job];
  if (queue.head == kNone) queue.tail = kNone;
  return job;
}

void Mesh::move_one(std::uint32_t from, std::uint32_t to) {
  const bool guest = pick_ == Pick::kGuestsFirst && guests_[from].head != kNone;
  const std::uint32_t job = pop(guest ? guests_[from] : queues_[from]);
  const bool comes_home = pick_ == Pick::kOldest || home_[job] == to;
  push(comes_home ? queues_[to] : guests_[to], job);
  at_[job] = to;
  ++moves_;
  jobs_moved_ += moved_[job] == 0 ? 1U : 0U;
  ++moved_[job];
  ping_pongs_ += came_from_[job] == to ? 1U : 0U;
  came_from_[job] = from;
}

void Mesh::move(std::uint32_t from, std::uint32_t to, std::uint32_t count) {
  CHECK(from != to);
  CHECK(count <= loads_[from]);
  loads_[from] -= count;
  loads_[to] += count;
  for (std::uint32_t i = 0; i < count; ++i) move_one(from, to);
}

}  // namespace compare
