#include "identity/join.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/wire.h"

namespace identity {
namespace {

using base::Bytes;
using base::Code;

constexpr base::WallTime kNow{1'800'000'000};

base::Secret<32> seed(std::uint8_t fill) { return base::Secret<32>(Bytes(32, fill)); }

struct World {
  World() { EXPECT_TRUE(base::crypto::init().ok()); }
  base::crypto::SignKey root = base::crypto::sign_key_from_seed(seed(1));
  base::MeshId mesh = base::crypto::mesh_id_of(root.public_key);
  NodeKeys joiner = NodeKeys::make(seed(4), seed(5));
  NodeKeys other = NodeKeys::make(seed(6), seed(7));
  TicketId ticket{{1, 2, 3}};

  JoinReply reply(const NodeKeys& keys, const base::crypto::SignKey& by) const {
    CertificateBody body;
    body.mesh = base::crypto::mesh_id_of(by.public_key);
    body.issuer = root_issuer_id(by.public_key);
    body.name = "joiner";
    body.sign_public = keys.sign.public_key;
    body.dh_public = keys.dh.public_key;
    body.not_before = kNow;
    body.not_after = base::WallTime{base::wall_seconds(kNow) + 1000};
    JoinReply out;
    out.accepted = true;
    out.root = by.public_key;
    out.chain = make_chain(body.mesh, {issue(body, by)});
    out.addresses = {base::Endpoint::v4({10, 0, 0, 1}, 7333)};
    out.mesh_name = "desk-mesh";
    return out;
  }
};

TEST(JoinRequest, ProvesBothKeys) {
  const World world;
  const Bytes bytes = encode_join_request(world.joiner, world.ticket, "laptop");
  const auto request = decode_join_request(bytes, world.joiner.dh.public_key);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->name, "laptop");
  EXPECT_EQ(request->ticket, world.ticket);
  EXPECT_EQ(request->sign_public, world.joiner.sign.public_key);
  EXPECT_EQ(decode_join_request(bytes, world.other.dh.public_key).error().code, Code::kUnauthentic);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= 1;
    EXPECT_FALSE(decode_join_request(damaged, world.joiner.dh.public_key).ok()) << at;
    EXPECT_FALSE(
        decode_join_request(base::ByteView(bytes).first(at), world.joiner.dh.public_key).ok());
  }
  EXPECT_EQ(
      decode_join_request(Bytes(kJoinMessageSizeMax + 1), world.joiner.dh.public_key).error().code,
      Code::kTooLarge);
}

TEST(JoinReply, MakesAMemberOnlyOfTheTicketsMeshAndOfOnesOwnKeys) {
  const World world;
  const auto read = decode_join_reply(encode_join_reply(world.reply(world.joiner, world.root)));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->addresses.size(), 1U);
  const auto certificate = check_join_reply(*read, world.mesh, world.joiner, kNow);
  ASSERT_TRUE(certificate.ok());
  EXPECT_EQ(certificate->id, world.joiner.id());
  const auto stranger = base::crypto::sign_key_from_seed(seed(9));
  EXPECT_EQ(check_join_reply(world.reply(world.joiner, stranger), world.mesh, world.joiner, kNow)
                .error()
                .code,
            Code::kUnauthentic);
  EXPECT_EQ(check_join_reply(world.reply(world.other, world.root), world.mesh, world.joiner, kNow)
                .error()
                .code,
            Code::kUnauthentic);
}

TEST(JoinReply, ARefusalCarriesItsReason) {
  const World world;
  JoinReply no;
  no.reason = std::string(500, 'x');
  const auto read = decode_join_reply(encode_join_reply(no));
  ASSERT_TRUE(read.ok());
  const auto result = check_join_reply(*read, world.mesh, world.joiner, kNow);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::kRefused);
  EXPECT_EQ(result.error().detail, std::string(kReasonSizeMax, 'x'));
}

// tests/vectors/identity_wire.txt: "name hex". TERN_WRITE_VECTORS=1 writes it anew; a difference is
// a new protocol version.
TEST(Join, MessagesAreTheGoldenOnes) {
  const World world;
  const std::string path = std::string(TERN_SOURCE_DIR) + "/tests/vectors/identity_wire.txt";
  const JoinReply yes = world.reply(world.joiner, world.root);
  JoinReply no;
  no.reason = "this ticket has expired";
  std::string text;
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, Bytes>>{
           {"join-request", encode_join_request(world.joiner, world.ticket, "laptop")},
           {"join-reply", encode_join_reply(yes)},
           {"join-reply-1", encode_join_reply(yes, 1)},
           {"join-refusal", encode_join_reply(no)}}) {
    text += name + " " + base::to_hex(bytes) + "\n";
  }
  if (std::getenv("TERN_WRITE_VECTORS") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  EXPECT_EQ(text, (std::string{std::istreambuf_iterator<char>(file), {}}));
}

TEST(JoinReply, CarriesTheMeshsNameToThoseWhoReadIt) {
  const World world;
  const JoinReply reply = world.reply(world.joiner, world.root);
  EXPECT_EQ(decode_join_reply(encode_join_reply(reply))->mesh_name, "desk-mesh");
  // The version before has none; a joiner of that version is answered in it.
  const auto before = decode_join_reply(encode_join_reply(reply, 1));
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(before->mesh_name, "");
  EXPECT_TRUE(check_join_reply(*before, world.mesh, world.joiner, kNow).ok());
  Bytes old_request = encode_join_request(world.joiner, world.ticket, "laptop");
  ASSERT_EQ(old_request[1], 2);
  old_request[1] = 1;
  const auto asked = decode_join_request(old_request, world.joiner.dh.public_key);
  ASSERT_TRUE(asked.ok()) << "the proof does not cover the version";
  EXPECT_EQ(asked->version, 1U);
}

TEST(JoinReply, AMeshNameIsBoundedAndFitToBeShown) {
  const World world;
  const auto named = [&](const std::string& name) {
    JoinReply reply = world.reply(world.joiner, world.root);
    reply.mesh_name = name;
    return decode_join_reply(encode_join_reply(reply));
  };
  EXPECT_EQ(named(std::string(kMeshNameSizeMax + 9, 'm'))->mesh_name,
            std::string(kMeshNameSizeMax, 'm'));
  EXPECT_FALSE(named("a\x1b[2Jb").ok());
  EXPECT_FALSE(named("a\nb").ok());
  Bytes longer = encode_join_reply(world.reply(world.joiner, world.root));
  const std::string long_name(kMeshNameSizeMax + 1, 'm');
  base::Writer tail;
  tail.text(long_name);
  longer.resize(longer.size() - (1 + std::string("desk-mesh").size()));
  longer.insert(longer.end(), tail.bytes().begin(), tail.bytes().end());
  EXPECT_FALSE(decode_join_reply(longer).ok());
}

TEST(JoinReply, DamageInAnyByteIsRefusedOrMakesNoMember) {
  const World world;
  const Bytes whole = encode_join_reply(world.reply(world.joiner, world.root));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bytes = whole;
      bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << bit));
      const auto reply = decode_join_reply(bytes);
      if (!reply) continue;
      EXPECT_LE(reply->mesh_name.size(), kMeshNameSizeMax);
      const auto member = check_join_reply(*reply, world.mesh, world.joiner, kNow);
      EXPECT_TRUE(!member || member->id == world.joiner.id());
    }
  }
}

TEST(JoinReply, EveryTruncationIsRefused) {
  const World world;
  const Bytes bytes = encode_join_reply(world.reply(world.joiner, world.root));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_join_reply(base::ByteView(bytes).first(size)).ok()) << size;
  }
}

}  // namespace
}  // namespace identity
