// How much of everything gossip keeps, sends and takes. Sizes in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/endpoint.h"
#include "base/time.h"
#include "identity/limits.h"

namespace gossip {

using namespace std::chrono_literals;

// ---- packets
inline constexpr std::size_t kPacketSizeMax = 1200;  // fits every path that carries IPv6
inline constexpr std::size_t kHeaderSize = 33;
inline constexpr std::size_t kSealSize = 16;
inline constexpr std::size_t kMessageHeaderSize = 3;
// Kept free in each packet, so that it can be sent again behind the answer to a challenge.
inline constexpr std::size_t kHandshakeRoom = 64;
inline constexpr std::size_t kPayloadSizeMax =
    kPacketSizeMax - kHeaderSize - kSealSize - kHandshakeRoom;
inline constexpr std::size_t kUnconfirmedMax = 4;  // packets kept per peer; the oldest goes
inline constexpr std::size_t kUnconfirmedAllMax = 32;
inline constexpr std::size_t kSessionsMax = 1024;     // the least recently used goes
inline constexpr base::Duration kCookieAge = 10s;     // a challenge is answered within 10 to 20 s
inline constexpr base::Duration kSaltChangeMin = 1s;  // clones of an identity change no faster

// ---- digests
inline constexpr std::size_t kDigestSizeMax = 440;  // the longest of format 1 has about 310
inline constexpr std::size_t kAddressesMax = 4;
inline constexpr std::size_t kVersionTextMax = 32;
// A certificate and its digest travel in one packet.
static_assert(2 * kMessageHeaderSize + 1 + kDigestSizeMax + identity::kChainSizeMax <=
              kPayloadSizeMax);
inline constexpr std::int64_t kRatioStepMilli = 50;     // a change of the ratio worth telling
inline constexpr std::uint64_t kMemoryStepPart = 8;     // and of free memory: this part of all
inline constexpr base::Duration kPublishMin = 100ms;    // own digests are no closer than this
inline constexpr base::Duration kRefuteMin = 1s;        // nor are answers to suspicions
inline constexpr base::Duration kRenewInterval = 5min;  // told again although nothing changed
inline constexpr base::Duration kRenewedMax = 10min;    // not renewed for longer: dead
static_assert(2 * kRenewInterval <= kRenewedMax);

// ---- views
inline constexpr std::size_t kViewMax = 256;       // others; everyone knows everyone up to here
inline constexpr std::size_t kSampleSize = 64;     // above
inline constexpr std::size_t kSampleLow = 48;      // live ones; a sample with fewer asks for more
inline constexpr std::size_t kFollowersMax = 256;  // whose samples hold this node; the oldest goes
inline constexpr std::size_t kIntroducedMax = 64;  // contacts without a digest yet; the first goes

// Certificates kept while the view is a sample; a random one of those that are of no use goes.
inline constexpr std::size_t kSampleRosterMax = 448;
static_assert(kSampleRosterMax >= kSampleSize + kFollowersMax + kIntroducedMax);
static_assert(kSampleRosterMax >= kViewMax);

// ---- spreading
inline constexpr std::size_t kFanOut = 4;  // both neighbours in the ring of ids, and random ones
inline constexpr base::Duration kRumorRound = 40ms;
inline constexpr base::Duration kNewMemberAge = 30s;  // certificates travel along for as long
inline constexpr base::Duration kSyncInterval = 5s;
inline constexpr base::Duration kSyncAgain = 300ms;  // after one that found a difference
inline constexpr std::size_t kBuckets = 16;
inline constexpr std::size_t kEntriesMax = 30;  // in one summary, list or wish
inline constexpr std::size_t kSampledHavesMax = 8;
inline constexpr base::Duration kTendInterval = 2500ms;  // one member of a sample in turn
inline constexpr base::Duration kFollowEvery = 500ms;    // who is new in it comes sooner
inline constexpr base::Duration kRefreshInterval = 2s;   // and one live one may be replaced
inline constexpr base::Duration kFollowedMax = 6min;     // who did not say so again has let go
static_assert(2 * kSampleSize * kTendInterval < kFollowedMax);
static_assert(kRenewInterval + kSampleSize * kTendInterval < kRenewedMax);

// ---- failure detection
inline constexpr std::size_t kObservers = 5;
inline constexpr base::Duration kHeartbeat = 1s;  // of each peer, while there are one or two
inline constexpr base::Duration kReplyMin = 200ms;
inline constexpr base::Duration kReplyMax = 1s;
inline constexpr base::Duration kReplyFirst = 500ms;  // before the round trip was measured
inline constexpr base::Duration kSilenceMax = 10s;    // suspect to dead
inline constexpr base::Duration kRefusedMax = 3s;     // the same, while the port refuses
inline constexpr base::Duration kReportMax = 60s;     // reports of one suspicion back off to this
inline constexpr base::Duration kSuspicionMin = 8s;   // one suspicion of a node is heard so often
inline constexpr base::Duration kDeadProbe = 2s;      // one of the dead is tried so often

// ---- contacts over TCP
inline constexpr std::size_t kSeedsMax = 16;
inline constexpr base::Duration kContactEvery = 500ms;  // at most one in
inline constexpr base::Duration kSeedBackoffMin = 1s;
inline constexpr base::Duration kSeedBackoffMax = 60s;
inline constexpr base::Duration kContactBackoffMin = 5s;
inline constexpr base::Duration kContactBackoffMax = 5min;

}  // namespace gossip
