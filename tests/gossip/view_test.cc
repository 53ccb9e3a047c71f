// The view against a naive twin under random operations: counts, indexes and sums are kept, not
// found anew.
#include "gossip/view.h"

#include <gtest/gtest.h>

#include <set>

#include "gossip/pool.h"
#include "gossip_world.h"

namespace gossip {
namespace {

base::NodeId id_of(std::uint64_t number) {
  base::NodeId id;
  base::put_le64(id.bytes, number * 0x9e3779b97f4a7c15ULL);
  return id;
}

SharedDigest digest_of(std::uint64_t number, std::uint64_t sequence, bool tells = true) {
  Digest digest;
  digest.head.node = id_of(number);
  digest.head.incarnation = {1};
  digest.head.sequence = {sequence};
  digest.fields = DigestFields{};
  if (tells) digest.fields->addresses = {Mesh::endpoint(number)};
  return std::make_shared<const Digest>(std::move(digest));
}

Member member_of(std::uint64_t number, State state = State::kAlive) {
  Member member;
  member.digest = digest_of(number, 1);
  member.state = state;
  return member;
}

// Number 0 is the view's own.
View view_of(std::uint64_t others) {
  CHECK(base::crypto::init().ok());
  View view(id_of(0), 7);
  view.add(member_of(0), std::nullopt);
  for (std::uint64_t i = 1; i <= others; ++i) view.add(member_of(i), Mesh::endpoint(i));
  return view;
}

TEST(View, CountsAndIndexesAreThoseOfATwin) {
  View view = view_of(0);
  std::map<std::uint64_t, std::pair<State, std::uint64_t>> twin;
  base::Rng rng(5);
  for (int turn = 0; turn < 3000; ++turn) {
    const std::uint64_t number = 1 + rng.below(60);
    const State state = static_cast<State>(rng.below(4));
    if (!twin.contains(number)) {
      ASSERT_TRUE(view.would_take(id_of(number)));
      ASSERT_TRUE(view.make_place().empty());
      view.add(member_of(number, state), Mesh::endpoint(number));
      twin[number] = {state, 1};
    } else if (rng.below(4) == 0) {
      view.remove(id_of(number));
      twin.erase(number);
    } else if (rng.below(2) == 0) {
      view.set_state(*view.find(id_of(number)), state);
      twin[number].first = state;
    } else {
      view.set_digest(*view.find(id_of(number)), digest_of(number, ++twin[number].second));
    }
    std::size_t live = 0;
    std::set<base::NodeId> silent;
    View anew = view_of(0);
    for (auto it = twin.rbegin(); it != twin.rend(); ++it) {
      const auto& [one, held] = *it;
      live += is_live(held.first) ? 1U : 0U;
      if (held.first == State::kSuspect || held.first == State::kDead) silent.insert(id_of(one));
      Member member = member_of(one, held.first);
      member.digest = digest_of(one, held.second);
      anew.add(std::move(member), Mesh::endpoint(one));
    }
    ASSERT_EQ(view.live_others(), live);
    ASSERT_EQ(view.silent(), silent);
    ASSERT_EQ(view.hash(), anew.hash());
    ASSERT_EQ(view.dead_hash(), anew.dead_hash());
  }
}

TEST(View, EveryPeerIsPickedAsOftenAsAnother) {
  View view = view_of(20);
  for (std::uint64_t i = 1; i <= 10; ++i) view.set_state(*view.find(id_of(i)), State::kDead);
  base::Rng rng(6);
  std::map<base::NodeId, int> times;
  constexpr int kTurns = 20'000;
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto picked = view.pick(rng, 3);
    ASSERT_EQ(std::set<base::NodeId>(picked.begin(), picked.end()).size(), 3U);
    for (const base::NodeId& id : picked) ++times[id];
  }
  ASSERT_EQ(times.size(), 10U) << "only who is alive";
  for (const auto& [id, count] : times) EXPECT_NEAR(count, kTurns * 3 / 10, kTurns / 50);
}

TEST(View, AllAreFoundWhereFewAreLeft) {
  View view = view_of(200);
  for (std::uint64_t i = 1; i <= 197; ++i) view.set_state(*view.find(id_of(i)), State::kDead);
  base::Rng rng(6);
  for (int turn = 0; turn < 100; ++turn) EXPECT_EQ(view.pick(rng, 5).size(), 3U);
  for (std::uint64_t i = 198; i <= 200; ++i) view.set_state(*view.find(id_of(i)), State::kSuspect);
  EXPECT_EQ(view.pick(rng, 5).size(), 3U) << "the suspect, when nobody is alive";
  EXPECT_EQ(view.pick_for_news(rng, 5).size(), 3U);
  EXPECT_TRUE(view_of(0).pick(rng, 5).empty());
  EXPECT_EQ(view_of(1).pick_for_news(rng, 5).size(), 1U);
}

TEST(View, NewsGoToBothNeighboursInTheRing) {
  View view = view_of(40);
  base::Rng rng(6);
  std::set<base::NodeId> ring;
  for (std::uint64_t i = 1; i <= 40; ++i) ring.insert(id_of(i));
  auto above = ring.upper_bound(id_of(0));
  auto below = above == ring.begin() ? std::prev(ring.end()) : std::prev(above);
  if (above == ring.end()) above = ring.begin();
  for (int turn = 0; turn < 100; ++turn) {
    const auto told = view.pick_for_news(rng, 4);
    ASSERT_EQ(std::set<base::NodeId>(told.begin(), told.end()).size(), 4U);
    EXPECT_EQ(told[0], *above);
    EXPECT_EQ(told[1], *below);
  }
}

TEST(View, ItsSampleIsThatOfTheLowestScoresWhateverTheOrder) {
  const auto sample = [](bool up) {
    View view = view_of(0);
    for (std::uint64_t i = 1; i <= 600; ++i) {
      const std::uint64_t number = up ? i : 601 - i;
      if (!view.would_take(id_of(number))) continue;
      (void)view.make_place();
      view.add(member_of(number), Mesh::endpoint(number));
    }
    EXPECT_TRUE(view.sampled());
    std::set<base::NodeId> ids;
    for (const Member& member : view.members()) ids.insert(member.id());
    return ids;
  };
  EXPECT_EQ(sample(true).size(), kSampleSize + 1);
  EXPECT_EQ(sample(true), sample(false));
}

TEST(View, ASampleThatDoesNotFillItselfEnds) {
  View view = view_of(40);
  EXPECT_TRUE(view.become_sample().empty());
  EXPECT_TRUE(view.sampled());
  (void)view.make_place();
  view.reconsider();
  EXPECT_TRUE(view.sampled()) << "half full";
  for (std::uint64_t i = 1; i <= 20; ++i) view.remove(id_of(i));
  (void)view.make_place();
  EXPECT_TRUE(view.sampled()) << "it was never full: it still fills itself";
  view.reconsider();
  EXPECT_FALSE(view.sampled());
  View large = view_of(200);
  EXPECT_EQ(large.become_sample().size(), 200 - kSampleSize + 1);
}

TEST(View, AllHaveTheirTurnAndWhoIsNotFollowedIsFirst) {
  View view = view_of(5);
  for (std::uint64_t i = 1; i <= 5; ++i) view.find(id_of(i))->followed = true;
  view.set_state(*view.find(id_of(5)), State::kDead);
  std::set<base::NodeId> seen;
  base::NodeId last;
  for (int i = 0; i < 4; ++i) {
    const Member* const next = view.next_in_turn(last);
    ASSERT_NE(next, nullptr);
    last = next->id();
    seen.insert(last);
  }
  EXPECT_EQ(seen.size(), 4U);
  view.find(id_of(2))->followed = false;
  EXPECT_EQ(view.next_in_turn(last)->id(), id_of(2));
  EXPECT_EQ(view.next_in_turn(id_of(2))->id(), id_of(2));
  EXPECT_EQ(view_of(0).next_in_turn(last), nullptr);
}

TEST(View, WhereSomebodyIsOutlivesANewDigest) {
  View view = view_of(2);
  Member& member = *view.find(id_of(1));
  view.set_digest(member, digest_of(1, 2, false));
  EXPECT_EQ(view.endpoint(member), Mesh::endpoint(1)) << "the new one tells no address";
  view.set_endpoint(member, Mesh::endpoint(9));
  EXPECT_EQ(view.endpoint(member), Mesh::endpoint(9));
  view.forget_troubles(base::Time(1h));
  view.set_digest(member, digest_of(1, 3));
  EXPECT_EQ(view.endpoint(member), Mesh::endpoint(9));
  view.set_endpoint(member, std::nullopt);
  EXPECT_EQ(view.endpoint(member), std::nullopt);
}

TEST(View, TroublesThatAreOverAreForgotten) {
  View view = view_of(2);
  view.troubled(id_of(1)).suspicion_at = base::Time(10s);
  view.troubled(id_of(1)).contact_backoff = 1min;
  view.forget_troubles(base::Time(10s) + kSuspicionMin / 2);
  EXPECT_EQ(view.trouble(id_of(1)).contact_backoff, 1min);
  view.forget_troubles(base::Time(10s) + kSuspicionMin);
  EXPECT_EQ(view.trouble(id_of(1)).contact_backoff, kContactBackoffMin);
  EXPECT_FALSE(view.trouble(id_of(1)).suspicion_at);
}

TEST(Pool, WhatNobodyHoldsIsGone) {
  Pool pool;
  const ContentHash hash{1};
  EXPECT_EQ(pool.digests.find(hash), nullptr);
  SharedDigest held = pool.digests.add(hash, *digest_of(1, 1));
  EXPECT_EQ(pool.digests.find(hash), held);
  held.reset();
  EXPECT_EQ(pool.digests.find(hash), nullptr);
}

TEST(Pool, NodesOfOneProcessHoldADigestOnce) {
  World world(21);
  world.pool = std::make_shared<Pool>();
  world.grow(6, 20ms);
  world.run(5s);
  EXPECT_EQ(world.count(0, State::kAlive), 6U);
  EXPECT_EQ(world.pool->digests.held(), 6U);
  EXPECT_EQ(world.pool->certificates.held(), 6U);
}

}  // namespace
}  // namespace gossip
