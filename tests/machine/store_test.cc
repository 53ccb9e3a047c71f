#include "machine/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/rng.h"

namespace {

int syncs = 0;
int fail_sync = 0;  // that one, counted from 1

int synced(long call, int fd) {
  if (++syncs != fail_sync) return static_cast<int>(::syscall(call, fd));
  errno = EIO;
  return -1;
}

}  // namespace

// In place of libc's, for the whole program.
extern "C" int fsync(int fd) { return synced(SYS_fsync, fd); }
extern "C" int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }

namespace machine {
namespace {

using base::Bytes;
using base::Code;

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/tern-store-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    for (const char* file : {"/journal", "/lock", "/journal.new"}) {
      ::unlink((dir_ + file).c_str());
    }
    ::rmdir(dir_.c_str());
  }
  base::Result<Store> open() { return Store::open(dir_, base::StoreId{{7}}); }
  std::string journal() const { return dir_ + "/journal"; }
  std::string read_journal() const {
    std::ifstream in(journal(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write_journal(const std::string& bytes) const {
    std::ofstream(journal(), std::ios::binary) << bytes;
  }
  std::string dir_;
};

TEST_F(StoreTest, KeepsBatchesAndIdAcrossReopening) {
  {
    auto store = open();
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->append({{"a", Bytes{1}}, {"b", Bytes{2}}}).ok());
    ASSERT_TRUE(store->append({{"a", std::nullopt}, {"c", Bytes{}}}).ok());
  }
  auto again = Store::open(dir_, base::StoreId{{9}});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->id(), (base::StoreId{{7}}));
  EXPECT_EQ(again->map(), (StoreMap{{"b", Bytes{2}}, {"c", Bytes{}}}));
}

// ARCHITECTURE.md, "A durable record": a daemon killed between its write and the sync left the
// record in the page cache, and the next one acts upon it.
TEST_F(StoreTest, WhatIsFoundIsOnTheDiskBeforeItCounts) {
  {
    auto store = open();
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->append({{"a", Bytes{1}}}).ok());
  }
  constexpr int kJournal = 1;
  constexpr int kFolder = 2;  // a compaction's rename
  for (const int one : {kJournal, kFolder}) {
    SCOPED_TRACE(one);
    syncs = 0;
    fail_sync = one;
    auto store = open();
    fail_sync = 0;
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.error().code, Code::kIo);
  }
  EXPECT_TRUE(open().ok());
}

TEST_F(StoreTest, ASecondHolderIsRefused) {
  auto first = open();
  ASSERT_TRUE(first.ok());
  auto second = open();
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kExists);
}

// A crash may leave any prefix of the last record: all earlier batches stay, the torn one goes
// whole.
TEST_F(StoreTest, ATornLastRecordIsCutOffAtEveryLength) {
  std::size_t before = 0;
  {
    auto store = open();
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->append({{"kept", Bytes{1}}}).ok());
    before = read_journal().size();
    ASSERT_TRUE(store->append({{"torn", Bytes(50, 2)}}).ok());
  }
  const std::string whole = read_journal();
  for (std::size_t size = before; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    write_journal(whole.substr(0, size));
    auto store = open();
    ASSERT_TRUE(store.ok());
    EXPECT_EQ(store->map(), (StoreMap{{"kept", Bytes{1}}}));
    EXPECT_EQ(store->tail_was_torn(), size != before);
    EXPECT_EQ(read_journal().size(), before);
  }
  write_journal(whole.substr(0, before) + std::string(100, '\0'));  // a hole after a power cut
  EXPECT_TRUE(open().ok());
}

TEST_F(StoreTest, DamageBeforeTheLastRecordIsRefused) {
  std::size_t first_end = 0;
  {
    auto store = open();
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE(store->append({{"a", Bytes(20, 1)}}).ok());
    first_end = read_journal().size();
    ASSERT_TRUE(store->append({{"b", Bytes(20, 2)}}).ok());
  }
  const std::string whole = read_journal();
  for (std::size_t at = 0; at < first_end; ++at) {
    if (at >= 12 && at < 32) continue;  // the store id and the reserved word say nothing wrong
    SCOPED_TRACE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_journal(damaged);
    auto store = open();
    ASSERT_FALSE(store.ok());
    EXPECT_NE(store.error().code, Code::kIo);
  }
}

// It would never fit, however often it was tried, and keep everything behind it waiting.
TEST_F(StoreTest, ABatchOverTheLimitIsAMistakeOfOurs) {
  auto store = open();
  ASSERT_TRUE(store.ok());
  std::vector<StoreWrite> batch;
  for (int i = 0; i < 4; ++i) {
    batch.push_back({"k" + std::to_string(i), Bytes(kStoreValueSizeMax - 64)});
  }
  EXPECT_LE(store_batch_size(batch), kStoreBatchSizeMax);
  EXPECT_TRUE(store->append(batch).ok());
  batch.push_back({"one more", Bytes(1024)});
  EXPECT_GT(store_batch_size(batch), kStoreBatchSizeMax);
  EXPECT_DEATH((void)store->append(batch), "kStoreBatchSizeMax");
}

// Who keeps store_batch_size() within the limit keeps the batch within it.
TEST_F(StoreTest, TheSizeOfABatchIsNeverEstimatedTooLow) {
  auto store = open();
  ASSERT_TRUE(store.ok());
  base::Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    std::vector<StoreWrite> batch;
    for (std::uint64_t n = 1 + rng.below(40); n > 0; --n) {
      StoreWrite write{std::string(1 + rng.below(kStoreKeySizeMax), 'k'), std::nullopt};
      if (rng.below(4) != 0) write.value = Bytes(rng.below(rng.below(2) == 0 ? 4 : 2000));
      batch.push_back(std::move(write));
    }
    const std::size_t before = read_journal().size();
    ASSERT_TRUE(store->append(batch).ok());
    const std::size_t after = read_journal().size();
    EXPECT_TRUE(after < before || after - before <= store_batch_size(batch));
  }
}

TEST_F(StoreTest, CompactionKeepsWhatLives) {
  StoreMap expected;
  base::Rng rng(1);
  {
    auto store = open();
    ASSERT_TRUE(store.ok());
    for (int i = 0; i < 400; ++i) {
      const std::string key = "k" + std::to_string(rng.below(10));
      expected[key] = Bytes(10000, static_cast<std::uint8_t>(i));
      ASSERT_TRUE(store->append({{key, expected[key]}}).ok());
    }
  }
  EXPECT_LT(read_journal().size(), 1500000U);  // 4 MB were written
  auto again = open();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->map(), expected);
}

TEST_F(StoreTest, ANewerVersionIsRefused) {
  { ASSERT_TRUE(open().ok()); }
  std::string bytes = read_journal();
  bytes[8] = 2;
  write_journal(bytes);
  auto store = open();
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace machine
