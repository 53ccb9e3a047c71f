// Gives memory back to the machine that the allocator keeps although nothing uses it: what a
// checkpoint of many small processes left is full of holes, which no threshold of the allocator
// sees (run_daemon.cc).
#pragma once

#include <cstddef>

namespace ternd {

inline constexpr std::size_t kSpareMemoryMax = std::size_t{64} << 20;  // bytes; less is kept

class SpareMemory {
 public:
  // Takes as long as the holes are many, so call it off the loop. Whether there were enough of
  // them since the last time.
  bool give_back();

 private:
  std::size_t before_ = 0;  // what is free counts as that also once it was given back
};

}  // namespace ternd
