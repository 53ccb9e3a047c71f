// Whom a share is offered to: "the least loaded peer that accepts" (design.md §7).
#include "node/share_choice.h"

#include <gtest/gtest.h>

namespace node {
namespace {

StatusNode peer(std::uint8_t id, int trit, std::int64_t effective_milli,
                gossip::State state = gossip::State::kAlive) {
  StatusNode one;
  one.view.id.bytes[0] = id;
  one.view.name = "n" + std::to_string(id);
  one.view.state = state;
  one.view.fields.trit = trit;
  one.view.fields.effective_milli = effective_milli;
  return one;
}

std::vector<int> order_of(const Status& status) {
  std::vector<int> out;
  for (const base::NodeId& id : share_candidates(status)) out.push_back(id.bytes[0]);
  return out;
}

TEST(ShareChoice, MinusFirstThenTheLeastLoaded) {
  Status status;
  status.nodes = {peer(1, 0, 500), peer(2, -1, 250), peer(3, -1, 100), peer(4, 0, 310),
                  peer(5, -1, 100)};
  EXPECT_EQ(order_of(status), (std::vector<int>{3, 5, 2, 4, 1}));
  EXPECT_EQ(why_not_asked(status), "");
  // A MINUS node is asked before an ERGODIC one of a lower ratio: its trit has hysteresis.
  status.nodes = {peer(1, 0, 290), peer(2, -1, 295)};
  EXPECT_EQ(order_of(status), (std::vector<int>{2, 1}));
}

TEST(ShareChoice, NeitherTheBusyNorTheSilentNorOneself) {
  Status status;
  StatusNode self = peer(1, -1, 0);
  self.self = true;
  status.nodes = {self, peer(2, 1, 900), peer(3, -1, 0, gossip::State::kSuspect),
                  peer(4, -1, 0, gossip::State::kDead), peer(5, -1, 0, gossip::State::kLeft)};
  EXPECT_EQ(order_of(status), std::vector<int>{});
  EXPECT_EQ(why_not_asked(status), "n2 is busy, n3 does not answer, n4 does not answer");
}

TEST(ShareChoice, OfManyAFewAreNamed) {
  Status status;
  for (std::uint8_t i = 1; i <= 9; ++i) status.nodes.push_back(peer(i, 1, 900));
  EXPECT_EQ(why_not_asked(status), "n1 is busy, n2 is busy, n3 is busy, n4 is busy, and 5 more");
}

}  // namespace
}  // namespace node
