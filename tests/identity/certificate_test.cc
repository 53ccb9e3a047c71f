// design.md §6: a member's certificate is signed by the root or by an inviter whom the root
// certified.
#include "identity/certificate.h"

#include <gtest/gtest.h>

#include "identity/keys.h"

namespace identity {
namespace {

using base::Bytes;
using base::Code;
using base::WallTime;

constexpr WallTime kNow{1'800'000'000};
constexpr std::int64_t kDay = 24 * 3600;

WallTime after_now(std::int64_t seconds) { return WallTime{base::wall_seconds(kNow) + seconds}; }

base::Secret<32> seed(std::uint8_t fill) { return base::Secret<32>(Bytes(32, fill)); }

struct World {
  World() { EXPECT_TRUE(base::crypto::init().ok()); }
  base::crypto::SignKey root = base::crypto::sign_key_from_seed(seed(1));
  base::MeshId mesh = base::crypto::mesh_id_of(root.public_key);
  NodeKeys inviter = NodeKeys::make(seed(2), seed(3));
  NodeKeys member = NodeKeys::make(seed(4), seed(5));

  CertificateBody body(const NodeKeys& of, const base::crypto::SignKey& issuer) const {
    CertificateBody out;
    out.mesh = mesh;
    out.issuer = base::crypto::node_id_of(issuer.public_key);
    out.name = "node-1.lan";
    out.sign_public = of.sign.public_key;
    out.dh_public = of.dh.public_key;
    out.not_before = kNow;
    out.not_after = after_now(30 * kDay);
    out.serial = 7;
    return out;
  }
  Bytes inviter_signed(std::uint64_t roles = kMember | kInviter) const {
    auto out = body(inviter, root);
    out.roles = roles;
    return issue(out, root);
  }
  Bytes chain_by_root() const { return make_chain(mesh, {issue(body(member, root), root)}); }
  Bytes chain_by_inviter() const {
    return make_chain(mesh, {issue(body(member, inviter.sign), inviter.sign), inviter_signed()});
  }
};

TEST(Certificate, SignedByTheRootOrByAnInviterIsTaken) {
  const World world;
  for (const Bytes& chain : {world.chain_by_root(), world.chain_by_inviter()}) {
    const auto certificate = verify(chain, world.root.public_key, kNow);
    ASSERT_TRUE(certificate.ok()) << certificate.error().detail;
    EXPECT_EQ(certificate->id, world.member.id());
    EXPECT_EQ(certificate->body.name, "node-1.lan");
    EXPECT_EQ(certificate->body.dh_public, world.member.dh.public_key);
    EXPECT_EQ(certificate->body.serial, 7U);
    EXPECT_EQ(certificate->chain, chain);
    EXPECT_LE(chain.size(), kChainSizeMax);
  }
}

TEST(Certificate, DamageInAnyByteIsRefused) {
  const World world;
  for (const Bytes& chain : {world.chain_by_root(), world.chain_by_inviter()}) {
    for (std::size_t at = 0; at < chain.size(); ++at) {
      for (const std::uint8_t flip : Bytes{0x01, 0x80}) {
        Bytes damaged = chain;
        damaged[at] ^= flip;
        EXPECT_FALSE(verify(damaged, world.root.public_key, kNow).ok()) << at;
      }
    }
    for (std::size_t size = 0; size < chain.size(); ++size) {
      EXPECT_FALSE(verify(base::ByteView(chain).first(size), world.root.public_key, kNow).ok());
    }
  }
}

TEST(Certificate, TheLongestNameFitsTheLimits) {
  World world;
  auto body = world.body(world.member, world.inviter.sign);
  body.name = std::string(kNameSizeMax, 'a');
  body.serial = UINT64_MAX;
  body.roles = UINT64_MAX & ~static_cast<std::uint64_t>(kInviter);
  auto inviter = world.body(world.inviter, world.root);
  inviter.name = body.name;
  inviter.roles = UINT64_MAX;
  inviter.serial = UINT64_MAX;
  const Bytes chain =
      make_chain(world.mesh, {issue(body, world.inviter.sign), issue(inviter, world.root)});
  EXPECT_LE(chain.size(), kChainSizeMax);
  EXPECT_TRUE(verify(chain, world.root.public_key, kNow).ok());
}

TEST(Certificate, ValidityHasItsBoundaries) {
  const World world;
  struct Row {
    const char* name;
    std::int64_t now;
    bool valid;
  };
  const std::int64_t end = 30 * kDay;
  const Row rows[] = {{"a slow clock within the grace", -kDay, true},
                      {"one second beyond the grace", -kDay - 1, false},
                      {"last second", end, true},
                      {"expired", end + 1, false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    for (const Bytes& chain : {world.chain_by_root(), world.chain_by_inviter()}) {
      const auto result = verify(chain, world.root.public_key, after_now(row.now));
      ASSERT_EQ(result.ok(), row.valid);
      if (!row.valid) {
        EXPECT_EQ(result.error().code, Code::kStale);
      }
    }
  }
}

TEST(Certificate, AnExpiredInviterSignsNobody) {
  World world;
  auto inviter = world.body(world.inviter, world.root);
  inviter.roles = kMember | kInviter;
  inviter.not_after = after_now(10);
  const Bytes chain = make_chain(
      world.mesh, {issue(world.body(world.member, world.inviter.sign), world.inviter.sign),
                   issue(inviter, world.root)});
  const auto before = verify(chain, world.root.public_key, after_now(10));
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(before->not_after, after_now(10));
  EXPECT_EQ(verify(chain, world.root.public_key, after_now(11)).error().code, Code::kStale);
}

TEST(Certificate, WhoeverMayNotSignIsRefused) {
  const World world;
  const auto stranger = base::crypto::sign_key_from_seed(seed(9));
  const auto by_inviter = issue(world.body(world.member, world.inviter.sign), world.inviter.sign);
  auto inviter_by_inviter = world.body(world.member, world.inviter.sign);
  inviter_by_inviter.roles = kMember | kInviter;
  auto no_member = world.body(world.member, world.root);
  no_member.roles = 0;
  auto lies_about_mesh = world.body(world.member, world.root);
  lies_about_mesh.mesh = base::MeshId{};
  struct Row {
    const char* name;
    Bytes chain;
    Code code;
  };
  const Row rows[] = {
      {"another mesh's root",
       make_chain(base::crypto::mesh_id_of(stranger.public_key),
                  {issue(world.body(world.member, stranger), stranger)}),
       Code::kRefused},
      {"a stranger who names our mesh",
       make_chain(world.mesh, {issue(world.body(world.member, stranger), stranger)}),
       Code::kUnauthentic},
      {"a member who is no inviter", make_chain(world.mesh, {by_inviter, world.inviter_signed(1)}),
       Code::kRefused},
      {"an inviter without his own certificate", make_chain(world.mesh, {by_inviter}),
       Code::kUnauthentic},
      {"an inviter made by an inviter",
       make_chain(world.mesh,
                  {issue(inviter_by_inviter, world.inviter.sign), world.inviter_signed()}),
       Code::kRefused},
      {"a root's certificate under an inviter's",
       make_chain(world.mesh, {issue(world.body(world.member, world.root), world.root),
                               world.inviter_signed()}),
       Code::kUnauthentic},
      {"no role", make_chain(world.mesh, {issue(no_member, world.root)}), Code::kRefused},
      {"another mesh inside", make_chain(world.mesh, {issue(lies_about_mesh, world.root)}),
       Code::kRefused},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto result = verify(row.chain, world.root.public_key, kNow);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, row.code) << result.error().detail;
  }
}

TEST(Certificate, NamesHaveTheirAlphabetAndLength) {
  for (const char* good : {"a", "7", "node-1", "a.b.c", "x--y"}) EXPECT_TRUE(check_name(good).ok());
  EXPECT_TRUE(check_name(std::string(63, 'a')).ok());
  EXPECT_FALSE(check_name(std::string(64, 'a')).ok());
  for (const char* bad : {"", "-a", "a-", ".a", "a.", "A", "a b", "a_b", "\xc3\xa4", "a\n"}) {
    EXPECT_FALSE(check_name(bad).ok()) << bad;
  }
}

TEST(Certificate, SplitChainGivesBackWhatMakeChainTook) {
  const World world;
  const Bytes chain = world.chain_by_inviter();
  const auto parts = split_chain(chain);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(make_chain(world.mesh, *parts), chain);
}

// A golden vector: the encoding may only change with its version.
TEST(Certificate, EncodingIsStable) {
  const World world;
  EXPECT_EQ(base::to_hex(base::crypto::hash128({world.chain_by_inviter()})),
            "c8be29c1d9e7709d688ff78d01398748");
}

}  // namespace
}  // namespace identity
