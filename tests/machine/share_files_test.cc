// Files of a share on a real disk: found, sent and arrived, without a socket between; what is tried
// to lead an arrival out of its inbox.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/overloaded.h"
#include "machine/arrival.h"
#include "machine/share_source.h"
#include "transfer/share_sender.h"
#include "transfer/wire.h"

namespace machine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using transfer::EntryKind;
using transfer::ShareEntry;
using transfer::ShareManifest;
using transfer::ShareSender;

constexpr std::uint64_t kChunk = base::FileDigest::kChunk;
constexpr char kKey[] = "00112233445566778899aabbccddeeff";

void write_to(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_from(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class ShareFiles : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::crypto::init().ok());
    std::string name = (fs::temp_directory_path() / "tern-share-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
    fs::create_directories(dir_ / "from");
    inbox_ = *Inbox::open((dir_ / "inbox").string());
  }
  void TearDown() override {
    std::error_code error;
    fs::permissions(dir_, fs::perms::owner_all, error);
    fs::remove_all(dir_, error);
  }

  std::unique_ptr<Arrival> arrival_of(const std::shared_ptr<const ShareManifest>& manifest) {
    EXPECT_TRUE(inbox_->keep_stage(kKey, base::Bytes{1}).ok());
    auto arrival = Arrival::open(inbox_, kKey, manifest);
    EXPECT_TRUE(arrival.ok()) << arrival.error().detail;
    return std::move(*arrival);
  }

  // One attempt: until it is over, or `records_max` records were carried.
  bool send(const ShareSource& source, std::size_t records_max = SIZE_MAX) {
    ShareSender sender(source.manifest);
    transfer::ShareOffer offer;
    offer.label = source.manifest.entry(0).name;
    offer.tops = source.roots.size();
    offer.entries = source.manifest.size();
    offer.bytes = source.manifest.bytes();
    transfer::ShareReceiver receiver(offer);
    std::unique_ptr<Arrival> arrival;
    std::optional<ShareFile> file;
    std::vector<base::Bytes> replies;
    const auto carry_out = [&](transfer::ShareOrders first) {
      std::deque<transfer::ShareOrder> todo(std::make_move_iterator(first.begin()),
                                            std::make_move_iterator(first.end()));
      while (!todo.empty()) {
        transfer::ShareOrders more;
        base::Status status;
        std::visit(
            base::Overloaded{
                [&](const transfer::SharePrepare&) {
                  arrival = arrival_of(receiver.manifest());
                  auto prepared = arrival->prepare(cancelled_);
                  ASSERT_TRUE(prepared.ok()) << prepared.error().detail;
                  more = receiver.prepared(prepared->have, prepared->delivered);
                },
                [&](const transfer::ShareOpen& o) { status = arrival->begin(o.entry, o.offset); },
                [&](const transfer::ShareWrite& o) { status = arrival->write(o.offset, o.bytes); },
                [&](const transfer::ShareZeros& o) { status = arrival->zeros(o.offset, o.count); },
                [&](const transfer::ShareClose& o) { status = arrival->end(o.entry, o.digest); },
                [&](const transfer::ShareDiscard& o) { status = arrival->discard(o.entry); },
                [&](const transfer::ShareDeliver& o) {
                  auto results = arrival->deliver(o.tops);
                  ASSERT_TRUE(results.ok()) << results.error().detail;
                  more = receiver.delivered(*results);
                },
                [&](const transfer::ShareForget&) { status = inbox_->remove_stage(kKey); },
                [&](const transfer::ShareReply& o) { replies.push_back(o.record); },
            },
            todo.front());
        EXPECT_TRUE(status.ok()) << status.error().detail;
        todo.pop_front();
        for (auto order = more.rbegin(); order != more.rend(); ++order) {
          todo.push_front(std::move(*order));
        }
      }
    };
    std::size_t records = 0;
    while (records < records_max) {
      const ShareSender::Step step = sender.next();
      if (std::holds_alternative<ShareSender::Over>(step)) break;
      if (std::holds_alternative<ShareSender::Wait>(step)) {
        if (replies.empty()) break;
        for (const base::Bytes& reply : std::exchange(replies, {})) {
          EXPECT_TRUE(sender.feed(reply).ok()) << sender.failed();
        }
      } else if (std::holds_alternative<ShareSender::Flush>(step)) {
        const base::ByteView out = sender.output();
        const std::size_t size = transfer::get_le16(out);
        auto record = std::make_shared<transfer::Buffer>(size);
        std::copy_n(out.begin() + transfer::kFrameHeaderSize, size, record->mutable_view().begin());
        sender.consume(transfer::kFrameHeaderSize + size);
        auto orders = receiver.feed(record);
        EXPECT_TRUE(orders.ok());
        carry_out(std::move(*orders));
        ++records;
      } else if (const auto* open = std::get_if<ShareSender::Open>(&step)) {
        auto opened = ShareFile::open(source, open->entry);
        if (!opened) {
          sender.dropped(opened.error().detail);
          continue;
        }
        file.emplace(std::move(*opened));
        open->check ? sender.opened(*file->digest(open->check->bytes)) : sender.opened();
        had_ = sender.bytes_had();
      } else if (const auto* read = std::get_if<ShareSender::Read>(&step)) {
        auto piece = file->read({read->offset, read->left}, sender.room());
        if (!piece) {
          sender.dropped(piece.error().detail);
        } else {
          piece->hole ? sender.hole(piece->count)
                      : sender.got(static_cast<std::size_t>(piece->count));
        }
      } else {
        file->unchanged() ? sender.closed() : sender.dropped("changed");
      }
    }
    results_ = sender.results();
    return receiver.phase() == transfer::ShareReceiver::Phase::kOver;
  }

  [[nodiscard]] std::vector<std::string> arrived() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir_ / "inbox")) {
      if (entry.path().filename() != kPartialName) names.push_back(entry.path().filename());
    }
    return names;
  }

  fs::path dir_;
  std::shared_ptr<Inbox> inbox_;
  std::atomic<bool> cancelled_ = false;
  std::map<std::uint32_t, transfer::ShareResult> results_;
  std::uint64_t had_ = 0;
};

TEST_F(ShareFiles, ATreeArrivesAsItWas) {
  const fs::path tree = dir_ / "from/tree";
  write_to(tree / "sub/a", "hello");
  write_to(tree / "sub/b", std::string(3 * kChunk + 5, 'b'));
  write_to(tree / "odd\n\xff", "odd");
  write_to(tree / "empty", "");
  fs::create_symlink("sub/a", tree / "link");
  fs::create_symlink("/etc/passwd", tree / "out");
  ASSERT_EQ(::mkfifo((tree / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(::truncate((tree / "empty").c_str(), 0), 0);
  ASSERT_EQ(::chmod((tree / "sub/a").c_str(), 0440), 0);
  ASSERT_EQ(::chmod((tree / "sub").c_str(), 0711), 0);
  const timespec times[2] = {{1, 0}, {1234567, 89}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (tree / "sub").c_str(), times, 0), 0);
  auto source = find_share({tree.string() + "/"});
  ASSERT_TRUE(source.ok()) << source.error().detail;
  EXPECT_THAT(source->skipped, UnorderedElementsAre(HasSubstr("out of what"), HasSubstr("a pipe")));
  ASSERT_TRUE(send(*source));
  EXPECT_THAT(arrived(), ElementsAre("tree"));
  const fs::path there = dir_ / "inbox/tree";
  EXPECT_EQ(read_from(there / "sub/a"), "hello");
  EXPECT_EQ(read_from(there / "sub/b"), std::string(3 * kChunk + 5, 'b'));
  EXPECT_EQ(read_from(there / "odd\n\xff"), "odd");
  EXPECT_TRUE(fs::is_empty(there / "empty"));
  EXPECT_EQ(fs::read_symlink(there / "link"), "sub/a");
  EXPECT_FALSE(fs::exists(fs::symlink_status(there / "out")));
  struct stat info {};
  ASSERT_EQ(::stat((there / "sub/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0440U);
  ASSERT_EQ(::stat((there / "sub").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0711U);
  EXPECT_EQ(info.st_mtim.tv_sec, 1234567);
  EXPECT_EQ(info.st_mtim.tv_nsec, 89);
  EXPECT_TRUE(fs::is_empty(dir_ / "inbox" / kPartialName));
}

TEST_F(ShareFiles, NothingThatIsThereIsReplaced) {
  write_to(dir_ / "from/a.txt", "new");
  write_to(dir_ / "inbox/a.txt", "old");
  fs::create_symlink("/nowhere", dir_ / "inbox/a (2).txt");
  ASSERT_TRUE(send(*find_share({(dir_ / "from/a.txt").string()})));
  EXPECT_EQ(read_from(dir_ / "inbox/a.txt"), "old");
  EXPECT_EQ(read_from(dir_ / "inbox/a (3).txt"), "new");
  EXPECT_EQ(results_.at(0).text, "a (3).txt");
}

TEST_F(ShareFiles, TwoOfOneNameGetTwo) {
  write_to(dir_ / "from/x/a", "1");
  write_to(dir_ / "from/y/a", "2");
  auto source = find_share({(dir_ / "from/x/a").string(), (dir_ / "from/y/a").string()});
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE(send(*source));
  EXPECT_EQ(read_from(dir_ / "inbox/a"), "1");
  EXPECT_EQ(read_from(dir_ / "inbox/a (2)"), "2");
}

TEST_F(ShareFiles, WhatIsNotThereOrNotToBeReadIsRefusedBeforehand) {
  EXPECT_EQ(find_share({(dir_ / "from/none").string()}).error().code, base::Code::kNotFound);
  EXPECT_FALSE(find_share({"/"}).ok());
  ASSERT_EQ(::mkfifo((dir_ / "from/pipe").c_str(), 0600), 0);
  EXPECT_THAT(find_share({(dir_ / "from/pipe").string()}).error().detail, HasSubstr("a pipe"));
}

TEST_F(ShareFiles, BreaksAnywhereLoseNothing) {
  std::string large(5 * kChunk + 123, 'x');
  for (std::size_t i = 0; i < large.size(); i += 1000) large[i] = static_cast<char>(i / 1000);
  write_to(dir_ / "from/tree/large", large);
  for (int i = 0; i < 40; ++i) write_to(dir_ / ("from/tree/small/" + std::to_string(i)), "small");
  fs::create_symlink("large", dir_ / "from/tree/link");
  auto source = find_share({(dir_ / "from/tree").string()});
  ASSERT_TRUE(source.ok());
  std::uint64_t had = 0;
  int tries = 0;
  for (std::size_t records = 1; !send(*source, records); records += 4) {
    EXPECT_TRUE(arrived().empty());
    EXPECT_GE(had_ + 2 * kChunk, had) << "an attempt lost what was there";
    had = had_;
    ++tries;
  }
  EXPECT_GT(tries, 5);
  EXPECT_GT(had, 2 * kChunk);
  EXPECT_THAT(arrived(), ElementsAre("tree"));
  EXPECT_EQ(read_from(dir_ / "inbox/tree/large"), large);
  EXPECT_EQ(read_from(dir_ / "inbox/tree/small/39"), "small");
}

TEST_F(ShareFiles, WhatAnEarlierAttemptLeftIsMadeToFit) {
  write_to(dir_ / "from/tree/sub/a", "hello");
  write_to(dir_ / "from/tree/file", "file");
  const fs::path staged = dir_ / "inbox" / kPartialName / kKey / "tree/tree";
  write_to(staged / "sub", "a file where a folder is to be");
  write_to(staged / "file/x", "a folder where a file is to be");
  write_to(staged / "stray/deep/x", "of nothing that comes");
  fs::create_symlink("/etc", staged / "away");
  ASSERT_TRUE(send(*find_share({(dir_ / "from/tree").string()})));
  EXPECT_EQ(read_from(dir_ / "inbox/tree/sub/a"), "hello");
  EXPECT_EQ(read_from(dir_ / "inbox/tree/file"), "file");
  EXPECT_FALSE(fs::exists(dir_ / "inbox/tree/stray"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(dir_ / "inbox/tree/away")));
}

TEST_F(ShareFiles, DamageOnTheDiskIsFoundAndSentAgain) {
  write_to(dir_ / "from/large", std::string(6 * kChunk, 'l'));
  auto source = find_share({(dir_ / "from/large").string()});
  ASSERT_FALSE(send(*source, 60));
  const fs::path staged = dir_ / "inbox" / kPartialName / kKey / "tree/large";
  ASSERT_GT(fs::file_size(staged), 2 * kChunk);
  std::fstream(staged, std::ios::in | std::ios::out | std::ios::binary).write("damage", 6);
  ASSERT_TRUE(send(*source));
  EXPECT_EQ(had_, 0U);
  EXPECT_EQ(read_from(dir_ / "inbox/large"), std::string(6 * kChunk, 'l'));
}

TEST_F(ShareFiles, DeliveredOnceEvenIfNobodyHeard) {
  write_to(dir_ / "from/tree/a", "hello");
  write_to(dir_ / "from/b", "b");
  auto source = find_share({(dir_ / "from/tree").string(), (dir_ / "from/b").string()});
  // The manifest, the files and "all" go; "bye" does not.
  ASSERT_FALSE(send(*source, 2));
  EXPECT_THAT(arrived(), UnorderedElementsAre("tree", "b"));
  fs::rename(dir_ / "inbox/b", dir_ / "inbox/renamed by a person");
  ASSERT_TRUE(send(*source));
  EXPECT_THAT(arrived(), UnorderedElementsAre("tree", "renamed by a person"));
  EXPECT_EQ(results_.at(2).text, "renamed by a person");
  EXPECT_TRUE(send(*source));
  EXPECT_THAT(arrived(), UnorderedElementsAre("tree", "renamed by a person", "tree (2)", "b"));
}

TEST_F(ShareFiles, AFolderThatItsOwnerMayNotWriteArrivesSo) {
  write_to(dir_ / "from/tree/a", "hello");
  ASSERT_EQ(::chmod((dir_ / "from/tree").c_str(), 0555), 0);
  ASSERT_TRUE(send(*find_share({(dir_ / "from/tree").string()})));
  ASSERT_TRUE(send(*find_share({(dir_ / "from/tree").string()})));
  for (const char* name : {"inbox/tree", "inbox/tree (2)"}) {
    struct stat info {};
    ASSERT_EQ(::stat((dir_ / name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0555U);
    ASSERT_EQ(::chmod((dir_ / name).c_str(), 0755), 0);
  }
  ASSERT_EQ(::chmod((dir_ / "from/tree").c_str(), 0755), 0);
}

TEST_F(ShareFiles, ChangesOfTheSourceAreSeen) {
  write_to(dir_ / "from/f", "hello");
  auto source = find_share({(dir_ / "from/f").string()});
  auto file = ShareFile::open(*source, 0);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->unchanged().ok());
  std::ofstream(dir_ / "from/f", std::ios::app) << "!";
  EXPECT_EQ(file->unchanged().error().code, base::Code::kStale);
  EXPECT_EQ(ShareFile::open(*source, 0).error().code, base::Code::kStale);
  fs::remove(dir_ / "from/f");
  EXPECT_EQ(ShareFile::open(*source, 0).error().code, base::Code::kNotFound);
  ASSERT_EQ(::mkfifo((dir_ / "from/f").c_str(), 0600), 0);
  EXPECT_FALSE(ShareFile::open(*source, 0).ok()) << "a pipe stands there now";
}

// Its size is 0, whatever can be read of it.
TEST_F(ShareFiles, AFileThatHidesItsSizeIsNoEmptyFile) {
  ASSERT_TRUE(send(*find_share({"/proc/self/status"})));
  EXPECT_FALSE(results_.at(0).arrived);
  EXPECT_TRUE(arrived().empty());
  auto source = find_share({"/proc/self/status"});
  auto file = ShareFile::open(*source, 0);
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(file->unchanged().error().detail, HasSubstr("as those of /proc do"));
}

// Also between its size and what is read behind that, which some of these rounds meet.
TEST_F(ShareFiles, AFileThatGrowsHidesNothing) {
  for (int round = 0; round < 300; ++round) {
    write_to(dir_ / "from/f", round % 2 == 0 ? "hello" : "");
    auto source = find_share({(dir_ / "from/f").string()});
    auto file = ShareFile::open(*source, 0);
    ASSERT_TRUE(file.ok());
    std::thread writer([&] { std::ofstream(dir_ / "from/f", std::ios::app) << "!"; });
    base::Status same;
    while (same) same = file->unchanged();
    writer.join();
    ASSERT_EQ(same.error().detail, "it changed while it was sent") << round;
  }
}

TEST_F(ShareFiles, HolesStayHoles) {
  write_to(dir_ / "from/f", "begin");
  ASSERT_EQ(::truncate((dir_ / "from/f").c_str(), 50 * kChunk), 0);
  auto source = find_share({(dir_ / "from/f").string()});
  EXPECT_LT(source->disk_bytes, kChunk);
  ASSERT_TRUE(send(*source));
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "inbox/f").c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), 50 * kChunk);
  EXPECT_LT(info.st_blocks * 512, static_cast<std::int64_t>(kChunk));
}

TEST_F(ShareFiles, TheHiddenPlaceIsTheDaemonsOwn) {
  const fs::path other = dir_ / "other";
  fs::create_directories(other);
  fs::create_directories(dir_ / "elsewhere");
  fs::create_symlink(dir_ / "elsewhere", other / kPartialName);
  EXPECT_FALSE(Inbox::open(other.string()).ok()) << "a link";
  fs::remove(other / kPartialName);
  fs::create_directories(other / kPartialName);
  fs::permissions(other / kPartialName, fs::perms::all);
  EXPECT_EQ(Inbox::open(other.string()).error().code, base::Code::kRefused);
}

TEST_F(ShareFiles, StagesAreListedAndRemovedWhole) {
  ASSERT_TRUE(inbox_->keep_stage("k1", base::Bytes{1, 2}).ok());
  write_to(dir_ / "inbox" / kPartialName / "k1/tree/a/b/c", "x");
  ASSERT_EQ(::chmod((dir_ / "inbox" / kPartialName / "k1/tree/a").c_str(), 0555), 0);
  auto stages = inbox_->stages();
  ASSERT_TRUE(stages.ok());
  ASSERT_EQ(stages->size(), 1U);
  EXPECT_EQ(stages->at(0).key, "k1");
  EXPECT_EQ(stages->at(0).offer, (base::Bytes{1, 2}));
  EXPECT_GT(inbox_->staged_bytes("k1"), 0U);
  ASSERT_TRUE(inbox_->remove_stage("k1").ok());
  EXPECT_TRUE(inbox_->stages()->empty());
  EXPECT_TRUE(inbox_->remove_stage("k1").ok()) << "it is gone already";
}

}  // namespace
}  // namespace machine
