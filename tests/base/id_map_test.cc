#include "base/id_map.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "base/rng.h"

namespace base {
namespace {

NodeId id_of(Rng& rng, bool chosen) {
  NodeId id;
  for (std::size_t i = chosen ? 8 : 0; i < NodeId::kSize; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(rng.below(256));
  }
  return id;
}

void expect_same(const NodeMap<std::unique_ptr<int>>& map, const std::map<NodeId, int>& model) {
  ASSERT_EQ(map.size(), model.size());
  std::size_t place = 0;
  for (const auto& [id, value] : model) {
    ASSERT_EQ(map.ids()[place], id);
    ASSERT_EQ(*map.value(place++), value);
    ASSERT_EQ(**map.find(id), value);
  }
}

// Against std::map, with ids as they come and with ids that all begin alike.
void keeps_up_with_a_tree(bool chosen) {
  Rng rng(chosen ? 2 : 1);
  NodeMap<std::unique_ptr<int>> map;
  std::map<NodeId, int> model;
  std::vector<NodeId> ever;
  for (int round = 0; round < 4000; ++round) {
    const bool again = !ever.empty() && rng.below(2) == 0;
    const NodeId id = again ? ever[rng.below(ever.size())] : id_of(rng, chosen);
    if (!again) ever.push_back(id);
    EXPECT_EQ(map.contains(id), model.contains(id));
    if (rng.below(3) == 0) {
      EXPECT_EQ(map.erase(id), model.erase(id) == 1);
    } else {
      const auto [value, is_new] = map.try_emplace(id);
      EXPECT_EQ(is_new, !model.contains(id));
      *value = std::make_unique<int>(round);
      model[id] = round;
    }
    if (round % 256 == 0) expect_same(map, model);
  }
  const auto odd = [](const NodeId&, const std::unique_ptr<int>& value) { return *value % 2 != 0; };
  map.erase_if(odd);
  std::erase_if(model, [](const auto& item) { return item.second % 2 != 0; });
  expect_same(map, model);
}

TEST(IdMap, KeepsUpWithATree) { keeps_up_with_a_tree(false); }
TEST(IdMap, KeepsUpWithATreeForChosenIds) { keeps_up_with_a_tree(true); }

TEST(IdMap, GivesMemoryBackWhenItShrinks) {
  Rng rng(5);
  NodeMap<int> map;
  for (int i = 0; i < 1000; ++i) map[id_of(rng, false)] = i;
  while (map.size() > 100) map.erase_place(rng.below(map.size()));
  EXPECT_LT(map.capacity(), 500U);
}

TEST(IdMap, FindsTheFirstPlaceNotBelow) {
  Rng rng(3);
  NodeMap<int> map;
  for (int i = 0; i < 300; ++i) map[id_of(rng, i % 2 == 0)] = i;
  for (int i = 0; i < 1000; ++i) {
    const NodeId id = i % 3 == 0 ? map.ids()[rng.below(map.size())] : id_of(rng, i % 2 == 0);
    const auto expected = std::lower_bound(map.ids().begin(), map.ids().end(), id);
    EXPECT_EQ(map.lower_bound(id), static_cast<std::size_t>(expected - map.ids().begin()));
  }
  NodeId last;
  last.bytes.fill(0xff);
  EXPECT_EQ(map.lower_bound(last), map.size());
  EXPECT_EQ(map.lower_bound(NodeId{}), 0U);
}

}  // namespace
}  // namespace base
