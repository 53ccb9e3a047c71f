// The file of a parked job: written, read back, damaged in every way, and what a folder says.
#include "daemon/park_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/rng.h"
#include "daemon/job_folder.h"
#include "loop_rig.h"

namespace ternd::testing {
namespace {

namespace fs = std::filesystem;
using base::Bytes;
using base::Code;
using base::Epoch;

node::ParkManifest example() {
  node::ParkManifest manifest;
  manifest.metadata.spec.id = base::JobId{{9}};
  manifest.metadata.spec.name = "count";
  manifest.metadata.spec.argv = {"/bin/sh"};
  manifest.metadata.ends = {7, 0};
  manifest.metadata.stopped = {3, 4};
  manifest.epoch = Epoch{2};
  manifest.since = static_cast<base::WallTime>(1'700'000'000);
  manifest.memory_bytes = 1 << 20;
  return manifest;
}

Bytes noise(std::size_t size) {
  Bytes bytes(size);
  base::Rng rng(7);
  rng.fill(bytes);
  return bytes;
}

// Two images whose pieces interleave, one of them larger than any block.
Bytes encoded(const node::ParkManifest& manifest, const Bytes& pages) {
  ParkEncoder encoder(manifest);
  EXPECT_TRUE(encoder.begin("pages-1.img").ok());
  EXPECT_TRUE(encoder.begin("inventory.img").ok());
  EXPECT_TRUE(encoder.data(0, base::ByteView(pages).first(pages.size() / 2)).ok());
  EXPECT_TRUE(encoder.data(1, base::as_bytes("small")).ok());
  EXPECT_TRUE(encoder.end(1).ok());
  EXPECT_TRUE(encoder.data(0, base::ByteView(pages).subspan(pages.size() / 2)).ok());
  EXPECT_TRUE(encoder.end(0).ok());
  EXPECT_TRUE(encoder.finish().ok());
  return encoder.take_output();
}

struct Seen final : ParkVisitor {
  base::Status begin(std::uint32_t /*image*/, const std::string& name) override {
    names.push_back(name);
    bytes.emplace_back();
    return {};
  }
  base::Status data(std::uint32_t image, base::ByteView piece) override {
    bytes.at(image).insert(bytes.at(image).end(), piece.begin(), piece.end());
    return {};
  }
  base::Status end(std::uint32_t /*image*/) override {
    ++ended;
    return {};
  }
  std::vector<std::string> names;
  std::vector<Bytes> bytes;
  int ended = 0;
};

bool reads(const Bytes& file, std::size_t piece, Seen& seen, std::uint64_t data_max = UINT64_MAX) {
  ParkDecoder decoder(file.size(), data_max);
  for (std::size_t at = 0; at < file.size(); at += piece) {
    const std::size_t size = std::min(piece, file.size() - at);
    if (!decoder.feed(base::ByteView(file).subspan(at, size), seen)) return false;
  }
  return decoder.done();
}

TEST(ParkFormat, WhatWasWrittenIsReadBackInAnyPieces) {
  const Bytes pages = noise(700'000);
  const Bytes file = encoded(example(), pages);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, file.size()}) {
    SCOPED_TRACE(piece);
    Seen seen;
    ASSERT_TRUE(reads(file, piece, seen));
    EXPECT_EQ(seen.names, (std::vector<std::string>{"pages-1.img", "inventory.img"}));
    EXPECT_EQ(seen.bytes[0], pages);
    EXPECT_EQ(base::as_text(seen.bytes[1]), "small");
    EXPECT_EQ(seen.ended, 2);
  }
  EXPECT_LT(encoded(example(), Bytes(700'000)).size(), 10'000U);  // it is packed
}

TEST(ParkFormat, NoByteMayBeChanged) {
  const Bytes file = encoded(example(), noise(2000));
  for (std::size_t at = 0; at < file.size(); ++at) {
    Bytes damaged = file;
    damaged[at] ^= 0x10;
    Seen seen;
    EXPECT_FALSE(reads(damaged, damaged.size(), seen)) << at;
  }
}

TEST(ParkFormat, NoneMayBeMissingOrFollow) {
  const Bytes file = encoded(example(), noise(500));
  for (std::size_t size = 0; size < file.size(); ++size) {
    Seen seen;
    EXPECT_FALSE(reads(Bytes(file.begin(), file.begin() + static_cast<long>(size)), 4096, seen))
        << size;
  }
  Bytes longer = file;
  longer.push_back(0);
  Seen seen;
  EXPECT_FALSE(reads(longer, 4096, seen));
}

TEST(ParkFormat, TakesNoMoreDataThanThereIsMemoryFor) {
  const Bytes file = encoded(example(), Bytes(300'000));  // small, and grows when it is unpacked
  Seen seen;
  EXPECT_TRUE(reads(file, 100, seen, 300'005));
  Seen less;
  EXPECT_FALSE(reads(file, 100, less, 300'004));
}

TEST(ParkManifest, AndLaunchReadBackAndHaveLimits) {
  const Bytes whole = node::encode(example());
  auto back = node::decode_park_manifest(whole);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, example());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(node::decode_park_manifest(base::ByteView(whole).first(size)).ok()) << size;
  }
  const node::LaunchPlan plan{027, {"A=b", "RAW=\xff\n"}, node::LaunchInput::kTerminal};
  auto launch = node::decode_launch_plan(node::encode(plan));
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(*launch, plan);
  EXPECT_FALSE(node::decode_launch_plan(node::encode(node::LaunchPlan{027, {"none"}})).ok());
  EXPECT_FALSE(node::decode_launch_plan(node::encode(node::LaunchPlan{027, {"=x"}})).ok());
  EXPECT_FALSE(node::decode_launch_plan(node::encode(node::LaunchPlan{01000, {}})).ok());
  EXPECT_FALSE(node::decode_launch_plan(Bytes(node::kLaunchSizeMax + 1)).ok());
}

class ParkFolder : public ::testing::Test {
 protected:
  [[nodiscard]] std::string dir() const { return dir_.path(); }
  void write(Epoch epoch) {
    auto writer = park_file::Writer::create(dir(), epoch);
    ASSERT_TRUE(writer.ok()) << writer.error().detail;
    (*writer)->begin(example());
    ASSERT_TRUE((*writer)->encoder().begin("a.img").ok());
    ASSERT_TRUE((*writer)->encoder().data(0, base::as_bytes("content")).ok());
    ASSERT_TRUE((*writer)->encoder().end(0).ok());
    ASSERT_TRUE((*writer)->commit().ok());
    ASSERT_TRUE((*writer)->settle().ok());
  }
  [[nodiscard]] park_file::State look(std::uint64_t newest = 99) const {
    auto state = park_file::look(dir(), Epoch{newest});
    EXPECT_TRUE(state.ok());
    return *state;
  }
  TempDir dir_;
};

TEST_F(ParkFolder, IsParkedFromTheNameOnAndNotBefore) {
  EXPECT_FALSE(look().parked);
  auto writer = park_file::Writer::create(dir(), Epoch{2});
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(look().parking);
  EXPECT_FALSE(look().parked);
  EXPECT_EQ(park_file::Writer::create(dir(), Epoch{2}).error().code, Code::kExists);
  EXPECT_TRUE(park_file::remove_parts(dir()).ok());
  EXPECT_FALSE(look().parking);
  write(Epoch{2});
  EXPECT_EQ(look().parked, Epoch{2});
  EXPECT_FALSE(look().woken);
  EXPECT_FALSE(look(1).parked);  // of a later epoch: not this one's affair
  EXPECT_EQ(park_file::Writer::create(dir(), Epoch{3}).error().code, Code::kExists);
  auto loaded = park_file::load(park_file::path(dir(), Epoch{2}), 1000);
  ASSERT_TRUE(loaded.ok()) << loaded.error().detail;
  EXPECT_EQ(loaded->manifest, example());
  EXPECT_EQ(loaded->bytes, 7U);
  EXPECT_TRUE(loaded->images.contains("a.img"));
  EXPECT_TRUE(park_file::read_manifest(park_file::path(dir(), Epoch{2})).ok());
}

TEST_F(ParkFolder, TheMarkOfAWakeIsOfThatFileOnly) {
  write(Epoch{2});
  ASSERT_TRUE(park_file::mark_woken(dir(), Epoch{2}).ok());
  EXPECT_TRUE(look().woken);
  // The next park of the same epoch begins with neither.
  write(Epoch{2});
  EXPECT_TRUE(look().parked);
  EXPECT_FALSE(look().woken);
  ASSERT_TRUE(park_file::mark_woken(dir(), Epoch{2}).ok());
  ASSERT_TRUE(park_file::remove(dir(), Epoch{2}).ok());
  EXPECT_TRUE(fs::is_empty(dir()));
  EXPECT_TRUE(park_file::remove(dir(), Epoch{2}).ok());
  EXPECT_EQ(park_file::load(park_file::path(dir(), Epoch{2}), 1000).error().code, Code::kNotFound);
}

TEST_F(ParkFolder, SaysWhatSomebodyTookAway) {
  EXPECT_EQ(look().missing, "");
  write(Epoch{2});
  EXPECT_EQ(look().missing, "");
  const std::string file = park_file::path(dir(), Epoch{2});
  fs::remove(file);
  EXPECT_EQ(look().missing, file);
  EXPECT_FALSE(look().parked);
  EXPECT_EQ(look(1).missing, "");
  // Woken in the meantime: it is of no more use.
  ASSERT_TRUE(park_file::mark_woken(dir(), Epoch{2}).ok());
  EXPECT_EQ(look().missing, "");
  ASSERT_TRUE(park_file::remove(dir(), Epoch{2}).ok());
  EXPECT_TRUE(fs::is_empty(dir()));
  // A daemon that was killed before the file had its name.
  write(Epoch{3});
  fs::rename(park_file::path(dir(), Epoch{3}), park_file::path(dir(), Epoch{3}) + ".part");
  EXPECT_EQ(look().missing, "");
  ASSERT_TRUE(park_file::remove_parts(dir()).ok());
  EXPECT_TRUE(fs::is_empty(dir()));
  // Before it was parked: as of a job that was about to be launched.
  fs::remove(dir());
  EXPECT_EQ(look().missing, "");
}

TEST_F(ParkFolder, ALinkIsNotRead) {
  write(Epoch{2});
  fs::rename(park_file::path(dir(), Epoch{2}), dir() + "/elsewhere");
  fs::create_symlink(dir() + "/elsewhere", park_file::path(dir(), Epoch{2}));
  EXPECT_FALSE(park_file::load(park_file::path(dir(), Epoch{2}), 1000).ok());
}

}  // namespace
}  // namespace ternd::testing
