// Both event queues give what a sorted list gives, whatever is put in between.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/draw.h"
#include "sim/event_queue.h"

namespace sim {
namespace {

using base::Duration;
using base::Time;

class Queues : public ::testing::TestWithParam<QueueKind> {};

TEST_P(Queues, GiveTheEarliestFirstAndOfOneInstantTheFirstPutIn) {
  const Draws draws(7);
  Dice dice(draws, Stream::kWorld, 0);
  auto queue = EventQueue::make(GetParam());
  std::vector<Due> naive;
  Time now{std::chrono::hours(1)};
  std::uint64_t sequence = 0;
  // Near, far, at once, and in bursts of one instant.
  const Duration reaches[] = {
      Duration(0),          Duration(1), Duration(900), Duration(50'000), std::chrono::seconds(3),
      std::chrono::hours(5)};
  for (int step = 0; step < 60'000; ++step) {
    if (naive.empty() || dice.below(100) < 52) {
      const Time at = now + dice.between(Duration(0), reaches[dice.below(std::size(reaches))]);
      const auto slot = static_cast<std::uint32_t>(dice.below(1000));
      queue->push(at, slot);
      naive.push_back({at, sequence++, slot});
      continue;
    }
    const auto first = std::min_element(naive.begin(), naive.end());
    ASSERT_EQ(queue->next().at, first->at);
    if (dice.below(10) == 0) {  // looked at, then something earlier comes
      queue->push(now, 1);
      naive.push_back({now, sequence++, 1});
      continue;
    }
    const Due due = queue->pop();
    ASSERT_EQ(due.at, first->at);
    ASSERT_EQ(due.sequence, first->sequence);
    ASSERT_EQ(due.slot, first->slot);
    now = due.at;
    naive.erase(first);
    ASSERT_EQ(queue->size(), naive.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Both, Queues, ::testing::Values(QueueKind::kHeap, QueueKind::kCalendar),
                         [](const auto& kind) {
                           return kind.param == QueueKind::kHeap ? "Heap" : "Calendar";
                         });

TEST(Draws, OneStreamsDrawsDoNotDependOnAnothers) {
  const Draws draws(3);
  Dice alone(draws, Stream::kLatency, 5);
  Dice beside(draws, Stream::kLatency, 5);
  Dice other(draws, Stream::kDisk, 5);
  for (int i = 0; i < 100; ++i) {
    (void)other.next();
    EXPECT_EQ(alone.next(), beside.next());
  }
  EXPECT_NE(draws.at(Stream::kLatency, 5, 0), draws.at(Stream::kLatency, 6, 0));
  EXPECT_NE(draws.at(Stream::kLatency, 5, 0), draws.at(Stream::kDisk, 5, 0));
  EXPECT_NE(draws.at(Stream::kLatency, 5, 0), Draws(4).at(Stream::kLatency, 5, 0));
}

TEST(Draws, AreEvenlySpread) {
  const Draws draws(11);
  Dice dice(draws, Stream::kFault, 1);
  std::vector<int> counts(10, 0);
  for (int i = 0; i < 100'000; ++i) ++counts[dice.below(10)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);  // 5 standard deviations
}

}  // namespace
}  // namespace sim
