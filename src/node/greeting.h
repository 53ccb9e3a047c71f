// What two nodes tell each other before a connection carries anything else.
//
// The payload of a member's handshake; a joiner's is empty:
//   [version = 1, certificate chain <= 640, listening port <= 65535, 0: it does not listen]
// The initiator's first record is one byte, the purpose:
//   1 messages  control messages between nodes (transfer/message_channel.h), either way
//   2 bulk      one image stream (transfer/image_stream.h)
//   3 join      one join request (identity/join.h); with a ticket, and nothing else with one
//   4 share     files, from who connects (transfer/share_wire.h)
// Both are read before anything is known of who sent them: the chain is not verified here.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"

namespace node {

enum class Purpose : std::uint8_t { kMessages = 1, kBulk = 2, kJoin = 3, kShare = 4 };

struct Greeting {
  base::Bytes chain;  // at most identity::kChainSizeMax
  std::uint16_t port = 0;
  friend bool operator==(const Greeting&, const Greeting&) = default;
};

[[nodiscard]] base::Bytes encode(const Greeting& greeting);
// kInvalid, kTruncated, kTooLarge, as base::Reader says.
[[nodiscard]] base::Result<Greeting> decode_greeting(base::ByteView bytes);

[[nodiscard]] base::Bytes encode(Purpose purpose);
// kInvalid: not one byte, or none of these. kRefused: not for whom the handshake proved, a member
// or, with `by_ticket`, a joiner.
[[nodiscard]] base::Result<Purpose> decode_purpose(base::ByteView record, bool by_ticket);

}  // namespace node
