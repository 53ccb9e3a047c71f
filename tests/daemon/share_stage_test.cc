// What is kept of an offer, and what a yes is to (daemon/share_stage.h).
#include "daemon/share_stage.h"

#include "loop_rig.h"
#include "share_offer.h"

namespace ternd::testing {
namespace {

using transfer::ShareOffer;

class ShareConsent : public ::testing::Test {
 protected:
  ShareAdmission admit(const ShareOffer& offer) {
    return admit_share(inbox_, stage_key(from_, offer), {from_, "a", false, offer});
  }
  std::string listed() {
    auto view = view_inbox(inbox_);
    EXPECT_TRUE(view.ok());
    return view->report.items.at(0).id;
  }

  TempDir dir_;
  std::string inbox_ = dir_.path() + "/inbox";
  base::NodeId from_{{1}};
};

TEST_F(ShareConsent, IsForWhatWasOffered) {
  EXPECT_FALSE(admit(offer_of(1, 5)).consented);
  ASSERT_TRUE(answer_stage(inbox_, listed(), true).ok());
  EXPECT_TRUE(admit(offer_of(1, 5)).consented);
  EXPECT_TRUE(admit(offer_of(1, 4)).consented) << "less of it";
  EXPECT_FALSE(admit(offer_of(1, 52'000'000)).consented);
  EXPECT_FALSE(admit(offer_of(1, 5)).consented) << "what was asked last is what waits";
  ASSERT_TRUE(answer_stage(inbox_, listed(), true).ok());
  ShareOffer other = offer_of(1, 5);
  other.label = "other.txt";
  EXPECT_FALSE(admit(other).consented);
  EXPECT_FALSE(admit(offer_of(2, 5)).consented) << "another share";
}

TEST_F(ShareConsent, AnOfferThatChangedHasAnotherId) {
  ASSERT_EQ(admit(offer_of(1, 5)).refusal, "");
  const std::string seen = listed();
  ASSERT_EQ(admit(offer_of(1, 52'000'000)).refusal, "");
  EXPECT_EQ(answer_stage(inbox_, seen, true).error().code, base::Code::kNotFound);
  EXPECT_EQ(answer_stage(inbox_, listed(), true)->offer.bytes, 52'000'000U);
}

}  // namespace
}  // namespace ternd::testing
