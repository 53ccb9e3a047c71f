// The event queues and the world's own part of an event do not allocate once all is as full as it
// gets.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/crypto.h"
#include "sim/draw.h"
#include "sim/event_queue.h"
#include "sim/scenario_text.h"
#include "sim/world.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
}  // namespace

// The compiler sees malloc() and free() through these and takes them for a mismatch.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

namespace sim {
namespace {

std::uint64_t allocations_of(QueueKind kind) {
  const Draws draws(5);
  Dice dice(draws, Stream::kWorld, 0);
  auto queue = EventQueue::make(kind);
  base::Time now{};
  constexpr int kHeld = 2000;
  const auto turn = [&](int events) {
    for (int i = 0; i < events; ++i) {
      now = queue->pop().at;
      queue->push(now + dice.between(base::Duration(1), std::chrono::seconds(2)), 0);
    }
  };
  for (int i = 0; i < kHeld; ++i) {
    queue->push(now + dice.between(base::Duration(1), std::chrono::seconds(2)), 0);
  }
  turn(4'000'000);  // each bucket of the ring was as full as it gets, or nearly
  const std::uint64_t before = allocations;
  turn(100'000);
  return allocations - before;
}

TEST(Allocation, TheHeapDoesNotAllocateInSteadyState) {
  EXPECT_EQ(allocations_of(QueueKind::kHeap), 0U);
}

// A bucket grows when it gets fuller than it ever was: ever rarer, but never quite over.
TEST(Allocation, TheCalendarHardlyAllocatesInSteadyState) {
  EXPECT_LE(allocations_of(QueueKind::kCalendar), 20U);
}

// Datagrams, ticks and samples of a mesh at rest: what the nodes themselves allocate in their steps
// is theirs, and a rescan, every 4 s, has them copy their views.
TEST(Allocation, TheWorldsPartOfAnEventAllocatesNothingInSteadyState) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto scenario = parse_scenario("seed 3\nnodes 9\nseconds 1000\nrate loss 0.01\n");
  ASSERT_TRUE(scenario);
  static std::uint64_t entered = 0;
  static std::uint64_t of_nodes = 0;
  World world(*scenario, QueueKind::kHeap);
  world.watch_steps([](bool inside) {
    if (inside) entered = allocations;
    if (!inside) of_nodes += allocations - entered;
  });
  world.run_until(std::chrono::seconds(401));
  std::uint64_t events = 0;
  std::uint64_t of_world = 0;
  for (int i = 100; i < 120; ++i) {  // between rescans
    world.run_until(std::chrono::milliseconds(4000 * i + 1));
    const std::uint64_t before = allocations - of_nodes;
    const std::uint64_t events_before = world.counts().events;
    world.run_until(std::chrono::milliseconds(4000 * i + 3999));
    of_world += allocations - of_nodes - before;
    events += world.counts().events - events_before;
  }
  EXPECT_GT(events, 5000U);
  EXPECT_EQ(of_world, 0U);
}

}  // namespace
}  // namespace sim
