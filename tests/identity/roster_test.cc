#include "identity/roster.h"

#include <gtest/gtest.h>

#include "identity/keys.h"

namespace identity {
namespace {

using base::Bytes;
using base::Code;
using base::WallTime;

constexpr WallTime kNow{1'800'000'000};
constexpr WallTime kExpired{1'800'000'000 + 1001};

struct World {
  World() { EXPECT_TRUE(base::crypto::init().ok()); }
  base::crypto::SignKey root = base::crypto::sign_key_from_seed(base::Secret<32>(Bytes(32, 1)));
  base::MeshId mesh = base::crypto::mesh_id_of(root.public_key);

  CertificateBody body(std::uint16_t number, std::uint64_t serial = 1) const {
    CertificateBody out;
    out.mesh = mesh;
    out.issuer = root_issuer_id(root.public_key);
    out.name = "n" + std::to_string(number);
    out.sign_public[0] = static_cast<std::uint8_t>(number);
    out.sign_public[1] = static_cast<std::uint8_t>(number >> 8);
    out.not_before = kNow;
    out.not_after = WallTime{base::wall_seconds(kNow) + 1000};
    out.serial = serial;
    return out;
  }
  Bytes chain(const CertificateBody& of) const { return make_chain(mesh, {issue(of, root)}); }
};

TEST(Roster, KeepsTheNewestCertificateOfAMember) {
  const World world;
  Roster roster(world.root.public_key);
  auto renamed = world.body(1, 2);
  renamed.name = "renamed";
  EXPECT_EQ(*roster.learn(world.chain(world.body(1)), kNow), Roster::Learned::kNew);
  EXPECT_EQ(*roster.learn(world.chain(world.body(1)), kNow), Roster::Learned::kKnown);
  EXPECT_EQ(*roster.learn(world.chain(renamed), kNow), Roster::Learned::kRenewed);
  EXPECT_EQ(*roster.learn(world.chain(world.body(1)), kNow), Roster::Learned::kKnown);
  ASSERT_NE(roster.find(renamed.id()), nullptr);
  EXPECT_EQ(roster.find(renamed.id())->body.name, "renamed");
}

TEST(Roster, IsFoundByAPrefixOfItsId) {
  const World world;
  Roster roster(world.root.public_key);
  for (std::uint16_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(roster.learn(world.chain(world.body(i)), kNow).ok());
  }
  const auto any = [](const Certificate&) { return true; };
  for (const base::NodeId& id : roster.ids()) {
    const auto* found = roster.find_prefix(base::ByteView(id.bytes).first(8), any);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->id, id);
  }
  EXPECT_EQ(roster.find_prefix(Bytes(8, 0xff), any), nullptr);
  EXPECT_EQ(roster.find_prefix(base::ByteView(roster.ids()[3].bytes).first(8),
                               [](const Certificate&) { return false; }),
            nullptr);
}

TEST(Roster, WhenFullNewMembersAreRefusedAndKnownOnesRenewed) {
  const World world;
  Roster roster(world.root.public_key);
  for (std::uint16_t i = 0; i < kRosterMax; ++i) {
    const auto body = world.body(i);
    ASSERT_TRUE(roster
                    .take(std::make_shared<const Certificate>(
                        Certificate{body, body.id(), {}, body.not_after}))
                    .ok());
  }
  const auto more = world.body(kRosterMax);
  EXPECT_EQ(roster.learn(world.chain(more), kNow).error().code, Code::kFull);
  EXPECT_EQ(*roster.learn(world.chain(world.body(3, 9)), kNow), Roster::Learned::kRenewed);
  roster.forget(world.body(3).id());
  EXPECT_EQ(*roster.learn(world.chain(more), kNow), Roster::Learned::kNew);
}

TEST(Roster, StoredFormReadsBackWithoutTheExpired) {
  const World world;
  Roster roster(world.root.public_key);
  auto lasting = world.body(2);
  lasting.not_after = WallTime{base::wall_seconds(kNow) + 5000};
  ASSERT_TRUE(roster.learn(world.chain(world.body(1)), kNow).ok());
  ASSERT_TRUE(roster.learn(world.chain(lasting), kNow).ok());
  EXPECT_EQ(roster.expired(kExpired), std::vector<base::NodeId>{world.body(1).id()});
  EXPECT_TRUE(roster.expired(kNow).empty());
  const Bytes stored = roster.encode();
  EXPECT_EQ(Roster::decode(stored, world.root.public_key, kNow)->size(), 2U);
  const auto later = Roster::decode(stored, world.root.public_key, kExpired);
  ASSERT_TRUE(later.ok());
  EXPECT_EQ(later->size(), 1U);
  for (std::size_t size = 0; size < stored.size(); ++size) {
    EXPECT_FALSE(
        Roster::decode(base::ByteView(stored).first(size), world.root.public_key, kNow).ok());
  }
}

}  // namespace
}  // namespace identity
