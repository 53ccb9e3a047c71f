// design.md §5: datagrams between members; a new salt only after a challenge; one replay window.
#include "gossip/envelope.h"

#include <gtest/gtest.h>

#include "gossip_world.h"

namespace gossip {
namespace {

using base::Bytes;
using base::Code;

TEST(ReplayWindow, TakesEachCounterOnceInAnyOrder) {
  // Against a naive twin under random operations.
  base::Rng rng(5);
  ReplayWindow window;
  std::vector<bool> seen(5000);
  std::uint64_t highest = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t middle = static_cast<std::uint64_t>(i) / 5;
    const std::uint64_t counter = middle + rng.below(600);
    const bool old = counter + (ReplayWindow::kSpan - 64) < highest;
    EXPECT_EQ(window.take(counter), !seen[counter] && !old) << counter;
    if (!old) seen[counter] = true;
    highest = std::max(highest, counter);
  }
  ReplayWindow far;
  EXPECT_TRUE(far.take(0));
  EXPECT_TRUE(far.take(1ULL << 60));
  EXPECT_FALSE(far.take(0));
  EXPECT_FALSE(far.take(UINT64_MAX));
}

struct Pair {
  Pair() { EXPECT_TRUE(base::crypto::init().ok()); }
  static Envelope make(std::size_t number, std::uint8_t start) {
    auto keys = Mesh::keys(number);
    return {keys.id(), std::move(keys.dh), Salt{start}, secret_of(number * 100 + start)};
  }
  Bytes from_a(base::Time now = base::Time{}) {
    return a.seal(now, b_id, b_key, Bytes{1, 2, 3}, true);
  }
  base::Result<Opened> at_b(const Bytes& packet, base::Time now = base::Time{}) {
    return b.open(now, a_id, a_key, packet);
  }
  base::NodeId a_id = Mesh::id(1), b_id = Mesh::id(2);
  base::crypto::DhPublic a_key = Mesh::keys(1).dh.public_key;
  base::crypto::DhPublic b_key = Mesh::keys(2).dh.public_key;
  Envelope a = make(1, 1);
  Envelope b = make(2, 2);
};

TEST(Envelope, ANewSaltIsUnprovenUntilItsCookieCameBack) {
  Pair pair;
  const auto first = pair.at_b(pair.from_a());
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->proven);
  EXPECT_EQ(first->payload, (Bytes{1, 2, 3}));
  const Cookie cookie = pair.b.cookie(base::Time{}, pair.a_id, first->salt);
  Cookie wrong = cookie;
  wrong[3] ^= 1;
  EXPECT_FALSE(pair.b.accept(base::Time{}, pair.a_id, *first, wrong));
  EXPECT_FALSE(pair.at_b(pair.from_a())->proven);
  EXPECT_TRUE(pair.b.accept(base::Time{}, pair.a_id, *first, cookie));
  const Bytes packet = pair.from_a();
  EXPECT_TRUE(pair.at_b(packet)->proven);
  EXPECT_EQ(pair.at_b(packet).error().code, Code::kStale) << "the same packet again";
}

TEST(Envelope, ACookieAges) {
  Pair pair;
  const auto first = pair.at_b(pair.from_a());
  const Cookie cookie = pair.b.cookie(base::Time{}, pair.a_id, first->salt);
  EXPECT_FALSE(pair.b.accept(base::Time{2 * kCookieAge}, pair.a_id, *first, cookie));
  EXPECT_TRUE(pair.b.accept(base::Time{2 * kCookieAge - 1us}, pair.a_id, *first, cookie));
}

TEST(Envelope, RecordingsOfAnOlderStartStayOutside) {
  Pair pair;
  base::Time now{};
  const auto old = pair.at_b(pair.from_a());
  const Cookie old_cookie = pair.b.cookie(now, pair.a_id, old->salt);
  ASSERT_TRUE(pair.b.accept(now, pair.a_id, *old, old_cookie));
  // a restarts with another salt.
  now += 2s;
  Envelope again = Pair::make(1, 7);
  const auto opened =
      pair.b.open(now, pair.a_id, pair.a_key, again.seal(now, pair.b_id, pair.b_key, {}, true));
  EXPECT_FALSE(opened.ok()) << "an empty payload is no packet";
  const auto fresh = pair.b.open(now, pair.a_id, pair.a_key,
                                 again.seal(now, pair.b_id, pair.b_key, Bytes{1}, true));
  ASSERT_TRUE(fresh.ok());
  ASSERT_TRUE(pair.b.accept(now, pair.a_id, *fresh, pair.b.cookie(now, pair.a_id, fresh->salt)));
  // The recorded exchange of the former start, cookie and all, within the cookie's age.
  now += 2s;
  EXPECT_FALSE(pair.b.accept(now, pair.a_id, *old, old_cookie));
}

TEST(Envelope, DamageInAnyByteIsForgery) {
  Pair pair;
  const Bytes packet = pair.from_a();
  for (std::size_t at = 0; at < packet.size(); ++at) {
    if (at >= 1 && at < 9) continue;  // the sender's tag chooses the key; another key, another test
    Bytes damaged = packet;
    damaged[at] ^= 0x40;
    EXPECT_FALSE(pair.at_b(damaged).ok()) << at;
  }
  for (std::size_t size = 0; size < packet.size(); ++size) {
    EXPECT_FALSE(pair.at_b(Bytes(packet.begin(), packet.begin() + static_cast<long>(size))).ok());
  }
  Bytes tag = packet;
  tag[3] ^= 1;
  EXPECT_FALSE(pair.at_b(tag).ok()) << "the header is authenticated";
  EXPECT_FALSE(pair.a.open(base::Time{}, pair.b_id, pair.b_key, packet).ok()) << "reflected";
}

TEST(Envelope, WhatWasNotTakenIsSentAgainAndBounded) {
  Pair pair;
  for (std::size_t i = 0; i < kUnconfirmedMax + 3; ++i) (void)pair.from_a();
  EXPECT_EQ(pair.a.take_unconfirmed(pair.b_id).size(), kUnconfirmedMax);
  EXPECT_TRUE(pair.a.take_unconfirmed(pair.b_id).empty());
  pair.a.confirmed(pair.b_id);
  (void)pair.from_a();
  EXPECT_TRUE(pair.a.take_unconfirmed(pair.b_id).empty());
}

TEST(Envelope, WhatIsKeptForAllIsBoundedAndTheOldestGoes) {
  Pair pair;
  (void)pair.from_a();
  base::NodeId id;
  for (std::size_t i = 0; i < kUnconfirmedAllMax; ++i) {
    base::put_le64(id.bytes, i + 1);
    (void)pair.a.seal(base::Time{}, id, pair.b_key, Bytes{1}, true);
  }
  EXPECT_TRUE(pair.a.take_unconfirmed(pair.b_id).empty());
  EXPECT_EQ(pair.a.take_unconfirmed(id), std::vector<Bytes>{Bytes{1}});
}

TEST(Envelope, WhatNobodyAsksForAnyMoreIsForgotten) {
  Pair pair;
  (void)pair.from_a();
  pair.a.forget_unconfirmed(base::Time(2 * kCookieAge));
  EXPECT_EQ(pair.a.take_unconfirmed(pair.b_id).size(), 1U);
  (void)pair.from_a();
  pair.a.forget_unconfirmed(base::Time(2 * kCookieAge + 1us));
  EXPECT_TRUE(pair.a.take_unconfirmed(pair.b_id).empty());
}

TEST(Envelope, SessionsAreBoundedAndNoNonceIsUsedTwice) {
  Pair pair;
  const auto before = parse_header(pair.from_a());
  base::Time now{};
  for (std::size_t i = 0; i < kSessionsMax + 5; ++i) {
    now += 1us;
    base::NodeId id;
    base::put_le64(id.bytes, i + 1);
    (void)pair.a.seal(now, id, pair.b_key, Bytes{1}, true);
  }
  EXPECT_LE(pair.a.sessions(), kSessionsMax);
  const auto after = parse_header(pair.from_a(now));
  EXPECT_GT(after->counter, before->counter);
}

TEST(Envelope, AKeyOfLowOrderGetsNothing) {
  Pair pair;
  EXPECT_TRUE(pair.a.seal(base::Time{}, pair.b_id, {}, Bytes{1}, true).empty());
  EXPECT_FALSE(pair.b.open(base::Time{}, pair.a_id, {}, pair.from_a()).ok());
}

}  // namespace
}  // namespace gossip
