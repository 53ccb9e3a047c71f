// Every kind of fault that a world knows. Two sorts:
//
//   rate       happens to each thing of its sort (datagram, batch, operation ...) with a
//   probability scheduled  begins at a time, concerns a node (or two, or some), and ends after a
//   length
//
// Each kind has a name for scenarios and reports, and a counter of how often it really happened.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sim {

enum class Fault : std::uint8_t {
  // ---- rates: datagrams
  kLoss,
  kDuplicate,
  kReorder,  // up to 200 ms later than its time
  kCorrupt,  // one byte of it
  kTruncate,
  kReplay,  // once more, up to 200 s later
  kMisdeliver,
  kSpike,  // its way takes up to 2 s
  // ---- rates: connections and their messages
  kConnectFails,
  kReset,  // what was under way is lost
  kStall,  // up to 5 s
  kMessageTwice,
  kMessageLost,  // the host drops it: delivery is best effort
  // ---- rates: disk
  kSlowDisk,  // up to 1 s
  // ---- rates: host operations
  kPreflightRefuses,
  kDumpFails,
  kDumpHangs,
  kDumpSlow,
  kStreamBreaks,
  kRestoreFails,
  kRestoreHangs,
  kRestoreSlow,
  kCopyDies,      // the held copy
  kOriginalDies,  // the frozen original
  kThawSlow,
  kReportTwice,  // the host tells an outcome again
  kLaunchFails,
  // ---- scheduled: links
  kPartition,  // a part of the nodes hears nothing of the rest, nor the rest of it
  kOneWay,     // the rest does not hear that part
  kIsolate,    // one node
  kClog,       // one node's packets wait, then come all at once
  kSlowLink,   // one node's bandwidth falls to a hundredth
  kMtuHole,    // one node's datagrams above 1000 bytes vanish
  // ---- scheduled: nodes
  kCrash,      // the daemon: unsynced writes may be lost, processes go on
  kTornCrash,  // the same, and the write under way is half there: the store drops it
  kPowerLoss,  // the machine: its processes are gone too
  kRestart,    // orderly: leaves, stops, comes back
  kMove,       // the same, with another address
  kDiskFull,
  kPause,     // the daemon does not run (a debugger, a full machine)
  kLid,       // the machine sleeps: nothing runs, its clock goes on
  kSlowCpu,   // each event takes the daemon milliseconds
  kWallJump,  // the wall clock is set
  kSnapshot,  // the store is set back to what it was some time ago
  kClone,     // the state folder runs twice
  // ---- scheduled: lying members
  kLieVotes,     // votes for everybody who asks
  kLieOutcomes,  // as coordinator, tells each member another outcome
  kLieLoad,      // absurd figures about itself
  kLieReports,   // says of the other end what is not so
  // ---- lying members, in what they relay: nothing becomes untrue for it
  kLieDigests,    // alters the digests of others
  kLieStale,      // tells old digests again
  kLieStrangers,  // vouches for a member that the root does not know
  kLieDeaths,     // says of the living that they are suspect
  // ---- drawn once for each node
  kDrift,  // its clock is wrong by up to 500 ppm
  kSkew,   // its wall clock by up to a minute
  // ---- later than the others, whose draws stay what they were
  kMessageLate,  // rate: overtaken by others, up to 8 s, even by those of a newer connection
  kUdpBlocked,   // scheduled: one node's datagrams vanish, its connections work
  kHidden,       // drawn once for each node: it tells nobody its address
  kOwner,        // scheduled: one node's owner is at it, or it runs on battery (sim/world_owner.cc)
  kCount,
};
inline constexpr std::size_t kFaultKinds = static_cast<std::size_t>(Fault::kCount);
static_assert(kFaultKinds >= 30);
static_assert(kFaultKinds <= 64);  // one stream of draws each

enum class FaultSort : std::uint8_t { kRate, kScheduled, kEach };

[[nodiscard]] std::string_view fault_name(Fault fault);
[[nodiscard]] std::optional<Fault> fault_from(std::string_view name);
[[nodiscard]] FaultSort fault_sort(Fault fault);
// Where it strikes, that node's own promises about its triads are void (design.md §3, "What it
// survives"): a lying member, or a store that forgot what it had synced.
[[nodiscard]] bool breaks_trust(Fault fault);

using FaultCounts = std::array<std::uint64_t, kFaultKinds>;

}  // namespace sim
