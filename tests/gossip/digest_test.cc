// design.md §5: a digest is signed by its origin over its exact bytes; nobody else can make one.
#include "gossip/digest.h"

#include <gtest/gtest.h>

#include "gossip_world.h"

namespace gossip {
namespace {

using base::Bytes;

DigestHead head_of(const identity::NodeKeys& keys) {
  DigestHead head;
  head.mesh = base::MeshId{{7}};
  head.node = keys.id();
  head.incarnation.value = 3;
  head.sequence.value = 9;
  return head;
}

DigestFields full_fields() {
  DigestFields fields = Mesh::fields(1);
  fields.effective_milli = 1'000'000'000;
  fields.ratio_milli = 812;
  fields.trit = -1;
  fields.jobs = 1'000'000;
  fields.parked = 3;
  fields.mem_total_bytes = UINT64_MAX;
  fields.mem_free_bytes = UINT64_MAX;
  fields.capabilities = UINT64_MAX;
  fields.power = Power::kBatteryLow;
  fields.left = true;
  fields.seat = Seat{base::TriadId{{1, 2}}, SeatRole::kSink, base::Term{UINT64_MAX}};
  fields.addresses = std::vector<base::Endpoint>(kAddressesMax, Mesh::endpoint(3));
  fields.version = std::string(kVersionTextMax, 'v');
  return fields;
}

TEST(Digest, ReadsBackAndTheLongestFits) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto keys = Mesh::keys(1);
  for (const DigestFields& fields : {DigestFields{}, Mesh::fields(1), full_fields()}) {
    const SharedBytes bytes = make_digest(head_of(keys), fields, keys.sign);
    EXPECT_LE(bytes->size(), kDigestSizeMax);
    EXPECT_TRUE(verify_digest(*bytes, keys.sign.public_key));
    const auto head = peek_digest(*bytes);
    ASSERT_TRUE(head.ok());
    EXPECT_EQ(head->age(), head_of(keys).age());
    EXPECT_EQ(head->node, keys.id());
    const auto back = decode_digest(*bytes);
    ASSERT_TRUE(back.ok()) << back.error().detail;
    EXPECT_EQ(*back, fields);
  }
}

TEST(Digest, DamageInAnyByteIsForgery) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto keys = Mesh::keys(1);
  const SharedBytes bytes = make_digest(head_of(keys), full_fields(), keys.sign);
  for (std::size_t at = 0; at < bytes->size(); ++at) {
    Bytes damaged = *bytes;
    damaged[at] ^= 1;
    EXPECT_FALSE(verify_digest(damaged, keys.sign.public_key)) << at;
    EXPECT_FALSE(verify_digest(base::ByteView(*bytes).first(at), keys.sign.public_key)) << at;
    (void)decode_digest(damaged);  // whatever it says, it does not crash
  }
  EXPECT_FALSE(verify_digest(*bytes, Mesh::keys(2).sign.public_key));
  EXPECT_FALSE(peek_digest(Bytes(kDigestSizeMax + 1, 1)).ok());
}

TEST(Digest, OnlyWhatMattersIsWorthTelling) {
  const DigestFields told = Mesh::fields(1);
  struct Row {
    const char* name;
    std::function<void(DigestFields&)> change;
    bool worth;
  };
  const Row rows[] = {
      {"nothing", [](DigestFields&) {}, false},
      {"ratio by 0.049", [](DigestFields& f) { f.effective_milli += 49; }, false},
      {"ratio by 0.05", [](DigestFields& f) { f.effective_milli += 50; }, true},
      {"raw ratio", [](DigestFields& f) { f.ratio_milli += 500; }, false},
      {"free memory by an eighth",
       [](DigestFields& f) { f.mem_free_bytes -= f.mem_total_bytes / 8; }, false},
      {"free memory by more",
       [](DigestFields& f) { f.mem_free_bytes -= f.mem_total_bytes / 8 + 1; }, true},
      {"trit", [](DigestFields& f) { f.trit = 1; }, true},
      {"jobs", [](DigestFields& f) { f.jobs = 1; }, true},
      {"parked", [](DigestFields& f) { f.parked = 1; }, true},
      {"seat", [](DigestFields& f) { f.seat = Seat{}; }, true},
      {"consent", [](DigestFields& f) { f.accepts_jobs = false; }, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    DigestFields now = told;
    row.change(now);
    EXPECT_EQ(worth_telling(told, now), row.worth);
  }
}

TEST(Digest, ANewerFormatIsVerifiedButNotRead) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto keys = Mesh::keys(1);
  DigestHead head = head_of(keys);
  head.format = 2;
  const SharedBytes bytes = make_digest(head, DigestFields{}, keys.sign);
  EXPECT_TRUE(verify_digest(*bytes, keys.sign.public_key));
  EXPECT_EQ(decode_digest(*bytes).error().code, base::Code::kUnsupported);
}

}  // namespace
}  // namespace gossip
