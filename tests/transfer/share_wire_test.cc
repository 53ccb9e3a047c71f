#include "transfer/share_wire.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "share_pair.h"

namespace transfer {
namespace {

base::ByteView body_of(const base::Bytes& message) {
  return base::ByteView(message).subspan(kShareHeaderSize);
}

ShareOffer an_offer() {
  ShareOffer offer;
  offer.id.bytes.fill(7);
  offer.uid = 1000;
  offer.user = "anna";
  offer.label = "photos";
  offer.tops = 1;
  offer.entries = 3;
  offer.bytes = 5;
  offer.disk_bytes = 4;
  return offer;
}

TEST(ShareWire, NamesThatLeadElsewhereAreRefused) {
  struct Row {
    const char* name;
    std::string value;
    bool fine;
  };
  const std::vector<Row> rows = {
      {"plain", "photo.jpg", true},
      {"odd", "a b\n\x01\xff", true},
      {"dots", "...", true},
      {"hidden", ".profile", true},
      {"longest", std::string(255, 'n'), true},
      {"empty", "", false},
      {"this folder", ".", false},
      {"the one above", "..", false},
      {"slash", "a/b", false},
      {"absolute", "/etc", false},
      {"climbs", "../x", false},
      {"zero", std::string("a\0b", 3), false},
      {"too long", std::string(256, 'n'), false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(check_share_name(row.value).ok(), row.fine);
    ShareManifest manifest;
    EXPECT_EQ(manifest.add(file_entry(row.value, 0)).ok(), row.fine);
  }
}

TEST(ShareWire, LinksStayWithinTheirTop) {
  struct Row {
    const char* target;
    std::size_t folders;
    bool inside;
  };
  const Row rows[] = {
      {"file", 0, true},     {"sub/file", 0, true},     {"./file", 0, true},
      {"../file", 1, true},  {"../../x/y", 2, true},    {"..", 1, true},
      {"", 0, false},        {"/etc/passwd", 9, false}, {"..", 0, false},
      {"../file", 0, false}, {"../../x", 1, false},     {"sub/../file", 3, false},
      {"./../x", 0, false},  {"a/..", 1, false},        {"..//..", 1, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.target);
    EXPECT_EQ(link_stays_inside(row.target, row.folders), row.inside);
  }
  EXPECT_FALSE(link_stays_inside(std::string("a\0b", 3), 0));
  EXPECT_FALSE(link_stays_inside(std::string(5000, 'a'), 0));
}

TEST(ShareWire, ManifestTakesWholeTreesOnly) {
  struct Row {
    const char* name;
    ShareEntry entry;
  };
  ShareEntry modes = file_entry("x", 0, 0);
  modes.mode = 04755;
  ShareEntry sized = folder_entry("x", 0);
  sized.size = 1;
  ShareEntry targeted = file_entry("x", 0, 0);
  targeted.link = "y";
  ShareEntry late = file_entry("x", 0, 0);
  late.mtime_nanos = 1000000000;
  const std::vector<Row> rows = {
      {"no such parent", file_entry("x", 0, 7)},
      {"a file as parent", file_entry("x", 0, 1)},
      {"a top's link", link_entry("x", "y", kNoParent)},
      {"a link out", link_entry("x", "../y", 0)},
      {"set-user-ID", modes},
      {"a folder's size", sized},
      {"a file's target", targeted},
      {"a time", late},
      {"more bytes than there are", file_entry("x", kShareBytesMax + 1, 0)},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ShareManifest manifest;
    ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
    ASSERT_TRUE(manifest.add(file_entry("f", 0, 0)).ok());
    EXPECT_FALSE(manifest.add(row.entry).ok());
    EXPECT_EQ(manifest.size(), 2U);
  }
  ShareManifest two;
  ASSERT_TRUE(two.add(folder_entry("t")).ok());
  ASSERT_TRUE(two.add(folder_entry("u")).ok());
  EXPECT_FALSE(two.add(file_entry("x", 0, 0)).ok()) << "a top's entries stand together";
  ShareManifest deep;
  ASSERT_TRUE(deep.add(folder_entry("d")).ok());
  for (std::uint32_t i = 0; i < kShareDepthMax; ++i)
    ASSERT_TRUE(deep.add(folder_entry("d", i)).ok());
  EXPECT_FALSE(deep.add(folder_entry("d", kShareDepthMax)).ok());
}

TEST(ShareWire, SealFindsEqualNames) {
  ShareManifest manifest;
  ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
  ASSERT_TRUE(manifest.add(file_entry("a", 0, 0)).ok());
  ASSERT_TRUE(manifest.add(folder_entry("b", 0)).ok());
  ASSERT_TRUE(manifest.add(file_entry("a", 0, 2)).ok());
  EXPECT_TRUE(manifest.seal().ok());
  ASSERT_TRUE(manifest.add(folder_entry("a", 0)).ok());
  EXPECT_FALSE(manifest.seal().ok());
  EXPECT_FALSE(ShareManifest().seal().ok());
}

TEST(ShareWire, NumberedNames) {
  EXPECT_EQ(numbered_name("photo.jpg", 2, false), "photo (2).jpg");
  EXPECT_EQ(numbered_name("photo", 3, false), "photo (3)");
  EXPECT_EQ(numbered_name(".profile", 2, false), ".profile (2)");
  EXPECT_EQ(numbered_name("v1.5", 2, true), "v1.5 (2)");
  EXPECT_EQ(numbered_name("two (2).bin", 2, false), "two (3).bin");
  EXPECT_EQ(numbered_name("two (2).bin", 4, false), "two (5).bin");
  EXPECT_EQ(numbered_name("tree (9)", 2, true), "tree (10)");
  for (const char* other :
       {"two (1)", "two (02)", "two ()", "two (2024)", "two(2)", "two (x)", "two (2", " (2)"}) {
    EXPECT_EQ(numbered_name(other, 2, true), std::string(other) + " (2)");
  }
  const std::string longest = std::string(251, 'n') + ".txt";
  EXPECT_EQ(numbered_name(longest, 2, false), std::string(247, 'n') + " (2).txt");
  std::string umlauts;
  while (umlauts.size() < 254) umlauts += "ä";
  EXPECT_EQ(numbered_name(umlauts, 2, false).size(), 254U);
}

TEST(ShareWire, DigestOfATopSeesWhatChanges) {
  ASSERT_TRUE(base::crypto::init().ok());
  const auto digest = [](ShareEntry second) {
    ShareManifest manifest;
    EXPECT_TRUE(manifest.add(file_entry("before", 9)).ok());
    EXPECT_TRUE(manifest.add(folder_entry("t")).ok());
    second.parent = 1;
    EXPECT_TRUE(manifest.add(std::move(second)).ok());
    return manifest.digest_of_top(1);
  };
  const auto plain = digest(file_entry("f", 3));
  EXPECT_EQ(plain, digest(file_entry("f", 3)));
  EXPECT_NE(plain, digest(file_entry("g", 3)));
  EXPECT_NE(plain, digest(file_entry("f", 4)));
  ShareEntry later = file_entry("f", 3);
  later.mtime_nanos = 1;
  EXPECT_NE(plain, digest(later));
}

TEST(ShareWire, MessagesComeBackAsTheyWere) {
  const ShareOffer offer = an_offer();
  auto taken = decode_offer(body_of(encode(offer)));
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(*taken, offer);
  const ShareAnswer answer{ShareAnswer::Verdict::kWait, "somebody has to say yes", "3fa9"};
  auto said = decode_answer(body_of(encode(answer)));
  ASSERT_TRUE(said.ok());
  EXPECT_EQ(*said, answer);
  EXPECT_EQ(*decode_stop(body_of(encode_stop("full"))), "full");
  EXPECT_EQ(decode_stop(body_of(encode_stop(std::string(9999, 'x'))))->size(), kShareReasonMax);
  EXPECT_EQ(*decode_hole(body_of(encode_hole(4096))), 4096U);
  auto drop = decode_drop(body_of(encode(ShareDrop{4, "gone"})));
  ASSERT_TRUE(drop.ok());
  EXPECT_EQ(drop->entry, 4U);
  EXPECT_EQ(drop->reason, "gone");
}

TEST(ShareWire, LongListsTakeSeveralMessages) {
  ShareManifest manifest;
  ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
  for (int i = 0; i < 9000; ++i) {
    ASSERT_TRUE(manifest.add(file_entry("file number " + std::to_string(i), 1, 0)).ok());
  }
  ASSERT_TRUE(manifest.add(link_entry("l", std::string(4000, 'x'), 0)).ok());
  ShareManifest again;
  std::uint32_t at = 0;
  int messages = 0;
  while (at < manifest.size()) {
    const base::Bytes message = encode_entries(manifest, at);
    EXPECT_LE(message.size(), kRecordDataMax);
    auto entries = decode_entries(body_of(message));
    ASSERT_TRUE(entries.ok()) << entries.error().detail;
    for (ShareEntry& entry : *entries) ASSERT_TRUE(again.add(std::move(entry)).ok());
    ++messages;
  }
  EXPECT_GT(messages, 2);
  EXPECT_EQ(again.entries(), manifest.entries());
}

TEST(ShareWire, OffersOfNothingAreRefused) {
  ShareOffer none = an_offer();
  none.tops = 0;
  EXPECT_FALSE(decode_offer(body_of(encode(none))).ok());
  ShareOffer fewer = an_offer();
  fewer.entries = 0;
  EXPECT_FALSE(decode_offer(body_of(encode(fewer))).ok());
}

TEST(ShareWire, DamagedMessagesAreRefusedOrMeanSomethingElse) {
  std::size_t at = 0;
  std::uint32_t entry = 0;
  ShareManifest manifest;
  ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
  ASSERT_TRUE(manifest.add(link_entry("l", "t", 0)).ok());
  const std::vector<base::Bytes> messages = {encode(an_offer()), encode(ShareAnswer{}),
                                             encode_stop("why"), encode_entries(manifest, entry),
                                             encode_have({{1, 2, {}}}, at)};
  base::Rng rng(1);
  for (const base::Bytes& message : messages) {
    const base::ByteView body = body_of(message);
    for (std::size_t size = 0; size < body.size(); ++size) {
      const base::ByteView cut = body.first(size);
      EXPECT_FALSE(decode_offer(cut).ok());
      EXPECT_FALSE(decode_answer(cut).ok());
      EXPECT_FALSE(decode_stop(cut).ok());
      EXPECT_FALSE(decode_entries(cut).ok());
      EXPECT_FALSE(decode_have(cut).ok());
    }
    base::Bytes longer = base::to_bytes(body);
    longer.push_back(0);
    EXPECT_FALSE(decode_offer(longer).ok());
    EXPECT_FALSE(decode_entries(longer).ok());
    for (int round = 0; round < 200; ++round) {
      base::Bytes damaged = base::to_bytes(body);
      damaged[rng.below(damaged.size())] = static_cast<std::uint8_t>(rng.below(256));
      (void)decode_offer(damaged);
      (void)decode_answer(damaged);
      (void)decode_entries(damaged);
      (void)decode_results(damaged);
    }
  }
}

}  // namespace
}  // namespace transfer
