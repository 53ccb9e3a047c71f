#include "transfer/expired_timers.h"

#include <gtest/gtest.h>

#include <vector>

#include "made_images.h"
#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;
using protobuf::WireType;
using testing::image;
using testing::number;

struct Timer {
  std::uint64_t ticks, seconds, nanos, interval_seconds, interval_nanos;
  bool operator==(const Timer&) const = default;
};

// files.img as CRIU writes it, with a timer to an entry.
Image files(const std::vector<Timer>& timers) {
  std::vector<Bytes> entries;
  for (const Timer& timer : timers) {
    Bytes body;
    images::append(body, number(5, timer.ticks));
    images::append(body, number(7, timer.seconds));
    images::append(body, number(8, timer.nanos));
    images::append(body, number(9, timer.interval_seconds));
    images::append(body, number(10, timer.interval_nanos));
    Bytes file;
    images::append(file, number(1, 17));
    images::append(file, number(2, 3));
    images::append(file, {12, WireType::kBytes, 0, body});
    entries.push_back(file);
  }
  return image(entries);
}

std::vector<Timer> timers_of(const ImageSet& set) {
  std::vector<Timer> out;
  const Bytes whole = images::whole(set.at("files.img"));
  EXPECT_EQ(whole.size(), set.at("files.img").size);
  images::each_entry(whole, [&](base::ByteView file) {
    EXPECT_EQ(number_of(file, 1), 17U);
    const base::ByteView timer = bytes_of(file, 12);
    out.push_back({number_of(timer, 5), number_of(timer, 7), number_of(timer, 8),
                   number_of(timer, 9), number_of(timer, 10)});
  });
  return out;
}

TEST(ExpiredTimers, PeriodicOnesGoOn) {
  ImageSet set;
  set["files.img"] = files({{1, 0, 0, 0, 100'000'000}, {7, 0, 0, 3, 5}});
  rearm_expired_timers(set);
  const std::vector<Timer> wanted = {{1, 0, 100'000'000, 0, 100'000'000}, {7, 3, 5, 3, 5}};
  EXPECT_EQ(timers_of(set), wanted);
}

TEST(ExpiredTimers, OthersStayAsTheyAre) {
  const std::vector<Timer> others = {
      {0, 1, 2, 3, 4},  // runs
      {2, 0, 9, 0, 9},  // runs, and was not read
      {1, 0, 0, 0, 0},  // once, expired
      {0, 0, 0, 3, 4},  // disarmed
  };
  ImageSet set;
  set["files.img"] = files(others);
  const Bytes before = images::whole(set["files.img"]);
  rearm_expired_timers(set);
  EXPECT_EQ(timers_of(set), others);
  EXPECT_EQ(images::whole(set["files.img"]), before);
  ImageSet none;
  rearm_expired_timers(none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace transfer
