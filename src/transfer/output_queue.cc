#include "transfer/output_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "transfer/limits.h"

namespace transfer {

base::MutableByteView OutputQueue::reserve(std::size_t size) {
  CHECK(size <= kOutputSlab);
  if (slabs_.empty() || slabs_.back().capacity - slabs_.back().end < size) {
    const bool small = slabs_.empty() && size <= kOutputSlabSmall;
    Slab slab;
    if (!small && spare_.bytes) {
      slab = std::exchange(spare_, Slab{});
    } else {
      slab.capacity = small ? kOutputSlabSmall : kOutputSlab;
      slab.bytes = std::make_unique_for_overwrite<std::uint8_t[]>(slab.capacity);
    }
    slabs_.push_back(std::move(slab));
  }
  reserved_ = size;
  Slab& back = slabs_.back();
  return {back.bytes.get() + back.end, size};
}

void OutputQueue::commit(std::size_t size) {
  CHECK(size <= reserved_);
  reserved_ = 0;
  slabs_.back().end += size;
  size_ += size;
}

void OutputQueue::append(base::ByteView bytes) {
  std::ranges::copy(bytes, reserve(bytes.size()).begin());
  commit(bytes.size());
}

base::ByteView OutputQueue::front() const {
  base::ByteView view;
  (void)front(std::span(&view, 1));
  return view;
}

std::size_t OutputQueue::front(std::span<base::ByteView> views) const {
  std::size_t filled = 0;
  for (const Slab& slab : slabs_) {
    if (filled == views.size()) break;
    if (slab.start == slab.end) continue;
    views[filled++] = {slab.bytes.get() + slab.start, slab.end - slab.start};
  }
  return filled;
}

void OutputQueue::consume(std::size_t count) {
  CHECK(count <= size_);
  size_ -= count;
  reserved_ = 0;
  while (!slabs_.empty()) {
    Slab& slab = slabs_.front();
    const std::size_t step = std::min(count, slab.end - slab.start);
    slab.start += step;
    count -= step;
    if (slab.start != slab.end) break;
    slab.start = slab.end = 0;
    if (slab.capacity == kOutputSlab) spare_ = std::move(slab);
    slabs_.pop_front();
  }
  CHECK(count == 0);
}

}  // namespace transfer
