// Jobs of which nothing is left (node/jobs.h).
#include <gtest/gtest.h>

#include <csignal>

#include "jobs_rig.h"

namespace node::jobs {
namespace {

// Its file was taken away while nobody looked.
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

// Its home has output and files of it to come.
TEST(Jobs, AGuestThatVanishedEndsAsAnyOther) {
  Rig guest(kFirst);
  (void)guest.give(Arriving{spec(), Epoch{2}});
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst});
  guest.restart();
  (void)guest.give(Owner{kJob, Epoch{2}, true, kFirst, true});
  (void)guest.give(Vanished{kJob, "/state/park-e2", {7, 9}});
  EXPECT_FALSE(guest.job().lost);
  EXPECT_TRUE(guest.job().here) << "its output is relayed until home has all of it";
  EXPECT_EQ(guest.job().wait_status, SIGKILL);
  EXPECT_EQ(guest.job().spool, (StreamEnds{7, 9}));
}

}  // namespace
}  // namespace node::jobs
