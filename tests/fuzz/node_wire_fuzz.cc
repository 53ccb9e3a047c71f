// Messages between nodes, descriptions of jobs and what travels with a checkpoint: taken or
// refused; what was taken is written back alike.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "node/job_wire.h"
#include "node/move_metadata.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  auto message = node::decode_message(input);
  if (message) {
    auto again = node::decode_message(node::encode(*message));
    CHECK(again.ok());
    CHECK(*again == *message);
  }
  auto spec = node::decode_spec(input);
  if (spec) {
    auto again = node::decode_spec(node::encode(*spec));
    CHECK(again.ok());
    CHECK(*again == *spec);
  }
  auto metadata = node::decode_move_metadata(input);
  if (metadata) {
    auto again = node::decode_move_metadata(node::encode(*metadata));
    CHECK(again.ok());
    CHECK(*again == *metadata);
  }
  return 0;
}
