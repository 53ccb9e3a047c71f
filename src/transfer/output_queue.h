// Bytes waiting for a socket, in slabs: appended by reserve() and commit(), taken from the front.
// Nothing is ever moved within memory; a reservation is contiguous. Small while little is queued
// (a stranger's handshake costs 4 KiB), 64 KiB a slab in a bulk stream. Slabs of a bulk stream are
// used again, since the allocator would hand them back to the kernel and fetch them anew at each
// turn; the first small piece after it lets them go.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace transfer {

class OutputQueue {
 public:
  // Contiguous room for `size` bytes, at most kOutputSlab; valid until the next call of any kind.
  [[nodiscard]] base::MutableByteView reserve(std::size_t size);
  void commit(std::size_t size);  // the first `size` bytes of the last reservation are output
  void append(base::ByteView bytes);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] base::ByteView front() const;  // empty when nothing waits
  // Fills `views` in order, for a gathering write; returns how many were filled.
  [[nodiscard]] std::size_t front(std::span<base::ByteView> views) const;
  void consume(std::size_t count);  // at most size()

 private:
  struct Slab {
    std::unique_ptr<std::uint8_t[]> bytes;
    bool small = false;
    std::size_t first = 0;  // where it begins within its allocation, and
    std::size_t limit = 0;  // where it ends
    std::size_t start = 0;  // what is not yet consumed
    std::size_t end = 0;
  };
  [[nodiscard]] static Slab make_slab(bool small);

  std::deque<Slab> slabs_;
  std::vector<Slab> spares_;
  std::size_t size_ = 0;
  std::size_t reserved_ = 0;
};

}  // namespace transfer
