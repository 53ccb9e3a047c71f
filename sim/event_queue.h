// What will happen, ordered by (time, sequence): the earliest first, and of one instant's events
// the one that was put in first. Two implementations that must agree to the bit (a test and CI
// compare their trace hashes), so that an error of one is seen:
//
//   kHeap      a 4-ary heap in one vector
//   kCalendar  a ring of buckets of one width for the near future, a heap for the far one
//              (Brown 1988, "Calendar queues", with a fixed ring)
//
// Neither allocates once it has been as full as it gets.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"

namespace sim {

enum class QueueKind : std::uint8_t { kHeap, kCalendar };

struct Due {
  base::Time at{};
  std::uint64_t sequence = 0;
  std::uint32_t slot = 0;  // the caller's: where the event lies
  std::uint32_t host = 0;  // the caller's: whom it concerns
  friend bool operator<(const Due& a, const Due& b) {
    return a.at != b.at ? a.at < b.at : a.sequence < b.sequence;
  }
};

class EventQueue {
 public:
  virtual ~EventQueue() = default;
  // Legal for any `at` not before that of the last pop(). Sequences are the queue's own.
  void push(base::Time at, std::uint32_t slot, std::uint32_t host = 0) {
    insert({at, next_++, slot, host});
  }
  [[nodiscard]] virtual bool empty() const = 0;
  [[nodiscard]] virtual std::size_t size() const = 0;
  [[nodiscard]] virtual const Due& next() = 0;  // legal unless empty; until the next call
  virtual Due pop() = 0;                        // legal unless empty

  [[nodiscard]] static std::unique_ptr<EventQueue> make(QueueKind kind);

 private:
  virtual void insert(const Due& due) = 0;
  std::uint64_t next_ = 0;
};

}  // namespace sim
