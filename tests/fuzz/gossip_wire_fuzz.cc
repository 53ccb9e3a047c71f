// A payload that an authentic but ill-meaning member sent: no input crashes or reads beyond itself.
#include "base/check.h"
#include "gossip/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::ByteView input(data, size);
  (void)gossip::parse_header(input);
  const auto messages = gossip::decode_messages(input);
  if (!messages) return 0;
  for (const gossip::Message& message : *messages) {
    if (size <= gossip::kPayloadSizeMax) CHECK(!gossip::encode_message(message).empty());
  }
  return 0;
}
