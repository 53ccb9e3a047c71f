// ImageReceiver, fed with a sequence of records: u16
// size, bytes. What it took whole goes on to check_images.
#include <algorithm>

#include "base/check.h"
#include "transfer/image_check.h"
#include "transfer/image_stream.h"

using base::ByteView;
using namespace transfer;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = base::crypto::init().ok();
  CHECK(ready);
  constexpr std::uint64_t kTotalMax = 1 << 16;
  ImageReceiver receiver(Hash512{}, kTotalMax);
  ByteView rest(data, size);
  std::uint64_t fed = 0;
  while (rest.size() >= 2) {
    const std::size_t wanted = rest[0] + 256U * rest[1];
    rest = rest.subspan(2);
    Buffer record(std::min(wanted, rest.size()));
    std::copy_n(rest.begin(), record.size(), record.mutable_view().begin());
    rest = rest.subspan(record.size());
    fed += record.size();
    if (!receiver.feed(std::move(record)).ok()) {
      CHECK(receiver.state() == ImageReceiver::State::kFailed);
      return 0;
    }
    CHECK(receiver.bytes() <= fed);
    CHECK(receiver.bytes() <= kTotalMax);
    if (receiver.state() == ImageReceiver::State::kSealed) break;
  }
  if (receiver.state() != ImageReceiver::State::kSealed) return 0;
  CHECK(receiver.seal()->bytes == receiver.bytes());
  (void)receiver.take_outputs();
  (void)check_images(receiver.take_images(), CheckPolicy{});
  return 0;
}
