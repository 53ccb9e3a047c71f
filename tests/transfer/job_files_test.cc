#include "transfer/job_files.h"

#include <gtest/gtest.h>

#include "transfer/file_ledger.h"
#include "transfer/job_files_flow.h"

namespace transfer {
namespace {

JobFile file(std::string path, std::uint64_t size = 0, std::uint32_t flags = 0) {
  JobFile out;
  out.path = std::move(path);
  out.size = size;
  out.flags = flags;
  return out;
}

TEST(JobFileList, TakesOnlyPathsOfAJobInTheirOrder) {
  struct Row {
    const char* name;
    const char* path;
    bool ok;
  };
  constexpr Row kRows[] = {
      {"own", "/home/a/x", true},
      {"relative", "home/a", false},
      {"root", "/", false},
      {"upwards", "/home/../etc/passwd", false},
      {"dot", "/home/./a", false},
      {"double slash", "/home//a", false},
      {"at its end", "/home/a/", false},
      {"system", "/usr/lib/x.so", false},
      {"system itself", "/etc", false},
      {"like system", "/usrlocal/x", true},
      {"temporary", "/var/tmp/x", true},
      {"var", "/var/lib/x", false},
      {"run", "/run/x", false},
      {"device", "/dev/sda", false},
      {"shared memory", "/dev/shm/x", true},
      {"of a user", "/run/user/1000/x", true},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    JobFileList list;
    EXPECT_EQ(list.add(file(row.path)).ok(), row.ok);
  }
  JobFileList list;
  ASSERT_TRUE(list.add(file("/home/b")).ok());
  EXPECT_FALSE(list.add(file("/home/b")).ok());
  EXPECT_FALSE(list.add(file("/home/a")).ok());
  JobFile hard = file("/home/c");
  hard.kind = JobFileKind::kHardLink;
  hard.link = "/etc/shadow";
  EXPECT_FALSE(list.add(hard).ok());
  hard.link = "/home/b";
  EXPECT_TRUE(list.add(hard).ok());
  EXPECT_FALSE(list.add(file("/home/d", kJobChunk * kJobChunksMax + 1)).ok());
}

// design.md §8 and issue 4.4: never over a file that tern did not put there.
TEST(JobFiles, WhatStandsAtAPathIsKeptUnlessItIsTernsOrTheJobsOwn) {
  struct Row {
    const char* name;
    std::uint32_t flags;
    bool same;
    bool placed;
    bool another;
    bool left;
    bool home;
    Verdict verdict;
  };
  constexpr std::uint32_t kW = kJobFileWritten;
  constexpr std::uint32_t kN = kJobFileNeeded;
  constexpr Row kRows[] = {
      {"the same", 0, true, false, false, false, false, Verdict::kUse},
      {"the same, to be written", kW, true, false, false, false, false, Verdict::kRefuse},
      {"another", 0, false, false, false, false, false, Verdict::kRefuse},
      {"tern's", kW, false, true, false, false, false, Verdict::kReplace},
      {"tern's for another", 0, false, false, true, false, false, Verdict::kRefuse},
      {"the same for another", 0, true, false, true, false, false, Verdict::kUse},
      {"the same for another, written", kW, true, false, true, false, false, Verdict::kRefuse},
      {"home, as it left", kW | kN, false, false, false, true, true, Verdict::kReturn},
      {"home, changed", kW, false, false, false, false, true, Verdict::kBeside},
      {"home, changed and open", kW | kN, false, false, false, false, true, Verdict::kRefuse},
      {"home, changed alike", kW, true, false, false, false, true, Verdict::kUse},
      {"as it left, not home", kW, false, false, false, true, false, Verdict::kRefuse},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    const JobFile wanted = file("/home/a", 5, row.flags);
    FoundFile found;
    found.kind = FoundFile::Kind::kFile;
    found.size = 5;
    found.mode = 0644;
    found.digest.emplace();
    if (!row.same) found.digest->fill(1);
    found.placed = row.placed;
    found.placed_for_another = row.another;
    found.as_it_left = row.left;
    const Decision decision = decide(wanted, found, row.home);
    EXPECT_EQ(decision.verdict, row.verdict) << decision.why;
    EXPECT_EQ(decision.why.empty(), row.verdict != Verdict::kRefuse);
    found.same_inode = true;
    EXPECT_EQ(decide(wanted, found, row.home).verdict, Verdict::kUse);
  }
}

// What has its content needs no other file for that.
TEST(JobFiles, WhereOnlyMarksDifferTheyAreSet) {
  JobFile wanted = file("/home/a", 5, kJobFileWritten);
  wanted.mtime_seconds = 2000;
  wanted.mtime_nanos = 123456789;
  FoundFile found;
  found.kind = FoundFile::Kind::kFile;
  found.size = 5;
  found.mode = 0644;
  found.digest.emplace();
  found.mtime_seconds = 2000;
  for (const std::uint32_t coarse : {123456789U, 123456700U, 120000000U, 0U}) {
    found.mtime_nanos = coarse;
    found.placed = found.marks_as_they_left = true;
    EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kUse) << coarse;
    found.placed = false;
    EXPECT_EQ(decide(wanted, found, true).verdict, Verdict::kUse) << coarse;
  }
  found.mtime_nanos = 123456788;
  EXPECT_EQ(decide(wanted, found, true).verdict, Verdict::kMark);
  found.marks_as_they_left = false;
  EXPECT_EQ(decide(wanted, found, true).verdict, Verdict::kUse);  // its owner's
  found.placed = true;
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kMark);
  found.digest->fill(1);
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kReplace);
}

TEST(JobFiles, AFolderTakesItsModeHomeAndIsNoneOfAnotherMode) {
  JobFile wanted = file("/home/a", 0, kJobFileWritten);
  wanted.kind = JobFileKind::kFolder;
  wanted.mtime_seconds = 2000;
  FoundFile found;
  found.kind = FoundFile::Kind::kFolder;
  found.mode = 02644;
  found.empty = true;
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kUse);
  found.mode = 0755;
  EXPECT_EQ(decide(wanted, found, false).why, "/home/a differs there (permissions)");
  EXPECT_EQ(decide(wanted, found, true).verdict, Verdict::kUse);
  found.marks_as_they_left = true;
  EXPECT_EQ(decide(wanted, found, true).verdict, Verdict::kMark);
  found.same_inode = true;
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kUse);
  found.same_inode = found.empty = false;
  found.placed = true;
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kUse);
  found.taken = true;
  EXPECT_EQ(decide(wanted, found, false).verdict, Verdict::kRefuse);
}

TEST(JobFiles, LinksAndFoldersAreNeverReplaced) {
  FoundFile link;
  link.kind = FoundFile::Kind::kLink;
  link.link = "/etc/shadow";
  EXPECT_EQ(decide(file("/home/a"), link, false).verdict, Verdict::kRefuse);
  FoundFile folder;
  folder.kind = FoundFile::Kind::kFolder;
  EXPECT_EQ(decide(file("/home/a"), folder, false).verdict, Verdict::kRefuse);
  JobFile wanted = file("/home/a");
  wanted.kind = JobFileKind::kFolder;
  EXPECT_EQ(decide(wanted, folder, false).verdict, Verdict::kUse);
  EXPECT_EQ(decide(wanted, link, false).verdict, Verdict::kRefuse);
  FoundFile out;
  out.kind = FoundFile::Kind::kUnreachable;
  EXPECT_EQ(decide(wanted, out, false).verdict, Verdict::kRefuse);
}

TEST(JobFiles, AtHomeAFolderAndAFileMayStandForEachOther) {
  FoundFile plain;
  plain.kind = FoundFile::Kind::kFile;
  JobFile folder = file("/home/a");
  folder.kind = JobFileKind::kFolder;
  EXPECT_EQ(decide(folder, plain, true).verdict, Verdict::kReturn);  // changed here or not
  EXPECT_EQ(decide(folder, plain, false).verdict, Verdict::kRefuse);
  plain.placed = true;  // of this very handover
  EXPECT_EQ(decide(folder, plain, true).verdict, Verdict::kRefuse);
  FoundFile there;
  there.kind = FoundFile::Kind::kFolder;
  EXPECT_EQ(decide(file("/home/a"), there, true).verdict, Verdict::kBeside);
  EXPECT_EQ(decide(file("/home/a", 5, kJobFileNeeded), there, true).verdict, Verdict::kRefuse);
  there.as_it_left = true;
  EXPECT_EQ(decide(file("/home/a"), there, true).verdict, Verdict::kReturn);
  EXPECT_EQ(decide(file("/home/a"), there, false).verdict, Verdict::kRefuse);
  FoundFile other;
  other.kind = FoundFile::Kind::kOther;
  EXPECT_EQ(decide(folder, other, true).verdict, Verdict::kRefuse);
}

// Its owner may have moved the folder to another disk, and left a link to it.
TEST(JobFiles, AtHomeALinkThatIsNewStaysWhereTheJobHasAFolder) {
  FoundFile link;
  link.kind = FoundFile::Kind::kLink;
  link.link = "/mnt/large/a";
  FoundFile plain;
  plain.kind = FoundFile::Kind::kFile;
  JobFile folder = file("/home/a");
  folder.kind = JobFileKind::kFolder;
  EXPECT_EQ(decide(folder, link, true).verdict, Verdict::kRefuse);
  EXPECT_EQ(decide(folder, link, true).why, "/home/a is no folder there, but a symbolic link");
  link.as_it_left = plain.as_it_left = true;
  EXPECT_EQ(decide(folder, link, true).verdict, Verdict::kReturn);
  folder.flags = kJobFileAncestor;
  EXPECT_EQ(decide(folder, link, true).verdict, Verdict::kRefuse);
  EXPECT_EQ(decide(folder, plain, true).verdict, Verdict::kRefuse);
}

// The job may make a link of a file, and a file of a link.
TEST(JobFiles, AtHomeALinkIsKeptOrReturnedAsAFileIs) {
  FoundFile link;
  link.kind = FoundFile::Kind::kLink;
  link.link = "old";
  FoundFile plain;
  plain.kind = FoundFile::Kind::kFile;
  JobFile wanted = file("/home/a");
  wanted.kind = JobFileKind::kLink;
  wanted.link = "new";
  const JobFile open = file("/home/a", 5, kJobFileNeeded);
  for (FoundFile* found : {&link, &plain}) {
    EXPECT_EQ(decide(wanted, *found, true).verdict, Verdict::kBeside);
    EXPECT_EQ(decide(file("/home/a"), *found, true).verdict, Verdict::kBeside);
    EXPECT_EQ(decide(open, *found, true).verdict, Verdict::kRefuse);
    EXPECT_EQ(decide(wanted, *found, false).verdict, Verdict::kRefuse);
    found->as_it_left = true;
    EXPECT_EQ(decide(wanted, *found, true).verdict, Verdict::kReturn);
    EXPECT_EQ(decide(open, *found, true).verdict, Verdict::kReturn);
    EXPECT_EQ(decide(wanted, *found, false).verdict, Verdict::kRefuse);
    found->placed = true;
    EXPECT_EQ(decide(wanted, *found, false).verdict, Verdict::kReplace);
  }
  EXPECT_EQ(decide(open, link, false).verdict, Verdict::kReplace);
}

// Both ends, joined; the sink has `there` of the entries, and disk gets what was sent.
struct Pair {
  std::shared_ptr<JobFilesSender::Content> content = std::make_shared<JobFilesSender::Content>();
  std::map<std::uint32_t, base::Bytes> source;
  std::map<std::uint32_t, base::Bytes> disk;
  std::map<std::uint32_t, ChunkHashes> there;
  std::uint64_t sent = 0;

  void add(const std::string& path, base::Bytes bytes) {
    JobFile entry = file(path, bytes.size());
    ChunkHashes chunks;
    for (std::size_t at = 0; at < bytes.size(); at += kJobChunk) {
      chunks.push_back(chunk_hash(
          base::ByteView(bytes).subspan(at, std::min<std::size_t>(kJobChunk, bytes.size() - at))));
    }
    entry.digest = digest_of(chunks, bytes.size());
    source[content->list.size()] = std::move(bytes);
    ASSERT_TRUE(content->list.add(entry).ok());
    content->chunks.push_back(std::move(chunks));
  }

  void carry_out(JobFilesReceiver& receiver, const JobFilesReceiver::Order& order,
                 std::vector<base::Bytes>& replies) {
    if (std::holds_alternative<JobFilesReceiver::Plan>(order)) {
      std::vector<std::uint32_t> wanted;
      for (std::uint32_t i = 0; i < receiver.list()->size(); ++i) wanted.push_back(i);
      std::size_t at = 0;
      replies.push_back(encode_job_want(wanted, at));
      for (const auto& [entry, hashes] : there) {
        std::size_t from = 0;
        replies.push_back(encode_job_have(entry, hashes, from));
      }
      replies.push_back(job_files_message(JobFilesType::kReady));
      receiver.planned(wanted);
    } else if (const auto* chunk = std::get_if<JobFilesReceiver::Chunk>(&order)) {
      base::Bytes& to = disk[chunk->at.entry];
      to.resize(receiver.list()->at(chunk->at.entry).size);
      std::copy(chunk->bytes.begin(), chunk->bytes.end(),
                to.begin() + static_cast<std::ptrdiff_t>(chunk->at.chunk * kJobChunk));
    } else if (const auto* holes = std::get_if<JobFilesReceiver::Holes>(&order)) {
      disk[holes->first.entry].resize(receiver.list()->at(holes->first.entry).size);
    } else if (std::holds_alternative<JobFilesReceiver::Finish>(order)) {
      receiver.finished();
      replies.push_back(job_files_message(JobFilesType::kPlaced));
    }
  }

  void run() {
    JobFilesSender sender({true, {1, 2, 3}}, content);
    JobFilesReceiver receiver;
    std::vector<base::Bytes> replies;
    for (;;) {
      JobFilesSender::Step step = sender.next();
      if (std::holds_alternative<JobFilesSender::Over>(step)) return;
      if (const auto* read = std::get_if<JobFilesSender::Read>(&step)) {
        const auto view = base::ByteView(source[read->at.entry]).subspan(read->offset, read->size);
        ASSERT_TRUE(sender.got(base::to_bytes(view)).ok());
      } else if (const auto* send = std::get_if<JobFilesSender::Send>(&step)) {
        sent += send->record.size();
        auto orders = receiver.feed(send->record);
        ASSERT_TRUE(orders.ok()) << orders.error().detail;
        for (const auto& order : *orders) carry_out(receiver, order, replies);
      } else {
        ASSERT_FALSE(replies.empty());
        for (const base::Bytes& reply : replies) ASSERT_TRUE(sender.feed(reply).ok());
        replies.clear();
      }
    }
  }
};

TEST(JobFilesFlow, SendsWhatDiffersAndLeavesOutZerosAndWhatIsThere) {
  Pair pair;
  base::Bytes large(3 * kJobChunk + 7, 1);
  std::fill_n(large.begin() + static_cast<std::ptrdiff_t>(kJobChunk), kJobChunk, 0);
  large[2 * kJobChunk] = 9;
  pair.add("/srv/empty", {});
  pair.add("/srv/large", large);
  pair.add("/srv/small", {1, 2, 3});
  pair.run();
  EXPECT_EQ(pair.disk[1], large);
  EXPECT_EQ(pair.disk[2], (base::Bytes{1, 2, 3}));
  EXPECT_LT(pair.sent, 2 * kJobChunk + 4096);
  const std::uint64_t first = pair.sent;
  pair.there[1] = pair.content->chunks[1];
  pair.there[1][0].fill(0);
  pair.sent = 0;
  pair.run();
  EXPECT_LT(pair.sent, kJobChunk + 4096);
  EXPECT_LT(pair.sent, first);
}

TEST(JobFilesFlow, ASenderSeesWhatWasChangedUnderIt) {
  Pair pair;
  pair.add("/home/x", {1, 2, 3});
  for (const bool final : {false, true}) {
    SCOPED_TRACE(final);
    JobFilesSender sender({final, {}}, pair.content);
    while (std::holds_alternative<JobFilesSender::Send>(sender.next())) continue;
    std::size_t at = 0;
    ASSERT_TRUE(sender.feed(encode_job_want({0}, at)).ok());
    ASSERT_TRUE(sender.feed(job_files_message(JobFilesType::kReady)).ok());
    ASSERT_TRUE(std::holds_alternative<JobFilesSender::Read>(sender.next()));
    EXPECT_EQ(sender.got({1, 2, 4}).ok(), !final);
  }
}

TEST(JobFilesFlow, ASenderTellsWantOfRoomFromARefusalAndBothFromWhatItDoesNotKnow) {
  const struct {
    const char* name;
    base::Bytes record;
    base::Code code;
  } rows[] = {
      {"refuse", encode_job_refuse(JobFilesType::kRefuse, "why"), base::Code::kRefused},
      {"full", encode_job_refuse(JobFilesType::kFull, "why"), base::Code::kFull},
      // As an older one takes `full`: the attempt has failed, and the next is made.
      {"unknown", encode_job_refuse(static_cast<JobFilesType>(103), "why"), base::Code::kInvalid},
      {"damaged", {static_cast<std::uint8_t>(JobFilesType::kFull)}, base::Code::kTruncated},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Pair pair;
    JobFilesSender sender({true, {}}, pair.content);
    const base::Status fed = sender.feed(row.record);
    ASSERT_FALSE(fed.ok());
    EXPECT_EQ(fed.error().code, row.code);
    if (row.code == base::Code::kFull) {
      EXPECT_EQ(fed.error().detail, "why");
    }
  }
}

TEST(JobFilesFlow, AReceiverTakesNoPieceThatItDidNotAskFor) {
  const auto piece = [](ChunkAt at, std::size_t size) {
    base::Bytes record = encode_job_chunk_header(at);
    record.resize(record.size() + size);
    return record;
  };
  struct Row {
    const char* name;
    base::Bytes record;
    bool ok;
  };
  const Row rows[] = {
      {"wanted", piece({1, 0}, 5), true},
      {"not wanted", piece({0, 0}, 5), false},
      {"no such file", piece({7, 0}, 5), false},
      {"beyond its end", piece({1, 1}, 5), false},
      {"too long", piece({1, 0}, 6), false},
      {"empty", piece({1, 0}, 0), false},
      {"holes beyond its end", encode_job_holes({1, 0}, 1), false},
      {"endless holes", encode_job_holes({1, 0}, UINT32_MAX), false},
      {"end of another", encode_job_end(0), false},
      {"all too early", job_files_message(JobFilesType::kAll), false},
      {"begun again", encode_job_begin({true, {}}), false},
      {"empty record", {}, false},
  };
  JobFileList list;
  ASSERT_TRUE(list.add(file("/home/a", 5)).ok());
  ASSERT_TRUE(list.add(file("/home/b", 5)).ok());
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    JobFilesReceiver receiver;
    std::uint32_t at = 0;
    ASSERT_TRUE(receiver.feed(encode_job_begin({false, {}})).ok());
    ASSERT_TRUE(receiver.feed(encode_job_entries(list, at)).ok());
    ASSERT_TRUE(receiver.feed(job_files_message(JobFilesType::kSealed)).ok());
    receiver.planned({1});
    EXPECT_EQ(receiver.feed(row.record).ok(), row.ok);
    EXPECT_EQ(receiver.phase() == JobFilesReceiver::Phase::kFailed, !row.ok);
  }
}

TEST(JobFiles, MessagesAreRefusedWhenCutOffOrExtended) {
  JobFileList list;
  ASSERT_TRUE(list.add(file("/home/a", 5)).ok());
  std::uint32_t at = 0;
  base::Bytes bytes = encode_job_entries(list, at);
  const base::ByteView body = base::ByteView(bytes).subspan(1);
  auto again = decode_job_entries(body);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, list.files());
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(decode_job_entries(body.first(size)).ok()) << size;
  }
  bytes.push_back(0);
  EXPECT_FALSE(decode_job_entries(base::ByteView(bytes).subspan(1)).ok());
  EXPECT_FALSE(decode_job_begin(base::Bytes{0x93, 2, 0xc2, 0xc4, 0}).ok());  // another version
  EXPECT_FALSE(decode_job_want(base::Bytes(5)).ok());
  EXPECT_FALSE(decode_job_have(base::Bytes(8)).ok());
  EXPECT_FALSE(decode_job_have(base::Bytes(39)).ok());
}

TEST(FileLedger, EndsAtWhatWasCutOffOrDamaged) {
  std::vector<LedgerRecord> records(3);
  records[0] = {LedgerKind::kUser, {}, {}, 1000, 100, {}};
  records[1] = {LedgerKind::kPlaced, "/home/a", {}, 5, 6, {}};
  records[2] = {LedgerKind::kReplaced, "/home/b", "/home/.tern-b", 0, 0, {}};
  base::Bytes bytes;
  std::vector<std::size_t> ends;
  for (const LedgerRecord& record : records) {
    const base::Bytes one = encode(record);
    bytes.insert(bytes.end(), one.begin(), one.end());
    ends.push_back(bytes.size());
  }
  EXPECT_EQ(decode_ledger(bytes), records);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto whole = static_cast<std::size_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= size; }));
    EXPECT_EQ(decode_ledger(base::ByteView(bytes).first(size)).size(), whole) << size;
  }
  bytes[ends[0] + 6] ^= 1;
  EXPECT_EQ(decode_ledger(bytes).size(), 1U);
}

}  // namespace
}  // namespace transfer
