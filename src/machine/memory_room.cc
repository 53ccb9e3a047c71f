#include "machine/memory_room.h"

namespace machine {
namespace {

std::string mebibytes(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

std::string memory_refusal(const MemoryNeed& need) {
  const bool fits = need.or_more ? need.bytes < memory_room(need.free_bytes)
                                 : need.bytes <= memory_room(need.free_bytes);
  if (fits) return {};
  constexpr std::uint64_t kRoundUp = (1 << 20) - 1;
  return "memory: " + mebibytes(need.free_bytes) + " are free here, the job needs " +
         (need.or_more ? "more than " + mebibytes(need.bytes) : mebibytes(need.bytes + kRoundUp)) +
         " and " + mebibytes(kMemoryReserve) + " stay free";
}

}  // namespace machine
