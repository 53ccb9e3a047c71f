#include "transfer/output_queue.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/check.h"
#include "transfer/limits.h"

namespace transfer {

namespace {

// Slabs begin half a page past a page's start. Sources are mostly large allocations, which begin
// near a page's start; a copy to an address just ahead of its source, modulo 4096, stalls on every
// load (4K aliasing: records cost 1.6 times as much, measured).
constexpr std::size_t kPage = 4096;
constexpr std::size_t kSlabPageOffset = kPage / 2;

std::size_t first_offset(const std::uint8_t* bytes) {
  const std::size_t at = reinterpret_cast<std::uintptr_t>(bytes) % kPage;
  return (kPage + kSlabPageOffset - at) % kPage;
}

}  // namespace

OutputQueue::Slab OutputQueue::make_slab(bool small) {
  Slab slab;
  slab.small = small;
  const std::size_t size = small ? kOutputSlabSmall : kOutputSlab;
  slab.bytes = std::make_unique_for_overwrite<std::uint8_t[]>(small ? size : size + kPage);
  slab.first = small ? 0 : first_offset(slab.bytes.get());
  slab.start = slab.end = slab.first;
  slab.limit = slab.first + size;
  return slab;
}

base::MutableByteView OutputQueue::reserve(std::size_t size) {
  CHECK(size <= kOutputSlab);
  if (slabs_.empty() || slabs_.back().limit - slabs_.back().end < size) {
    const bool small = slabs_.empty() && size <= kOutputSlabSmall;
    if (small) spares_.clear();  // no bulk stream any more
    if (small || spares_.empty()) {
      slabs_.push_back(make_slab(small));
    } else {
      slabs_.push_back(std::move(spares_.back()));
      spares_.pop_back();
    }
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
    slab.start = slab.end = slab.first;
    if (!slab.small && spares_.size() < kOutputSparesMax) spares_.push_back(std::move(slab));
    slabs_.pop_front();
  }
  CHECK(count == 0);
}

}  // namespace transfer
