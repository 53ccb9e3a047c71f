// The event queues and the world's slots do not allocate once they are as full as they get.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "sim/draw.h"
#include "sim/event_queue.h"

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

}  // namespace
}  // namespace sim
