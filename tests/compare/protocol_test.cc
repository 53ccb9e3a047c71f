#include "compare/protocol.h"

#include <gtest/gtest.h>

#include "base/crypto.h"

namespace compare {
namespace {

// The real nodes relieve the loaded half by the same rules as triads-rules, and stop.
TEST(Protocol, RelievesTheLoadedHalfWithoutPingPong) {
  ASSERT_TRUE(base::crypto::init());
  ProtocolOptions options;
  options.nodes = 6;
  options.start = Start::kHalf;
  const Outcome out = run_protocol(options);
  EXPECT_EQ(out.jobs, 60U);
  EXPECT_TRUE(out.content);
  EXPECT_GT(out.moves, 0U);
  EXPECT_LE(out.moves, out.optimal_moves);  // down to 0.8, not down to level
  EXPECT_EQ(out.ping_pongs, 0U);
  EXPECT_EQ(out.most_moves, 1U);
  EXPECT_GE(out.rounds, 1U);
  EXPECT_EQ(out.curve.size(), out.rounds + 1);
  EXPECT_LT(out.curve.back().variance, out.curve.front().variance);
  ASSERT_TRUE(out.seconds.has_value());

  const Outcome again = run_protocol(options);
  EXPECT_EQ(again.moves, out.moves);
  EXPECT_EQ(again.rounds, out.rounds);
  EXPECT_EQ(again.seconds, out.seconds);
  EXPECT_EQ(again.level.variance, out.level.variance);
}

}  // namespace
}  // namespace compare
