// What a wake reads of a parked job's file while CRIU takes it.
#include "daemon/parked_images.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>

#include "base/rng.h"
#include "loop_rig.h"

namespace ternd::testing {
namespace {

using base::Epoch;

constexpr std::size_t kPages = 3 << 20;

// Content that compresses badly, another for each seed.
std::string content(std::size_t size, std::uint64_t seed) {
  base::Rng rng(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

class ParkedImagesOfAFile : public ::testing::Test {
 protected:
  // Two processes' pages at once, a small image after them.
  void write(std::uint64_t seed) {
    (void)park_file::remove(dir(), Epoch{2});
    auto writer = park_file::Writer::create(dir(), Epoch{2});
    ASSERT_TRUE(writer.ok()) << writer.error().detail;
    (*writer)->begin({});
    ParkEncoder& encoder = (*writer)->encoder();
    first_ = content(kPages, seed);
    second_ = content(kPages / 2, seed + 1);
    ASSERT_TRUE(encoder.begin("pages-1.img").ok());
    ASSERT_TRUE(encoder.begin("pages-2.img").ok());
    ASSERT_TRUE(encoder.data(0, base::as_bytes(first_)).ok());
    ASSERT_TRUE(encoder.data(1, base::as_bytes(second_)).ok());
    ASSERT_TRUE(encoder.end(1).ok());
    ASSERT_TRUE(encoder.end(0).ok());
    ASSERT_TRUE(encoder.begin("core-1.img").ok());
    ASSERT_TRUE(encoder.data(2, base::as_bytes("core")).ok());
    ASSERT_TRUE(encoder.end(2).ok());
    ASSERT_TRUE((*writer)->commit().ok());
  }
  [[nodiscard]] std::string dir() const { return dir_.path(); }
  [[nodiscard]] std::string path() const { return park_file::path(dir(), Epoch{2}); }
  std::unique_ptr<ParkedImages> open(std::uint64_t pages_max) {
    auto loaded = park_file::load(path(), UINT64_MAX, pages_max);
    EXPECT_TRUE(loaded.ok()) << loaded.error().detail;
    EXPECT_EQ(loaded->bytes, first_.size() + second_.size() + 4);
    kept_ = 0;
    for (const auto& [name, image] : loaded->images) {
      for (const transfer::Buffer& chunk : image.chunks) kept_ += chunk.size();
    }
    return std::make_unique<ParkedImages>(loop_, path(), std::move(loaded->images),
                                          std::move(loaded->not_kept));
  }
  std::string read(ParkedImages& images, std::string_view name) {
    std::string out;
    EXPECT_TRUE(images.exists(name));
    for (;;) {
      bool told = false;
      if (!images.ready(name, [&] { told = true; })) {
        EXPECT_TRUE(run_until(loop_, [&] { return told; }));
      }
      const base::ByteView next = images.peek(name);
      if (next.empty()) return out;
      const std::size_t some = std::min<std::size_t>(next.size(), 50'000);  // as a pipe takes it
      out += base::as_text(next.first(some));
      images.consume(name, some);
    }
  }

  TempDir dir_;
  loop::Loop loop_;
  std::string first_;
  std::string second_;
  std::size_t kept_ = 0;
};

TEST_F(ParkedImagesOfAFile, AreWholeWhetherTheirPagesWereKeptOrNot) {
  write(1);
  for (const std::size_t pages_max : {std::size_t{0}, kPages, 2 * kPages}) {
    SCOPED_TRACE(pages_max);
    const auto images = open(pages_max);
    EXPECT_LE(kept_, pages_max + 4);
    EXPECT_FALSE(images->exists("pages-3.img"));
    EXPECT_EQ(read(*images, "core-1.img"), "core");
    EXPECT_TRUE(read(*images, "pages-2.img") == second_);
    EXPECT_TRUE(read(*images, "pages-1.img") == first_);
  }
}

// Each that is not kept is read from the beginning of the file again.
TEST_F(ParkedImagesOfAFile, AreKeptWhereTheyAreSmallOrMany) {
  constexpr std::size_t kMany = 3 * park_file::kNotKeptMax;
  for (const std::size_t size : {std::size_t{100'000}, std::size_t{600'000}}) {
    (void)park_file::remove(dir(), Epoch{2});
    auto writer = park_file::Writer::create(dir(), Epoch{2});
    ASSERT_TRUE(writer.ok()) << writer.error().detail;
    (*writer)->begin({});
    ParkEncoder& encoder = (*writer)->encoder();
    for (std::uint32_t i = 0; i < kMany; ++i) {
      ASSERT_TRUE(encoder.begin("pages-" + std::to_string(i) + ".img").ok());
      ASSERT_TRUE(encoder.data(i, base::as_bytes(content(size, i))).ok());
      ASSERT_TRUE(encoder.end(i).ok());
    }
    ASSERT_TRUE((*writer)->commit().ok());
    auto loaded = park_file::load(path(), UINT64_MAX, 1'000'000);
    ASSERT_TRUE(loaded.ok()) << loaded.error().detail;
    const bool large = size > 500'000;
    EXPECT_EQ(loaded->not_kept.size(), large ? park_file::kNotKeptMax : 0);
    ParkedImages images(loop_, path(), std::move(loaded->images), std::move(loaded->not_kept));
    for (std::uint32_t i = 0; i < kMany; ++i) {
      EXPECT_TRUE(read(images, "pages-" + std::to_string(i) + ".img") == content(size, i)) << i;
    }
  }
}

TEST_F(ParkedImagesOfAFile, EndTooEarlyWhereTheFileIsAnotherThanItWas) {
  write(1);
  const auto changed = open(0);
  write(7);
  EXPECT_LT(read(*changed, "pages-1.img").size(), kPages);
  const auto damaged = open(0);
  std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(kPages));
  file << "damage";
  file.close();
  EXPECT_LT(read(*damaged, "pages-1.img").size(), kPages);
}

TEST_F(ParkedImagesOfAFile, MayBeGivenUpWhileTheyAreRead) {
  write(1);
  auto images = open(0);
  bool told = false;
  EXPECT_FALSE(images->ready("pages-1.img", [&] { told = true; }));
  images.reset();
  EXPECT_TRUE(run_until(loop_, [] { return loop::blocking_in_flight() == 0; }));
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace ternd::testing
