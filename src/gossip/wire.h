// What is inside a datagram's sealed payload: messages one after another, each
//   u8 type, u16 size (little-endian), body of that size.
// Unknown types are skipped, so that a later version may add some. Integers are little-endian.
//
//   type            body                                     since  meaning
//   1 challenge     cookie 16, salt 16                       1      prove that this salt of yours
//   is
//                                                                   live: send the cookie back
//   2 response      cookie 16                                1      first in its packet
//   3 accepted      salt 16                                  1      this salt of yours is in use
//   4 ping          nonce 8, state u8                        1      state: how we see you
//   5 pong          nonce 8                                  1
//   6 digest        state u8, digest                         1      state: how the sender sees its
//                                                                   origin (for newcomers only)
//   7 chain         certificate chain                        1      goes before its digest
//   8 suspect       entry 32                                 1      the sender cannot reach it
//   9 sync hash     hash 8, dead 8                           1      of the sender's view, and of
//   the
//                                                                   nodes that it believes dead
//  10 sync buckets  16 x u32                                 1      answer where the hash differs
//  11 sync summary  sampled u8, low 16, high 16, <= 30 entries  1   all that the sender has in
//                                                                   [low, high]; sampled: it wants
//                                                                   only what is newer
//  12 have          <= 30 entries                            1      what the sender could give; the
//                                                                   receiver's own: it follows him
//  13 want          <= 30 x (node 16, chain u8)              1      digests, with chain if 1
//
//   entry = node 16, incarnation 8, sequence 8
//
// Challenge and response are the only ones read in a packet under an unproven salt.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include "gossip/digest.h"
#include "gossip/envelope.h"

namespace gossip {

enum class State : std::uint8_t { kAlive, kSuspect, kDead, kLeft };

struct Entry32 {
  base::NodeId node;
  base::Incarnation incarnation;
  base::Sequence sequence;
  [[nodiscard]] auto age() const { return std::pair(incarnation, sequence); }
};
struct Wish {
  base::NodeId node;
  bool chain = false;
};

struct ChallengeMessage {
  Cookie cookie{};
  Salt salt{};
};
struct ResponseMessage {
  Cookie cookie{};
};
struct AcceptedMessage {
  Salt salt{};
};
struct PingMessage {
  std::uint64_t nonce = 0;
  State state = State::kAlive;
};
struct PongMessage {
  std::uint64_t nonce = 0;
};
struct DigestMessage {
  State state = State::kAlive;
  base::ByteView digest;  // borrows
};
struct ChainMessage {
  base::ByteView chain;  // borrows
};
struct SuspectMessage {
  Entry32 entry;
};
struct SyncHashMessage {
  std::uint64_t hash = 0;
  std::uint64_t dead = 0;
};
struct SyncBucketsMessage {
  std::array<std::uint32_t, kBuckets> buckets{};
};
struct SyncSummaryMessage {
  bool sampled = false;
  base::NodeId low;
  base::NodeId high;
  std::vector<Entry32> entries;
};
struct HaveMessage {
  std::vector<Entry32> entries;
};
struct WantMessage {
  std::vector<Wish> wishes;
};

using Message =
    std::variant<ChallengeMessage, ResponseMessage, AcceptedMessage, PingMessage, PongMessage,
                 DigestMessage, ChainMessage, SuspectMessage, SyncHashMessage, SyncBucketsMessage,
                 SyncSummaryMessage, HaveMessage, WantMessage>;

// One message with its header. Legal within the limits above.
[[nodiscard]] base::Bytes encode_message(const Message& message);
// All known messages of a payload; they borrow from it. kInvalid when any is malformed.
[[nodiscard]] base::Result<std::vector<Message>> decode_messages(base::ByteView payload);

}  // namespace gossip
