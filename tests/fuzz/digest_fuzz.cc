#include "base/check.h"
#include "gossip/digest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  const auto head = gossip::peek_digest(input);
  const auto fields = gossip::decode_digest(input);
  if (fields) CHECK(head.ok());
  return 0;
}
