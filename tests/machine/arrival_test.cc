// What an arrival does at its inbox, order by order: several attempts at one share, a disk that
// fills, names that cannot be given.
#include "machine/arrival.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "with_mount.h"

namespace machine {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using transfer::ShareEntry;
using transfer::ShareManifest;

constexpr std::uint64_t kChunk = base::FileDigest::kChunk;
constexpr char kKey[] = "00112233445566778899aabbccddeeff";

class ArrivalTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::crypto::init().ok());
    std::string name = (fs::temp_directory_path() / "tern-arrival-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
    inbox_ = *Inbox::open((dir_ / "inbox").string());
  }
  void TearDown() override { fs::remove_all(dir_); }

  void plan(const std::string& name, std::uint64_t size) {
    ShareEntry entry;
    entry.name = name;
    entry.size = size;
    ASSERT_TRUE(manifest_->add(entry).ok());
  }
  std::unique_ptr<Arrival> arrive() {
    EXPECT_TRUE(inbox_->keep_stage(kKey, base::Bytes{1}).ok());
    auto arrival = Arrival::open(inbox_, kKey, manifest_);
    EXPECT_TRUE(arrival.ok()) << arrival.error().detail;
    return std::move(*arrival);
  }
  [[nodiscard]] fs::path staged(const std::string& name) const {
    return dir_ / "inbox" / kPartialName / kKey / kTreeName / name;
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
  std::shared_ptr<ShareManifest> manifest_ = std::make_shared<ShareManifest>();
};

TEST_F(ArrivalTest, AnotherDigestIsNotDelivered) {
  plan("f", 3);
  ASSERT_TRUE(manifest_->seal().ok());
  auto arrival = arrive();
  ASSERT_TRUE(arrival->prepare(cancelled_).ok());
  ASSERT_TRUE(arrival->begin(0, 0).ok());
  ASSERT_TRUE(arrival->write(0, base::as_bytes("abc")).ok());
  ASSERT_TRUE(arrival->end(0, base::crypto::Hash256{}).ok());
  auto results = arrival->deliver({0});
  ASSERT_TRUE(results.ok());
  EXPECT_FALSE(results->at(0).arrived);
  EXPECT_THAT(arrived(), ElementsAre());
}

TEST_F(ArrivalTest, TheReserveOfTheDiskIsLeft) {
  constexpr std::uint64_t kDisk = std::uint64_t{24} << 20;
  const base::Bytes piece(64 << 10, 1);
  plan("f", kDisk);
  ASSERT_TRUE(manifest_->seal().ok());
  fs::create_directory(dir_ / "small");
  const auto fill = [&] {
    inbox_ = *Inbox::open((dir_ / "small").string());
    auto arrival = arrive();
    ASSERT_TRUE(arrival->prepare(cancelled_).ok());
    ASSERT_TRUE(arrival->begin(0, 0).ok());
    base::Status written;
    for (std::uint64_t at = 0; written && at < kDisk; at += piece.size()) {
      written = arrival->write(at, piece);
    }
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, base::Code::kFull);
    EXPECT_EQ(inbox_->room()->bytes, 0U);
    EXPECT_GT(fs::space(dir_ / "small").available, kDisk / 20 - 2 * piece.size());
  };
  const bool mounted =
      with_mount({"tmpfs", (dir_ / "small").string(), "tmpfs", 0, "size=24m,mode=700"}, fill);
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
}

TEST_F(ArrivalTest, SoManyHalfFilesAreGoneOnWith) {
  constexpr std::size_t kHalves = 70;  // of which 64 count
  arrive();
  for (std::size_t i = 0; i <= kHalves; ++i) {
    const std::string name = std::to_string(i);
    plan(name, 2 * kChunk);
    std::ofstream(staged(name)).flush();
    ASSERT_EQ(::truncate(staged(name).c_str(), i == 0 ? 2 * kChunk : kChunk + 1), 0);
  }
  ASSERT_TRUE(manifest_->seal().ok());
  auto prepared = arrive()->prepare(cancelled_);
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared->have.size(), 65U) << "one is whole";
}

// A manifest of files of no size, which arrive one by one in several attempts.
class Attempts : public ArrivalTest {
 protected:
  void SetUp() override {
    ArrivalTest::SetUp();
    for (const char* name : {"a", "b", "c"}) plan(name, 0);
    ASSERT_TRUE(manifest_->seal().ok());
  }
  // The tops that an earlier attempt delivered; of the others, these come now.
  std::vector<std::uint32_t> attempt(const std::vector<std::uint32_t>& tops) {
    arrival_ = arrive();
    auto prepared = arrival_->prepare(cancelled_);
    EXPECT_TRUE(prepared.ok());
    for (const std::uint32_t top : tops) {
      EXPECT_TRUE(arrival_->begin(top, 0).ok());
      EXPECT_TRUE(arrival_->end(top, base::FileDigest().finish()).ok());
    }
    std::vector<std::uint32_t> before;
    for (const auto& [top, name] : prepared->delivered) before.push_back(top);
    return before;
  }

  std::unique_ptr<Arrival> arrival_;
};

TEST_F(Attempts, WhatArrivedInAnyOfThemIsKnown) {
  EXPECT_THAT(attempt({0}), ElementsAre());
  ASSERT_TRUE(arrival_->deliver({0}).ok());
  EXPECT_THAT(attempt({1}), ElementsAre(0));
  ASSERT_TRUE(arrival_->deliver({1}).ok());
  fs::rename(dir_ / "inbox/a", dir_ / "inbox/renamed by a person");
  EXPECT_THAT(attempt({2}), ElementsAre(0, 1));
  ASSERT_TRUE(arrival_->deliver({2}).ok());
  EXPECT_THAT(arrived(), UnorderedElementsAre("renamed by a person", "b", "c"));
}

TEST_F(Attempts, WhatArrivedIsKnownAfterTheRestWasRemoved) {
  EXPECT_THAT(attempt({0}), ElementsAre());
  ASSERT_TRUE(arrival_->deliver({0}).ok());
  EXPECT_THAT(attempt({1}), ElementsAre(0));
  ASSERT_TRUE(inbox_->empty_stage(kKey).ok());
  EXPECT_FALSE(fs::exists(staged("")));
  EXPECT_THAT(attempt({1, 2}), ElementsAre(0));
  ASSERT_TRUE(inbox_->remove_stage(kKey).ok());
  attempt({1});
  ASSERT_TRUE(inbox_->empty_stage(kKey).ok());
  EXPECT_TRUE(inbox_->stages()->empty()) << "nothing of it arrived";
}

TEST_F(Attempts, OneThatCannotBeRenamedDoesNotHideTheOthers) {
  attempt({0, 1, 2});
  const std::string second = staged("b");
  base::Result<std::vector<transfer::ShareResult>> results = base::fail(base::Code::kIo, "");
  const bool mounted = with_mount({second, second, nullptr, MS_BIND}, [&] {
    results = arrival_->deliver({0, 1, 2});
  });
  if (!mounted) GTEST_SKIP() << "nothing may be mounted here";
  ASSERT_TRUE(results.ok());
  EXPECT_TRUE(results->at(0).arrived);
  EXPECT_FALSE(results->at(1).arrived);
  EXPECT_TRUE(results->at(2).arrived);
  EXPECT_THAT(arrived(), UnorderedElementsAre("a", "c"));
  EXPECT_THAT(attempt({1}), ElementsAre(0, 2));
}

}  // namespace
}  // namespace machine
