#include "transfer/expired_timers.h"

#include "transfer/image_rewrite.h"
#include "transfer/protobuf.h"

namespace transfer {
namespace {

using base::Bytes;
using base::ByteView;
using images::changed;
using protobuf::bytes_of;
using protobuf::Field;
using protobuf::number_of;

// CRIU's images/timerfd.proto, in an entry of files.img (image_schema.cc).
constexpr char kFiles[] = "files.img";
constexpr std::uint32_t kFileTimer = 12;
constexpr std::uint32_t kLeftSeconds = 7;
constexpr std::uint32_t kLeftNanos = 8;
constexpr std::uint32_t kIntervalSeconds = 9;
constexpr std::uint32_t kIntervalNanos = 10;
constexpr std::uint32_t kTicks = 5;

// One that is disarmed has an interval, too, but counted nothing since.
bool expired(ByteView timer) {
  return number_of(timer, kTicks) != 0 && number_of(timer, kLeftSeconds) == 0 &&
         number_of(timer, kLeftNanos) == 0 &&
         (number_of(timer, kIntervalSeconds) != 0 || number_of(timer, kIntervalNanos) != 0);
}

Bytes rearmed(ByteView file) {
  const ByteView timer = bytes_of(file, kFileTimer);
  const Bytes body = changed(timer, [&](Field& field) {
    if (field.number == kLeftSeconds) field.value = number_of(timer, kIntervalSeconds);
    if (field.number == kLeftNanos) field.value = number_of(timer, kIntervalNanos);
  });
  return changed(file, [&](Field& field) {
    if (field.number == kFileTimer) field.bytes = body;
  });
}

}  // namespace

void rearm_expired_timers(ImageSet& images) {
  const auto files = images.find(kFiles);
  if (files == images.end()) return;
  images::rewrite_where(
      files->second, [](ByteView file) { return expired(bytes_of(file, kFileTimer)); }, rearmed);
}

}  // namespace transfer
