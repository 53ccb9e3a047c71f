// What `tern status` says of the mesh.
#include <gtest/gtest.h>

#include "node/node.h"

namespace node {
namespace {

gossip::NodeView seated(std::uint8_t triad, gossip::SeatRole role) {
  gossip::NodeView view;
  base::TriadId id;
  id.bytes[0] = triad;
  view.fields.seat = gossip::Seat{id, role, base::Term{1}};
  return view;
}

using Role = gossip::SeatRole;

TEST(SeatsSum, OfWholeTriadsAndPairsIsZero) {
  EXPECT_EQ(seats_sum_mod_3({}), 0);
  EXPECT_EQ(seats_sum_mod_3({gossip::NodeView{}}), 0);
  EXPECT_EQ(seats_sum_mod_3(
                {seated(1, Role::kSource), seated(1, Role::kCoordinator), seated(1, Role::kSink)}),
            0);
  EXPECT_EQ(seats_sum_mod_3({seated(1, Role::kSource), seated(1, Role::kSink)}), 0);
}

TEST(SeatsSum, ASeatThatIsToldBeforeItsPartnersIsNoneTooMany) {
  EXPECT_EQ(seats_sum_mod_3({seated(1, Role::kSource)}), 0);
  EXPECT_EQ(seats_sum_mod_3({seated(1, Role::kSink), seated(1, Role::kCoordinator)}), 0);
}

TEST(SeatsSum, TellsOfAnEndThatTwoNodesClaim) {
  EXPECT_EQ(seats_sum_mod_3({seated(1, Role::kSource), seated(1, Role::kSource),
                             seated(1, Role::kSink), seated(2, Role::kSink)}),
            1);
  EXPECT_EQ(
      seats_sum_mod_3({seated(1, Role::kSource), seated(1, Role::kSink), seated(1, Role::kSink)}),
      2);
}

}  // namespace
}  // namespace node
