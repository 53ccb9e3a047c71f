// How much of a machine's free memory what comes to it may take: a job that moves here, wakes here
// or is adopted. The same rule before anything is begun, as the checkpoint arrives, and in what a
// person reads.
#pragma once

#include <cstdint>
#include <string>

namespace machine {

inline constexpr std::uint64_t kMemoryReserve = 64ULL << 20;  // bytes; stay free

[[nodiscard]] constexpr std::uint64_t memory_room(std::uint64_t free_bytes) {
  return free_bytes > kMemoryReserve ? free_bytes - kMemoryReserve : 0;
}

struct MemoryNeed {
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0;
  bool or_more = false;  // bytes is what is known of it
};
// The sentence, of this machine as "here"; empty where there is room.
[[nodiscard]] std::string memory_refusal(const MemoryNeed& need);

}  // namespace machine
