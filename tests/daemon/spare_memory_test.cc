// Memory that was freed between pieces that are still used.
#include "daemon/spare_memory.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace ternd {
namespace {

std::size_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::size_t all = 0;
  std::size_t resident = 0;
  in >> all >> resident;
  return resident * 4096;
}

TEST(SpareMemory, GoesBackThoughSomethingLiesBehindIt) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "another allocator";
#endif
  SpareMemory spare;
  (void)spare.give_back();
  EXPECT_FALSE(spare.give_back());
  constexpr std::size_t kPiece = std::size_t{60} << 10;
  std::vector<std::unique_ptr<char[]>> pieces;
  std::vector<std::unique_ptr<std::string>> kept;
  for (int i = 0; i < 3000; ++i) {
    pieces.push_back(std::make_unique<char[]>(kPiece));
    std::memset(pieces.back().get(), 1, kPiece);
    kept.push_back(std::make_unique<std::string>(100, 'x'));
  }
  EXPECT_FALSE(spare.give_back());
  pieces.clear();
  const std::size_t before = resident_bytes();
  EXPECT_TRUE(spare.give_back());
  EXPECT_LT(resident_bytes() + (std::size_t{100} << 20), before);
  EXPECT_FALSE(spare.give_back());
}

}  // namespace
}  // namespace ternd
