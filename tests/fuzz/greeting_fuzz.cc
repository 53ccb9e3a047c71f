// What a peer says first: the first byte picks a member's greeting or a purpose. What was taken is
// written back alike.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "identity/limits.h"
#include "node/greeting.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const base::ByteView input(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    auto greeting = node::decode_greeting(input);
    if (!greeting) return 0;
    CHECK(greeting->chain.size() <= identity::kChainSizeMax);
    auto again = node::decode_greeting(node::encode(*greeting));
    CHECK(again.ok());
    CHECK(*again == *greeting);
    return 0;
  }
  const bool by_ticket = (data[0] & 2) != 0;
  const auto purpose = node::decode_purpose(input, by_ticket);
  if (!purpose) return 0;
  CHECK((*purpose == node::Purpose::kJoin) == by_ticket);
  CHECK(node::encode(*purpose) == base::to_bytes(input));
  return 0;
}
