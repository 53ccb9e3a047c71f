#include "sim/event_queue.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace sim {
namespace {

class FourHeap {
 public:
  [[nodiscard]] bool empty() const { return items_.empty(); }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] const Due& top() const { return items_.front(); }

  void push(const Due& due) {
    std::size_t hole = items_.size();
    items_.push_back(due);
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / kArity;
      if (!(due < items_[parent])) break;
      items_[hole] = items_[parent];
      hole = parent;
    }
    items_[hole] = due;
  }

  Due pop() {
    const Due first = items_.front();
    const Due last = items_.back();
    items_.pop_back();
    if (items_.empty()) return first;
    std::size_t hole = 0;
    for (;;) {
      const std::size_t child = hole * kArity + 1;
      if (child >= items_.size()) break;
      const std::size_t end = std::min(child + kArity, items_.size());
      std::size_t least = child;
      for (std::size_t i = child + 1; i < end; ++i) {
        if (items_[i] < items_[least]) least = i;
      }
      if (!(items_[least] < last)) break;
      items_[hole] = items_[least];
      hole = least;
    }
    items_[hole] = last;
    return first;
  }

 private:
  static constexpr std::size_t kArity = 4;
  std::vector<Due> items_;
};

class HeapQueue final : public EventQueue {
 public:
  [[nodiscard]] bool empty() const override { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const override { return heap_.size(); }
  [[nodiscard]] const Due& next() override { return heap_.top(); }
  Due pop() override { return heap_.pop(); }

 private:
  void insert(const Due& due) override { heap_.push(due); }
  FourHeap heap_;
};

// Bucket b of the ring holds the events of [start + b * width, + width), sorted only when the ring
// comes to it. What lies behind the ring's end waits in `far_`.
class CalendarQueue final : public EventQueue {
 public:
  [[nodiscard]] bool empty() const override { return count_ == 0; }
  [[nodiscard]] std::size_t size() const override { return count_; }

  [[nodiscard]] const Due& next() override {
    settle();
    return current().back();
  }

  Due pop() override {
    settle();
    const Due due = current().back();
    current().pop_back();
    --count_;
    return due;
  }

 private:
  static constexpr std::int64_t kWidth = 1024;  // microseconds
  static constexpr std::size_t kBuckets = 4096;

  [[nodiscard]] static std::int64_t day(base::Time at) {
    return at.time_since_epoch().count() / kWidth;
  }
  [[nodiscard]] std::vector<Due>& bucket(std::int64_t day) {
    return ring_[static_cast<std::size_t>(day) % kBuckets];
  }
  [[nodiscard]] std::vector<Due>& current() { return bucket(today_); }

  void insert(const Due& due) override {
    ++count_;
    const std::int64_t when = std::max(day(due.at), today_);
    if (when >= today_ + static_cast<std::int64_t>(kBuckets)) return far_.push(due);
    std::vector<Due>& items = bucket(when);
    if (when == today_ && sorted_) {  // latest first: the next one is at the back
      const auto place = std::upper_bound(items.begin(), items.end(), due,
                                          [](const Due& a, const Due& b) { return b < a; });
      items.insert(place, due);
      return;
    }
    items.push_back(due);
  }

  void settle() {
    CHECK(count_ > 0);
    while (current().empty()) {
      sorted_ = false;
      if (ring_count() == 0) today_ = std::max(today_ + 1, day(far_.top().at)) - 1;
      ++today_;
      while (!far_.empty() && day(far_.top().at) < today_ + static_cast<std::int64_t>(kBuckets)) {
        const Due due = far_.pop();
        bucket(std::max(day(due.at), today_)).push_back(due);
      }
    }
    if (sorted_) return;
    std::sort(current().begin(), current().end(), [](const Due& a, const Due& b) { return b < a; });
    sorted_ = true;
  }

  [[nodiscard]] std::size_t ring_count() const { return count_ - far_.size(); }

  std::vector<std::vector<Due>> ring_{kBuckets};
  FourHeap far_;
  std::int64_t today_ = 0;
  bool sorted_ = false;
  std::size_t count_ = 0;
};

}  // namespace

std::unique_ptr<EventQueue> EventQueue::make(QueueKind kind) {
  if (kind == QueueKind::kHeap) return std::make_unique<HeapQueue>();
  return std::make_unique<CalendarQueue>();
}

}  // namespace sim
