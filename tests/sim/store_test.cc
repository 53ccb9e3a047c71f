// A store that shares records gives what a plain map gives, and shares them.
#include "sim/store.h"

#include <gtest/gtest.h>

#include "sim/draw.h"

namespace sim {
namespace {

TEST(Store, GivesWhatAPlainMapGives) {
  const Draws draws(9);
  Dice dice(draws, Stream::kWorld, 0);
  Shelf shelf;
  Store stores[3];
  Records naive[3];
  const char* kinds[] = {"member/", "addr/", "tri/", "incarnation"};
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t which = dice.below(3);
    const std::string key = kinds[dice.below(4)] + std::to_string(dice.below(20));
    const base::Bytes value(1 + dice.below(3), static_cast<std::uint8_t>(dice.below(3)));
    if (dice.below(4) == 0) {
      stores[which].erase(key, shelf);
      naive[which].erase(key);
    } else {
      stores[which].put(key, value, shelf);
      naive[which][key] = value;
    }
    if (dice.below(50) == 0) {  // a clone, or a snapshot set back
      stores[0] = stores[which];
      naive[0] = naive[which];
    }
    ASSERT_EQ(stores[which].all(shelf), naive[which]);
  }
}

TEST(Store, OneRecordAboutAnotherNodeExistsOnce) {
  Shelf shelf;
  const std::uint32_t first = shelf.take("member/01", {1, 2, 3});
  EXPECT_EQ(first, shelf.take("member/01", {1, 2, 3}));
  const std::uint32_t second = shelf.take("member/01", {1, 2, 4});
  EXPECT_NE(first, second);
  EXPECT_EQ(shelf.at(first).value, (base::Bytes{1, 2, 3}));
  EXPECT_EQ(shelf.at(first).key, shelf.at(second).key);
  EXPECT_NE(shelf.at(first).key, shelf.at(shelf.take("member/02", {1, 2, 3})).key);
}

}  // namespace
}  // namespace sim
