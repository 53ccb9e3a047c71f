// Jobs of which nothing is left (node/jobs.h).
#include <gtest/gtest.h>

#include "jobs_rig.h"

namespace node::jobs {
namespace {

// Its file, or its folder, was taken away while nobody looked.
TEST(Jobs, AParkedJobThatVanishedIsLostAndSaysWhatIsMissing) {
  Rig rig(kHome);
  (void)rig.give(Begin{spec()});
  (void)rig.give(Owner{kJob, Epoch{1}, true, kHome});
  rig.restart();
  (void)rig.give(Owner{kJob, Epoch{1}, true, kHome, true});
  const Actions said = rig.give(Vanished{kJob, "/state/park-e1"});
  EXPECT_TRUE(rig.job().lost);
  EXPECT_FALSE(rig.job().here);
  EXPECT_FALSE(rig.job().wait_status);
  ASSERT_EQ(all_of<Changed>(said).size(), 1U);
  EXPECT_EQ(all_of<Changed>(said)[0].what, "lost: /state/park-e1 is not there any more");
  EXPECT_EQ(all_of<OverHere>(said).size(), 1U) << "balance would move it";
  EXPECT_TRUE(all_of<Forget>(said).empty()) << "what is left is a person's to judge";
  rig.restart();
  EXPECT_TRUE(rig.job().lost);
  EXPECT_EQ(rig.job().missing, "/state/park-e1");
  EXPECT_EQ(all_of<Forget>(rig.give(Drop{kJob})).size(), 1U);
}

TEST(Jobs, HomeHearsOfAGuestThatVanished) {
  Rig guest(kFirst);
  (void)guest.give(Arriving{spec(), Epoch{2}});
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst});
  guest.restart();
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst, true});
  const auto told = all_of<Tell>(guest.give(Vanished{kJob, "/state"}));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].to, kHome);
  Rig home = home_of_a_guest_elsewhere();
  (void)home.give(Peer{kFirst, told[0].message});
  EXPECT_TRUE(home.job().lost);
  home.restart();
  const Owner before{kJob, Epoch{2}, false, kFirst, true};
  EXPECT_EQ(all_of<OverHere>(home.give(before)).size(), 1U);
  EXPECT_TRUE(home.job().lost);
  (void)guest.give(Peer{kHome, HereAck{kJob, Epoch{2}}});
  EXPECT_FALSE(guest.knows());
}

}  // namespace
}  // namespace node::jobs
