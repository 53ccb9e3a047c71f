#include "machine/memory_room.h"

#include <gtest/gtest.h>

namespace machine {
namespace {

constexpr std::uint64_t kMebibyte = 1 << 20;

TEST(MemoryRoom, WhatComesLeavesTheReserveFree) {
  EXPECT_EQ(memory_room(0), 0U);
  EXPECT_EQ(memory_room(kMemoryReserve), 0U);
  EXPECT_EQ(memory_room(kMemoryReserve + 1), 1U);
  EXPECT_EQ(memory_refusal({126 * kMebibyte, 190 * kMebibyte}), "");
  EXPECT_EQ(memory_refusal({126 * kMebibyte + 1, 190 * kMebibyte}),
            "memory: 190 MiB are free here, the job needs 127 MiB and 64 MiB stay free");
  EXPECT_EQ(memory_refusal({0, 0}), "");  // nothing comes
}

TEST(MemoryRoom, OfWhatIsStillComingThereMayBeMore) {
  EXPECT_EQ(memory_refusal({125 * kMebibyte, 190 * kMebibyte, true}), "");
  EXPECT_EQ(memory_refusal({126 * kMebibyte, 190 * kMebibyte, true}),
            "memory: 190 MiB are free here, the job needs more than 126 MiB and 64 MiB stay free");
}

}  // namespace
}  // namespace machine
