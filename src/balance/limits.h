// Bounds and terms of patience of the agreement. Times are Durations of NodeClock; sizes in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "balance/group_limits.h"
#include "base/time.h"

namespace balance {

// ---- sizes
inline constexpr std::size_t kMessageSizeMax = 60 * 1024;      // larger ones are never sent or read
inline constexpr std::size_t kRequirementSizeMax = 48 * 1024;  // larger: the move is refused
inline constexpr std::size_t kReasonSizeMax = 300;             // longer sentences are cut
inline constexpr std::size_t kEntrySizeMax = 2048;             // one entry of a triad's log
static_assert(kRequirementSizeMax + 4096 <= kMessageSizeMax);
static_assert(kGroupBatchBytesMax + kGroupHeaderBytesMax + 64 <= kMessageSizeMax);
static_assert(kEntrySizeMax <= kGroupPayloadBytesMax);

// ---- counts
inline constexpr std::size_t kMembersMax = 3;
inline constexpr std::size_t kViewMax = 257;         // nodes of the view; more are left out
inline constexpr std::size_t kJobsMax = 1024;        // jobs of a LocalState; more are left out
inline constexpr std::size_t kOfferJobsMax = 64;     // the hogs first; the next triad has the rest
inline constexpr std::size_t kMovesPerTriadMax = 8;  // then the triad dissolves
inline constexpr std::size_t kOwnRecordsMax = 4096;  // full: no new seats, no new jobs' moves
inline constexpr std::size_t kPersonRequestsMax = 32;  // more: refused at once, exit code 1
inline constexpr std::size_t kEndedProposalsMax = 64;  // remembered against late doubles
inline constexpr std::size_t kLingeringMax = 256;      // dissolved triads kept; full: no new seats
inline constexpr std::size_t kLingeringByOneMax = 8;  // of them owed by one member: no seat with it
inline constexpr std::size_t kFailedSinksMax = 16;    // kept of a job; full: the oldest goes
inline constexpr std::size_t kViewWholeMax = 64;      // below that a view is no sample (gossip)
inline constexpr std::size_t kKeySizeMax = 120;

// ---- epochs
// A member could hand a job over under any epoch. A move's stays so far below the largest one that
// a person's word is always above it.
inline constexpr std::uint64_t kEpochMax = std::uint64_t{1} << 62;      // larger ones are not read
inline constexpr std::uint64_t kMoveEpochMax = std::uint64_t{1} << 61;  // then the job stays
inline constexpr std::uint64_t kResolveStride = std::uint64_t{1} << 32;
static_assert(kMoveEpochMax + kResolveStride < kEpochMax);

// ---- patience
inline constexpr base::Duration kProposalWait = std::chrono::seconds(3);     // answers to Propose
inline constexpr base::Duration kAcceptanceLife = std::chrono::seconds(10);  // without Form
inline constexpr base::Duration kFormWait = std::chrono::seconds(15);        // all store Form
inline constexpr base::Duration kBackoffMin = std::chrono::seconds(2);       // after a refusal
inline constexpr base::Duration kBackoffMax = std::chrono::seconds(6);
inline constexpr base::Duration kResendAfter = std::chrono::milliseconds(300);
inline constexpr base::Duration kFormEvery = std::chrono::milliseconds(500);    // repeated
inline constexpr base::Duration kPreflightEvery = std::chrono::seconds(1);      // until
inline constexpr base::Duration kReportEvery = std::chrono::milliseconds(500);  // answered
inline constexpr base::Duration kAskEvery = std::chrono::seconds(2);            // a silent member
inline constexpr base::Duration kContactLost = std::chrono::seconds(8);         // then abort
inline constexpr base::Duration kPlanWait = std::chrono::seconds(8);        // offer, room, prepare
inline constexpr base::Duration kPreflightWait = std::chrono::seconds(30);  // hashing takes time
inline constexpr base::Duration kStreamStall = std::chrono::seconds(20);    // no progress: withdraw
inline constexpr base::Duration kHandoverWait = std::chrono::seconds(600);  // over all: abort
inline constexpr base::Duration kReadyWait = std::chrono::seconds(60);      // sealed to ready
inline constexpr base::Duration kConfirmWait = std::chrono::seconds(3);     // then dissolve anyway
inline constexpr base::Duration kLingerEveryMax = std::chrono::seconds(30);  // from kReportEvery on
inline constexpr base::Duration kCheckAgain = std::chrono::seconds(1);   // unanswered host question
inline constexpr base::Duration kPersonWait = std::chrono::seconds(20);  // to get a triad formed
inline constexpr base::Duration kSeatQuiet = std::chrono::minutes(10);   // nothing decided: leave
static_assert(kFormWait + kPlanWait + kMovesPerTriadMax * (kPreflightWait + kContactLost) <
              kSeatQuiet);  // no triad that works takes as long to begin
static_assert(kProposalWait < kAcceptanceLife);
static_assert(kContactLost < kHandoverWait);
static_assert(kReportEvery < kLingerEveryMax);

// ---- words
inline constexpr const char* kIsStopping = "the daemon of a node is stopping";
inline constexpr const char* kIsInDoubt = "an earlier move of the job is not confirmed yet";
inline constexpr const char* kTooManyLinger =
    "this node waits for the end of too many earlier moves (tern ps shows the jobs in doubt)";
inline constexpr const char* kOwesTooMany =
    "a node of the three has not confirmed too many earlier moves";

// ---- rules (design.md §2); the thresholds of trits and hogs are probe's
inline constexpr base::Duration kResidence = std::chrono::seconds(60);
inline constexpr base::Duration kViewSettles = std::chrono::seconds(10);  // before it wakes jobs
inline constexpr base::Duration kThrottleSpacing = std::chrono::seconds(60);
// So long a sink that did not take a job is none that has room for it, as far as throttling goes.
// By then it has been asked again, every kResidence one.
inline constexpr base::Duration kFailedSinkCounts = std::chrono::minutes(5);
// Of its memory a node keeps so much for itself: with less free it is short of memory and sheds for
// that, and no move by rule, nor to the best node, takes the last of it (balance/rules.h).
inline constexpr std::int64_t kMemoryReservePercent = 5;
// LocalStates in a row for which the rule has to ask for a change: a node that has just started, or
// sees nobody for a moment, throttles nothing. As many as a trit needs beyond its threshold.
inline constexpr int kThrottleSamples = 3;

}  // namespace balance
