#include "daemon/spare_memory.h"

#include <malloc.h>

#include <algorithm>

namespace ternd {

bool SpareMemory::give_back() {
  const std::size_t free = ::mallinfo2().fordblks;
  before_ = std::min(before_, free);
  if (free - before_ < kSpareMemoryMax) return false;
  (void)::malloc_trim(0);
  before_ = ::mallinfo2().fordblks;
  return true;
}

}  // namespace ternd
