#include "sim/faults.h"

namespace sim {
namespace {

struct Row {
  Fault fault;
  std::string_view name;
};
constexpr Row kRows[] = {
    {Fault::kLoss, "loss"},
    {Fault::kDuplicate, "duplicate"},
    {Fault::kReorder, "reorder"},
    {Fault::kCorrupt, "corrupt"},
    {Fault::kTruncate, "truncate"},
    {Fault::kReplay, "replay"},
    {Fault::kMisdeliver, "misdeliver"},
    {Fault::kSpike, "spike"},
    {Fault::kConnectFails, "connect-fails"},
    {Fault::kReset, "reset"},
    {Fault::kStall, "stall"},
    {Fault::kMessageTwice, "message-twice"},
    {Fault::kMessageLost, "message-lost"},
    {Fault::kSlowDisk, "slow-disk"},
    {Fault::kPreflightRefuses, "preflight-refuses"},
    {Fault::kDumpFails, "dump-fails"},
    {Fault::kDumpHangs, "dump-hangs"},
    {Fault::kDumpSlow, "dump-slow"},
    {Fault::kStreamBreaks, "stream-breaks"},
    {Fault::kRestoreFails, "restore-fails"},
    {Fault::kRestoreHangs, "restore-hangs"},
    {Fault::kRestoreSlow, "restore-slow"},
    {Fault::kCopyDies, "copy-dies"},
    {Fault::kOriginalDies, "original-dies"},
    {Fault::kThawSlow, "thaw-slow"},
    {Fault::kReportTwice, "report-twice"},
    {Fault::kLaunchFails, "launch-fails"},
    {Fault::kPartition, "partition"},
    {Fault::kOneWay, "one-way"},
    {Fault::kIsolate, "isolate"},
    {Fault::kClog, "clog"},
    {Fault::kSlowLink, "slow-link"},
    {Fault::kMtuHole, "mtu-hole"},
    {Fault::kCrash, "crash"},
    {Fault::kTornCrash, "torn-crash"},
    {Fault::kPowerLoss, "power-loss"},
    {Fault::kRestart, "restart"},
    {Fault::kMove, "move"},
    {Fault::kDiskFull, "disk-full"},
    {Fault::kPause, "pause"},
    {Fault::kLid, "lid"},
    {Fault::kSlowCpu, "slow-cpu"},
    {Fault::kWallJump, "wall-jump"},
    {Fault::kSnapshot, "snapshot"},
    {Fault::kClone, "clone"},
    {Fault::kLieVotes, "lie-votes"},
    {Fault::kLieOutcomes, "lie-outcomes"},
    {Fault::kLieLoad, "lie-load"},
    {Fault::kLieReports, "lie-reports"},
    {Fault::kLieDigests, "lie-digests"},
    {Fault::kLieStale, "lie-stale"},
    {Fault::kLieStrangers, "lie-strangers"},
    {Fault::kLieDeaths, "lie-deaths"},
    {Fault::kDrift, "drift"},
    {Fault::kSkew, "skew"},
    {Fault::kMessageLate, "message-late"},
    {Fault::kUdpBlocked, "udp-blocked"},
    {Fault::kHidden, "hidden"},
    {Fault::kOwner, "owner"},
};
constexpr bool in_order() {
  std::size_t i = 0;
  for (const Row& row : kRows) {
    if (static_cast<std::size_t>(row.fault) != i++) return false;
  }
  return i == kFaultKinds;
}
static_assert(in_order());

}  // namespace

std::string_view fault_name(Fault fault) { return kRows[static_cast<std::size_t>(fault)].name; }

std::optional<Fault> fault_from(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.fault;
  }
  return std::nullopt;
}

FaultSort fault_sort(Fault fault) {
  if (fault == Fault::kMessageLate) return FaultSort::kRate;
  if (fault == Fault::kUdpBlocked || fault == Fault::kOwner) return FaultSort::kScheduled;
  if (fault >= Fault::kDrift) return FaultSort::kEach;
  return fault >= Fault::kPartition ? FaultSort::kScheduled : FaultSort::kRate;
}

bool breaks_trust(Fault fault) { return fault >= Fault::kSnapshot && fault <= Fault::kLieReports; }

}  // namespace sim
