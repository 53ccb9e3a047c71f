// What members of a group say to each other, and how an entry and the hard state lie on disk.
//
// Every message is a MessagePack array:
//   field        type     limit          since  meaning
//   version      u64      = 1            1      anything else is refused
//   kind         u64      0..5           1      which body follows, below
//   group        bin16                   1      triad id: an older triad of the same three differs
//   store        bin16                   1      sender's store id, which the form record must name
//   incarnation  u64                     1      sender's start counter
//   term         u64      < 2^63         1      sender's current term, in every kind
// 0 PreVote:      last_index u64, last_term u64       "would you elect me in term + 1?"
// 1 PreVoteReply: granted bool, asked_term u64        asked_term: the term of the PreVote answered
// 2 Vote:         last_index u64, last_term u64       (§5.2 RequestVote)
// 3 VoteReply:    granted bool
// 4 Append:       prev_index, prev_term, commit u64; array of entries (0..128), each [term u64,
//                 payload bin <= 4096]                (§5.3 AppendEntries; none = heartbeat)
// 5 AppendReply:  ok bool, prev_index u64 (of the append answered), index u64 (ok: stored up to
//                 here as the leader has it; else: try from here), commit u64 (what it knows)
// Indexes are at most kGroupLogMax. A message is at most 60 KiB. What exceeds a limit, ends early,
// has bytes left over or terms that fall is refused as a whole.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "balance/group_limits.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

namespace balance::group {

inline constexpr std::uint64_t kWireVersion = 1;
inline constexpr std::uint64_t kTermMax = INT64_MAX;

struct Entry {
  base::Term term;
  base::Bytes payload;  // empty: the entry that opens a leader's term
  friend bool operator==(const Entry&, const Entry&) = default;
};

// What Raft keeps on disk beside the log (Figure 2, "persistent state").
struct HardState {
  base::Term term;
  std::optional<base::NodeId> voted_for;  // in `term`
  friend bool operator==(const HardState&, const HardState&) = default;
};

// Where a log ends, and which of two ends is more up to date (§5.4.1: last term, then length).
struct LogEnd {
  base::Term term;
  base::LogIndex index;
  friend auto operator<=>(const LogEnd&, const LogEnd&) = default;
};

struct PreVote {
  LogEnd end;
};
struct PreVoteReply {
  bool granted = false;
  base::Term asked_term;
};
struct Vote {
  LogEnd end;
};
struct VoteReply {
  bool granted = false;
};
struct Append {
  LogEnd prev;
  base::LogIndex commit;
  std::vector<Entry> entries;
};
struct AppendReply {
  bool ok = false;
  base::LogIndex prev_index;
  base::LogIndex index;
  base::LogIndex commit;
};
using Body = std::variant<PreVote, PreVoteReply, Vote, VoteReply, Append, AppendReply>;

struct Message {
  base::TriadId group;
  base::StoreId store;
  base::Incarnation incarnation;
  base::Term term;
  Body body;
};

// The caller keeps the limits (CHECKed).
[[nodiscard]] base::Bytes encode(const Message& message);
[[nodiscard]] base::Result<Message> decode(base::ByteView bytes);

// Values for the durable store; the composition chooses the keys (one for the hard state, one for
// each index of the log).
[[nodiscard]] base::Bytes encode_entry(const Entry& entry);
[[nodiscard]] base::Result<Entry> decode_entry(base::ByteView bytes);
[[nodiscard]] base::Bytes encode_hard_state(const HardState& hard);
[[nodiscard]] base::Result<HardState> decode_hard_state(base::ByteView bytes);

}  // namespace balance::group
