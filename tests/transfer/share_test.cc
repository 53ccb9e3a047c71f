// The two ends of a share against each other, over a pipe that breaks (design.md §7: resumes after
// a break, verified by hash), and against peers that do not keep to the rules.
#include <gtest/gtest.h>

#include "share_pair.h"

namespace transfer {
namespace {

constexpr std::uint64_t kChunk = base::FileDigest::kChunk;

struct Tree {
  ShareManifest manifest;
  Files files;
};

base::Bytes content(std::size_t size, base::Rng& rng) {
  base::Bytes out(size);
  for (std::size_t i = 0; i < size; i += 97) out[i] = static_cast<std::uint8_t>(rng.below(256));
  // A hole, in some.
  if (size > 100000 && rng.below(2) == 0) {
    std::fill(out.begin() + 10000, out.begin() + 80000, std::uint8_t{0});
  }
  return out;
}

Tree random_tree(base::Rng& rng) {
  Tree tree;
  const std::uint64_t sizes[] = {0, 1, 5000, 70000, kChunk - 1, kChunk, kChunk + 1, 2 * kChunk + 9};
  const std::size_t tops = 1 + rng.below(3);
  for (std::size_t t = 0; t < tops; ++t) {
    const std::string name = "top" + std::to_string(t);
    if (rng.below(3) == 0) {
      EXPECT_TRUE(tree.manifest.add(file_entry(name, sizes[rng.below(std::size(sizes))])).ok());
      continue;
    }
    std::vector<std::uint32_t> folders = {tree.manifest.size()};
    EXPECT_TRUE(tree.manifest.add(folder_entry(name)).ok());
    for (std::size_t n = rng.below(8); n > 0; --n) {
      const std::uint32_t parent = folders[rng.below(folders.size())];
      const std::string child = "n" + std::to_string(n);
      if (rng.below(4) == 0) {
        folders.push_back(tree.manifest.size());
        EXPECT_TRUE(tree.manifest.add(folder_entry(child, parent)).ok());
      } else {
        const std::uint64_t size = sizes[rng.below(std::size(sizes))];
        EXPECT_TRUE(tree.manifest.add(file_entry(child, size, parent)).ok());
      }
    }
  }
  EXPECT_TRUE(tree.manifest.seal().ok());
  for (std::uint32_t i = 0; i < tree.manifest.size(); ++i) {
    const ShareEntry& entry = tree.manifest.entry(i);
    if (entry.kind != EntryKind::kFile) continue;
    tree.files[tree.manifest.path(i)] = content(entry.size, rng);
  }
  return tree;
}

class Share : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(base::crypto::init().ok()); }
};

TEST_F(Share, ArrivesAsItWas) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    const Tree tree = random_tree(rng);
    FakeInbox inbox;
    const AttemptOutcome outcome = attempt(tree.manifest, tree.files, inbox, rng);
    EXPECT_TRUE(outcome.over) << outcome.failed << outcome.refused;
    EXPECT_EQ(inbox.arrived, tree.files);
    EXPECT_TRUE(inbox.forgotten);
    EXPECT_EQ(outcome.results.size(), tree.manifest.tops().size());
  }
}

TEST_F(Share, GoesOnAfterEachOfManyBreaksAndArrivesOnce) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    const Tree tree = random_tree(rng);
    FakeInbox inbox;
    bool over = false;
    for (int tries = 0; tries < 200 && !over; ++tries) {
      AttemptOptions options;
      // Every second break comes late, so that there is progress.
      const std::uint64_t within = tries % 2 == 0 ? 4 * kChunk : tree.manifest.bytes() + 1000;
      options.break_after = 1 + rng.below(within);
      over = attempt(tree.manifest, tree.files, inbox, rng, options).over;
    }
    if (!over) over = attempt(tree.manifest, tree.files, inbox, rng).over;
    EXPECT_TRUE(over);
    EXPECT_EQ(inbox.arrived, tree.files);
  }
}

TEST_F(Share, SendsOnlyWhatIsMissing) {
  base::Rng rng(5);
  Tree tree;
  ASSERT_TRUE(tree.manifest.add(file_entry("big", 8 * kChunk)).ok());
  ASSERT_TRUE(tree.manifest.seal().ok());
  tree.files["big"] = content(8 * kChunk, rng);
  std::fill(tree.files["big"].begin(), tree.files["big"].end(), std::uint8_t{7});
  FakeInbox inbox;
  AttemptOptions options;
  options.break_after = 6 * kChunk;
  EXPECT_FALSE(attempt(tree.manifest, tree.files, inbox, rng, options).over);
  const std::uint64_t there = inbox.staged["big"].size() / kChunk * kChunk;
  EXPECT_GE(there, 4 * kChunk);
  const AttemptOutcome second = attempt(tree.manifest, tree.files, inbox, rng);
  EXPECT_TRUE(second.over);
  EXPECT_EQ(second.read_bytes, 8 * kChunk - there);
  EXPECT_EQ(inbox.arrived, tree.files);
}

TEST_F(Share, BeginsAgainWhereTheSourceIsAnother) {
  base::Rng rng(6);
  Tree tree;
  ASSERT_TRUE(tree.manifest.add(file_entry("big", 3 * kChunk)).ok());
  ASSERT_TRUE(tree.manifest.seal().ok());
  tree.files["big"] = base::Bytes(3 * kChunk, 1);
  FakeInbox inbox;
  inbox.staged["big"] = base::Bytes(2 * kChunk, 2);
  const AttemptOutcome outcome = attempt(tree.manifest, tree.files, inbox, rng);
  EXPECT_TRUE(outcome.over);
  EXPECT_EQ(outcome.read_bytes, 3 * kChunk);
  EXPECT_EQ(inbox.arrived, tree.files);
}

TEST_F(Share, OfAFolderWithAFileThatWentNothingArrives) {
  struct Row {
    const char* name;
    AttemptOptions options;
  };
  Row rows[2] = {{"vanished", {}}, {"changed", {}}};
  rows[0].options.vanishes = "tree/b";
  rows[1].options.changes = "tree/b";
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    base::Rng rng(8);
    Tree tree;
    ASSERT_TRUE(tree.manifest.add(file_entry("alone", 10)).ok());
    ASSERT_TRUE(tree.manifest.add(folder_entry("tree")).ok());
    ASSERT_TRUE(tree.manifest.add(file_entry("a", 10, 1)).ok());
    ASSERT_TRUE(tree.manifest.add(file_entry("b", 70000, 1)).ok());
    ASSERT_TRUE(tree.manifest.add(file_entry("c", 10, 1)).ok());
    ASSERT_TRUE(tree.manifest.seal().ok());
    for (const char* path : {"alone", "tree/a", "tree/c"}) tree.files[path] = base::Bytes(10, 3);
    tree.files["tree/b"] = base::Bytes(70000, 3);
    FakeInbox inbox;
    const AttemptOutcome outcome = attempt(tree.manifest, tree.files, inbox, rng, row.options);
    EXPECT_TRUE(outcome.over);
    EXPECT_EQ(inbox.arrived.size(), 1U);
    EXPECT_TRUE(outcome.results.at(0).arrived);
    EXPECT_FALSE(outcome.results.at(1).arrived);
    EXPECT_NE(outcome.results.at(1).text.find("tree/b"), std::string::npos);
    EXPECT_FALSE(inbox.forgotten);
    // The next attempt sends only what is missing of it.
    inbox.delivered.clear();
    inbox.arrived.clear();
    EXPECT_TRUE(attempt(tree.manifest, tree.files, inbox, rng).over);
    EXPECT_EQ(inbox.arrived, tree.files);
  }
}

TEST_F(Share, WhatWasDeliveredBeforeABreakIsNotSentAgain) {
  base::Rng rng(9);
  Tree tree = random_tree(rng);
  FakeInbox inbox;
  ASSERT_TRUE(attempt(tree.manifest, tree.files, inbox, rng).over);
  inbox.forgotten = false;  // its last word was lost
  const AttemptOutcome again = attempt(tree.manifest, tree.files, inbox, rng);
  EXPECT_TRUE(again.over);
  EXPECT_EQ(again.read_bytes, 0U);
  EXPECT_EQ(again.results.size(), tree.manifest.tops().size());
  EXPECT_TRUE(again.results.at(0).arrived);
}

// ---- a receiver against a sender that lies

struct Spoken {
  const char* name;
  std::vector<base::Bytes> messages;
};

base::Bytes entries_of(const std::vector<ShareEntry>& entries) {
  ShareManifest manifest;
  for (const ShareEntry& entry : entries) EXPECT_TRUE(manifest.add(entry).ok());
  std::uint32_t at = 0;
  return encode_entries(manifest, at);
}

TEST_F(Share, ReceiverRefusesWhatIsOutOfTurn) {
  const base::Bytes file = entries_of({file_entry("f", 5)});
  const base::Bytes sealed = share_message(ShareType::kSealed);
  const base::Bytes begin = encode(ShareBegin{0, 0});
  const base::Bytes five = share_message(ShareType::kData, base::Bytes(5));
  const base::Bytes six = share_message(ShareType::kData, base::Bytes(6));
  const base::Bytes all = share_message(ShareType::kAll);
  const base::Bytes end = share_message(ShareType::kEnd, base::Bytes(32));
  const std::vector<Spoken> rows = {
      {"data first", {five}},
      {"sealed of nothing", {sealed}},
      {"more than offered", {file, entries_of({file_entry("g", 96)})}},
      {"one name twice", {file, file, sealed}},
      {"another name than was offered", {entries_of({file_entry("g", 5)}), sealed}},
      {"one more at the top", {entries_of({file_entry("f", 5), file_entry("g", 5)}), sealed}},
      {"no such entry", {file, sealed, encode(ShareBegin{1, 0})}},
      {"begins behind what is here", {file, sealed, encode(ShareBegin{0, 5})}},
      {"begins twice", {file, sealed, begin, begin}},
      {"too much", {file, sealed, begin, six}},
      {"too long a hole", {file, sealed, begin, encode_hole(6)}},
      {"a hole beyond all numbers", {file, sealed, begin, five, encode_hole(UINT64_MAX)}},
      {"ends early", {file, sealed, begin, end}},
      {"ends twice", {file, sealed, begin, five, end, end}},
      {"data behind the end", {file, sealed, begin, five, end, five}},
      {"again", {file, sealed, begin, five, end, begin}},
      {"all while one is open", {file, sealed, begin, all}},
      {"drops what is done", {file, sealed, begin, five, end, encode(ShareDrop{0, "x"})}},
      {"bye before all", {file, sealed, share_message(ShareType::kBye)}},
      {"receiver's word", {file, sealed, share_message(ShareType::kReady)}},
      {"unknown", {share_message(static_cast<ShareType>(99))}},
      {"half a message", {base::Bytes{5, 9}}},
      {"longer than it is", {base::Bytes{5, 9, 9, 0}}},
  };
  for (const Spoken& row : rows) {
    SCOPED_TRACE(row.name);
    ShareOffer offer;
    offer.label = "f";
    offer.tops = 1;
    offer.entries = 2;
    offer.bytes = 100;
    ShareReceiver receiver(offer);
    FakeInbox inbox;
    bool refused = false;
    for (const base::Bytes& message : row.messages) {
      EXPECT_FALSE(refused) << "refused too early";
      auto orders = receiver.feed(buffer_of(message));
      refused = !orders.ok();
      if (receiver.phase() == ShareReceiver::Phase::kLooking) (void)receiver.prepared({}, {});
    }
    EXPECT_TRUE(refused);
  }
}

TEST_F(Share, SenderRefusesAReceiverThatClaimsTooMuch) {
  const auto have_of = [](const ShareHave& have) {
    std::size_t at = 0;
    return encode_have({have}, at);
  };
  const auto result_of = [](const ShareResult& result) {
    std::size_t at = 0;
    return encode_results({result}, at);
  };
  const std::vector<Spoken> rows = {
      {"no such entry", {have_of({9, 1, {}})}},
      {"a folder", {have_of({0, 1, {}})}},
      {"more than there is", {have_of({1, kChunk + 2, {}})}},
      {"no whole chunk", {have_of({1, 5, {}})}},
      {"nothing", {have_of({1, 0, {}})}},
      {"a result of no top", {result_of({1, true, "x"})}},
      {"failed before it began", {result_of({0, false, "x"})}},
      {"over", {share_message(ShareType::kOver, base::Bytes(1))}},
      {"have after ready", {share_message(ShareType::kReady), have_of({1, kChunk, {}})}},
      {"ready twice", {share_message(ShareType::kReady), share_message(ShareType::kReady)}},
      {"sender's word", {encode(ShareBegin{0, 0})}},
  };
  for (const Spoken& row : rows) {
    SCOPED_TRACE(row.name);
    ShareManifest manifest;
    ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
    ASSERT_TRUE(manifest.add(file_entry("f", kChunk + 1, 0)).ok());
    ASSERT_TRUE(manifest.seal().ok());
    ShareSender sender(std::move(manifest));
    while (std::holds_alternative<ShareSender::Flush>(sender.next())) {
      sender.consume(sender.output().size());
    }
    base::Status status;
    for (const base::Bytes& message : row.messages) {
      EXPECT_TRUE(status.ok()) << "refused too early";
      status = sender.feed(message);
    }
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(sender.failed().empty());
    EXPECT_TRUE(std::holds_alternative<ShareSender::Over>(sender.next()));
  }
}

TEST_F(Share, StopTellsWhy) {
  ShareManifest manifest;
  ASSERT_TRUE(manifest.add(file_entry("f", 1)).ok());
  ASSERT_TRUE(manifest.seal().ok());
  ShareSender sender(std::move(manifest));
  ASSERT_TRUE(sender.feed(encode_stop("its disk is full")).ok());
  EXPECT_EQ(sender.failed(), "its disk is full");
}

TEST_F(Share, ManySmallFilesShareRecords) {
  ShareManifest manifest;
  ASSERT_TRUE(manifest.add(folder_entry("t")).ok());
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(manifest.add(file_entry("f" + std::to_string(i), 100, 0)).ok());
  }
  ASSERT_TRUE(manifest.seal().ok());
  ShareSender sender(std::move(manifest));
  std::size_t records = 0;
  const auto count = [&] {
    const base::ByteView out = sender.output();
    for (std::size_t at = 0; at < out.size(); ++records) {
      at += kFrameHeaderSize + get_le16(out.subspan(at));
    }
    sender.consume(out.size());
  };
  for (bool ready = false;;) {
    const ShareSender::Step step = sender.next();
    if (std::holds_alternative<ShareSender::Wait>(step)) {
      if (ready) break;
      records = 0;
      ASSERT_TRUE(sender.feed(share_message(ShareType::kReady)).ok());
      ready = true;
    }
    if (std::holds_alternative<ShareSender::Flush>(step)) count();
    if (std::holds_alternative<ShareSender::Open>(step)) sender.opened();
    if (std::holds_alternative<ShareSender::Read>(step)) {
      (void)sender.room();
      sender.got(100);
    }
    if (std::holds_alternative<ShareSender::Close>(step)) sender.closed();
  }
  EXPECT_EQ(records, 1U);
}

}  // namespace
}  // namespace transfer
