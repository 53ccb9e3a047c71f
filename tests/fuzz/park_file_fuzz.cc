// A parked job's file as it comes back from a disk: taken or refused, in any pieces, within limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "daemon/park_format.h"

namespace {

struct Counts final : ternd::ParkVisitor {
  base::Status begin(std::uint32_t /*image*/, const std::string& /*name*/) override {
    ++images;
    return {};
  }
  base::Status data(std::uint32_t image, base::ByteView bytes) override {
    CHECK(image < images);
    size += bytes.size();
    return {};
  }
  base::Status end(std::uint32_t image) override {
    CHECK(image < images);
    return {};
  }
  std::uint64_t images = 0;
  std::uint64_t size = 0;
};

constexpr std::uint64_t kDataMax = 1 << 20;

bool read(base::ByteView input, std::size_t piece, Counts& counts) {
  ternd::ParkDecoder decoder(input.size(), kDataMax);
  while (!input.empty()) {
    const base::ByteView part = input.first(std::min(piece, input.size()));
    input = input.subspan(part.size());
    if (!decoder.feed(part, counts)) return false;
  }
  CHECK(counts.size <= kDataMax);
  return decoder.done();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  Counts whole;
  Counts bytes;
  const bool taken = read(input, size == 0 ? 1 : size, whole);
  CHECK(read(input, 7, bytes) == taken);
  auto manifest = node::decode_park_manifest(input);
  if (manifest) {
    auto again = node::decode_park_manifest(node::encode(*manifest));
    CHECK(again.ok());
    CHECK(*again == *manifest);
  }
  auto plan = node::decode_launch_plan(input);
  if (plan) {
    auto again = node::decode_launch_plan(node::encode(*plan));
    CHECK(again.ok());
    CHECK(*again == *plan);
  }
  return 0;
}
