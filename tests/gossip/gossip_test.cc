// Strangers, forgers and recordings: what is dropped, and counted as what (design.md §5, §6).
#include "gossip/gossip.h"

#include <gtest/gtest.h>

#include "gossip_world.h"

namespace gossip {
namespace {

using base::Bytes;

// Two nodes that know each other; what 1 sent to 0 is recorded.
struct Recorded {
  Recorded() : world(21) {
    world.tap = [this](std::size_t from, const SendDatagram& datagram) {
      if (from == 1) packets.push_back(datagram.bytes);
    };
    world.grow(2);
    world.run(3s);
    EXPECT_TRUE(world.all_know(2));
  }
  std::uint64_t dropped(Drop why) { return world.box(0).core->counters().of(why); }
  void give(const Bytes& bytes) { world.step(0, Datagram{Mesh::endpoint(1), bytes}); }
  World world;
  std::vector<Bytes> packets;
};

TEST(Gossip, AReplayedDatagramIsDroppedAndCounted) {
  Recorded two;
  const std::vector<Bytes> recorded = two.packets;
  ASSERT_GT(recorded.size(), 3U);
  // One that overtook the handshake was not taken then, and may be now; after this, none may.
  for (const Bytes& packet : recorded) two.give(packet);
  const auto before = two.dropped(Drop::kReplayed);
  const auto out = two.world.box(0).core->counters().datagrams_out;
  for (const Bytes& packet : recorded) two.give(packet);
  EXPECT_EQ(two.dropped(Drop::kReplayed), before + recorded.size());
  EXPECT_GE(before, recorded.size() - 2);
  EXPECT_LE(two.world.box(0).core->counters().datagrams_out, out + 1) << "its own timers at most";
}

TEST(Gossip, ATamperedDatagramIsDroppedWhateverByteIsHit) {
  Recorded two;
  const auto taken = two.world.box(0).core->counters().digests_taken;
  const Bytes packet = two.packets.back();
  for (std::size_t at = 0; at < packet.size(); ++at) {
    Bytes damaged = packet;
    damaged[at] ^= 0x20;
    two.give(damaged);
  }
  EXPECT_EQ(two.dropped(Drop::kMalformed), 1U) << "the kind";
  EXPECT_EQ(two.dropped(Drop::kUnknownSender), kSenderTagSize);
  EXPECT_EQ(two.dropped(Drop::kForged), packet.size() - 1 - kSenderTagSize);
  EXPECT_EQ(two.world.box(0).core->counters().digests_taken, taken);
}

TEST(Gossip, AStrangerGetsNoAnswer) {
  Recorded two;
  Envelope stranger(Mesh::id(50), Mesh::keys(50).dh, Salt{1}, secret_of(3));
  const Bytes packet = stranger.seal(base::Time{}, Mesh::id(0), Mesh::keys(0).dh.public_key,
                                     encode_message(PingMessage{1, State::kAlive}), false);
  const auto out = two.world.box(0).core->counters().datagrams_out;
  two.give(packet);
  EXPECT_EQ(two.dropped(Drop::kUnknownSender), 1U);
  EXPECT_EQ(two.world.box(0).core->counters().datagrams_out, out);
  EXPECT_EQ(two.world.box(0).core->view().size(), 2U);
}

TEST(Gossip, RubbishIsDropped) {
  Recorded two;
  base::Rng rng(1);
  for (std::size_t size = 0; size < 1300; size += 7) {
    Bytes rubbish(size);
    rng.fill(rubbish);
    two.give(rubbish);
  }
  EXPECT_TRUE(two.world.all_know(2));
  EXPECT_EQ(two.dropped(Drop::kForged), 0U);
}

TEST(Gossip, AnotherMeshesCertificateIsForeign) {
  Recorded two;
  const Mesh other(99);
  two.world.step(0, MemberIntroduced{other.chain(7), Mesh::endpoint(7)});
  EXPECT_EQ(two.dropped(Drop::kForeign), 1U);
  EXPECT_EQ(two.world.box(0).core->roster().size(), 1U);
}

TEST(Gossip, AnExpiredCertificateIsDroppedAndItsOwnerForgotten) {
  Recorded two;
  const base::WallTime later{base::wall_seconds(kWall) + 366LL * 24 * 3600};
  two.world.step(0, WallClock{later});
  two.world.run(2min);
  EXPECT_EQ(two.world.box(0).core->view().size(), 1U);
  EXPECT_EQ(two.world.box(0).deaths, 1U);
  two.world.step(0, MemberIntroduced{two.world.mesh.chain(1), Mesh::endpoint(1)});
  EXPECT_GE(two.dropped(Drop::kExpired), 1U);
}

// A member with its certificate, but a program of its own: it says what it likes.
struct Insider {
  Insider() : world(22) {
    world.grow(1);
    world.step(0, MemberIntroduced{world.mesh.chain(9), Mesh::endpoint(9)});
    world.tap = [this](std::size_t, const SendDatagram& datagram) {
      out.push_back(datagram.bytes);
    };
    say(PingMessage{1, State::kAlive});
    for (const Bytes& packet : std::vector<Bytes>(out)) {
      const auto opened = envelope.open(world.now, Mesh::id(0), victim, packet);
      const auto messages = decode_messages(opened->payload);
      for (const Message& message : *messages) {
        if (const auto* challenge = std::get_if<ChallengeMessage>(&message)) {
          say(ResponseMessage{challenge->cookie});
        }
      }
    }
  }
  void say(const Message& message) {
    world.step(0, Datagram{Mesh::endpoint(9), envelope.seal(world.now, Mesh::id(0), victim,
                                                            encode_message(message), false)});
  }
  SharedBytes digest(std::size_t of, std::uint64_t sequence, std::uint32_t jobs,
                     std::uint8_t format = 1) const {
    const auto keys = Mesh::keys(of);
    DigestHead head;
    head.format = format;
    head.mesh = base::crypto::mesh_id_of(world.mesh.root.public_key);
    head.node = keys.id();
    head.incarnation.value = 1;
    head.sequence.value = sequence;
    DigestFields fields = Mesh::fields(of);
    fields.jobs = jobs;
    return make_digest(head, fields, keys.sign);
  }
  std::uint64_t dropped(Drop why) { return world.box(0).core->counters().of(why); }
  World world;
  std::vector<Bytes> out;
  base::crypto::DhPublic victim = Mesh::keys(0).dh.public_key;
  Envelope envelope{Mesh::id(9), Mesh::keys(9).dh, Salt{9}, secret_of(77)};
};

TEST(Gossip, NobodyMakesAnothersDigest) {
  Insider insider;
  const SharedBytes true_one = insider.digest(5, 1, 0);
  insider.say(DigestMessage{State::kAlive, *true_one});
  EXPECT_EQ(insider.world.box(0).core->view().size(), 1U) << "no certificate, no entry";
  insider.say(ChainMessage{insider.world.mesh.chain(5)});
  for (std::size_t at = 0; at < true_one->size(); ++at) {
    Bytes damaged = *true_one;
    damaged[at] ^= 1;
    insider.say(DigestMessage{State::kAlive, damaged});
  }
  EXPECT_EQ(insider.world.box(0).core->view().size(), 1U);
  EXPECT_GT(insider.dropped(Drop::kForged), 100U);
  EXPECT_EQ(insider.dropped(Drop::kForeign), 16U) << "the bytes of the mesh id";
  insider.say(DigestMessage{State::kAlive, *true_one});
  EXPECT_EQ(insider.world.box(0).core->view().size(), 2U);
}

TEST(Gossip, TheNewestDigestWinsAndTheStaleIsCounted) {
  Insider insider;
  insider.say(ChainMessage{insider.world.mesh.chain(5)});
  const base::NodeId id = Mesh::id(5);
  const auto jobs = [&] {
    for (const NodeView& one : insider.world.box(0).core->view()) {
      if (one.id == id) return one.fields.jobs;
    }
    return 999U;
  };
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 4, 4)});
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 3, 3)});
  EXPECT_EQ(jobs(), 4U);
  EXPECT_EQ(insider.dropped(Drop::kStale), 1U);
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 5, 5)});
  EXPECT_EQ(jobs(), 5U);
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 5, 6)});
  EXPECT_EQ(jobs(), 5U) << "two digests of one number: the first stays";
  EXPECT_EQ(insider.dropped(Drop::kConflict), 1U);
  EXPECT_EQ(insider.world.log.errors, std::vector<std::string>{"identity_used_twice"});
}

// A sample that let a node go may take it in again with an older digest; nothing else may.
TEST(Gossip, SinceWhenANodeIsKnownDoesNotChangeWithItsDigests) {
  Insider insider;
  insider.say(ChainMessage{insider.world.mesh.chain(5)});
  const auto known_since = [&] {
    return insider.world.box(0).core->find(Mesh::id(5))->known_since;
  };
  insider.world.run(1s);
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 4, 4)});
  const base::Time then = insider.world.now;
  EXPECT_LT(then - known_since(), 125ms);
  insider.world.run(2s);
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 5, 5)});
  EXPECT_LT(then - known_since(), 125ms);
  EXPECT_LE(known_since(), then);
}

// It may have forgotten a certificate that was of no use to it: pings would bring no answer, and
// it would be suspected.
TEST(Gossip, WhomASampleHoldsIsContactedBeforeItIsFollowed) {
  Insider insider;
  insider.say(DigestMessage{State::kAlive, *insider.digest(9, 1, 0)});
  insider.say(SyncSummaryMessage{true, Mesh::id(9), Mesh::id(9), {}});
  auto& box = insider.world.box(0);
  ASSERT_TRUE(box.core->sampled());
  ASSERT_EQ(box.core->find(Mesh::id(9))->heard, Heard::kDirect);
  const std::uint64_t before = box.contacts;
  for (int i = 0; i < 200 && box.contacts == before; ++i) insider.world.run(50ms);
  EXPECT_GT(box.contacts, before);
  EXPECT_EQ(box.core->find(Mesh::id(9))->state, State::kAlive);
}

struct InsiderOfASample : Insider {
  InsiderOfASample() {
    say(DigestMessage{State::kAlive, *digest(9, 1, 0)});
    say(SyncSummaryMessage{true, Mesh::id(9), Mesh::id(9), {}});
    EXPECT_TRUE(world.box(0).core->sampled());
  }
  void tell_of(std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
      say(ChainMessage{world.mesh.chain(i)});
      say(DigestMessage{State::kAlive, *digest(i, 1, 0)});
    }
  }
};

TEST(Gossip, WhoFallsSilentInASampleIsContactedBeforeItIsSuspected) {
  InsiderOfASample insider;
  auto& box = insider.world.box(0);
  for (int i = 0; i < 200 && box.contacts == 0; ++i) insider.world.run(50ms);
  const std::uint64_t followed = box.contacts;
  std::uint64_t contacts = followed;
  for (int i = 0; i < 2000 && box.suspects == 0; ++i) {
    contacts = box.contacts;
    insider.world.run(10ms);
  }
  EXPECT_EQ(box.suspects, 1U);
  EXPECT_GT(contacts, followed);
}

TEST(Gossip, WhoseViewIsASampleLetsWhoCallsSpeakFirst) {
  InsiderOfASample insider;
  const std::size_t before = insider.out.size();
  insider.world.step(0, MemberIntroduced{insider.world.mesh.chain(11), Mesh::endpoint(11), false});
  EXPECT_EQ(insider.out.size(), before);
  insider.world.step(0, MemberIntroduced{insider.world.mesh.chain(12), Mesh::endpoint(12), true});
  EXPECT_GT(insider.out.size(), before);
}

TEST(Gossip, AFullSampleTakesOneNewcomerNowAndThen) {
  InsiderOfASample insider;
  auto& box = insider.world.box(0);
  insider.tell_of(100, kSampleSize - 1);
  ASSERT_EQ(box.core->view().size(), kSampleSize + 1) << "all at once, as long as there is room";
  for (std::size_t round = 0; round < 3; ++round) {
    const std::uint64_t before = box.ups;
    insider.tell_of(1000 + 200 * round, 200);
    EXPECT_EQ(box.ups, before + 1);
    insider.world.run(kRefreshInterval);
  }
}

TEST(Gossip, ANewerVersionsDigestIsKeptUnread) {
  Insider insider;
  insider.say(ChainMessage{insider.world.mesh.chain(5)});
  insider.say(DigestMessage{State::kAlive, *insider.digest(5, 1, 3, 2)});
  const auto view = insider.world.box(0).core->view();
  ASSERT_EQ(view.size(), 2U);
  const auto found = std::find_if(view.begin(), view.end(),
                                  [](const NodeView& one) { return one.id == Mesh::id(5); });
  ASSERT_NE(found, view.end());
  EXPECT_FALSE(found->readable);
  EXPECT_FALSE(found->fields.accepts_jobs);
}

}  // namespace
}  // namespace gossip
