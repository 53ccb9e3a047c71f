// Sizes and patience of one group (balance/group.h). What happens when a limit is reached stands
// beside it.
#pragma once

#include <cstddef>

#include "base/time.h"

namespace balance {

inline constexpr std::size_t kGroupMembersMax = 3;

// One proposal; a larger one is refused with kTooLarge, an entry of a peer does not decode.
inline constexpr std::size_t kGroupPayloadBytesMax = 4096;

// Entries with a payload. Ordinary proposals are refused (kFull) from the first limit on, closing
// ones (an outcome, dissolve: Propose::closing) from the second, so that a full group can still end
// what it began. Nothing is ever compacted: a triad is short-lived.
inline constexpr std::size_t kGroupOrdinaryMax = 384;
inline constexpr std::size_t kGroupPayloadsMax = 448;

// All entries, the empty one that opens each term included. A member whose log is full does not
// campaign and takes no further entry: thousands of leaders in one triad mean that it will never
// get anywhere, and then a person has to decide (tern resolve).
inline constexpr std::size_t kGroupLogMax = 4096;

// One message. An append carries the entries that fit, at least one; the rest follows its answer.
inline constexpr std::size_t kGroupMessageBytesMax = 60 * 1024;
inline constexpr std::size_t kGroupBatchEntriesMax = 128;
inline constexpr std::size_t kGroupBatchBytesMax = 48 * 1024;  // payloads and their overhead
inline constexpr std::size_t kGroupEntryOverhead = 16;         // term, header of the payload
inline constexpr std::size_t kGroupHeaderBytesMax = 256;       // everything but the entries

// Messages that wait for a write. When full, further ones are dropped, as a network might.
inline constexpr std::size_t kGroupHeldMax = 64;

// Patience. A leader is heard every heartbeat; the preferred member's timeout lies below everybody
// else's, and a pre-vote is refused by whoever heard a leader within `sticky`.
struct GroupTimings {
  base::Duration heartbeat = std::chrono::milliseconds(250);
  base::Duration sticky = std::chrono::milliseconds(700);
  base::Duration preferred_first_max = std::chrono::milliseconds(50);  // after construction
  base::Duration preferred_min = std::chrono::milliseconds(750);
  base::Duration preferred_max = std::chrono::milliseconds(1000);
  base::Duration election_min = std::chrono::milliseconds(1500);
  base::Duration election_max = std::chrono::milliseconds(3000);
  base::Duration quorum = std::chrono::milliseconds(3000);  // a leader alone this long steps down
};

static_assert(kGroupOrdinaryMax < kGroupPayloadsMax);
static_assert(kGroupPayloadsMax < kGroupLogMax);
static_assert(kGroupPayloadBytesMax + kGroupEntryOverhead <= kGroupBatchBytesMax);
static_assert(kGroupBatchBytesMax + kGroupHeaderBytesMax <= kGroupMessageBytesMax);

}  // namespace balance
