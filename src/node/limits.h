// Limits of the node's own tables and messages. What happens when one is full stands beside it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace node {

inline constexpr std::size_t kJobsMax = 1024;                // known here; a further one is refused
inline constexpr std::size_t kExitedKeptMax = 256;           // at home; the oldest is forgotten
inline constexpr std::int64_t kNewJobLoad = 1'000'000;       // micro-tasks, until it is measured
inline constexpr std::size_t kNameSizeMax = 64;              // bytes of a job's name
inline constexpr std::size_t kArgumentsMax = 1024;           // of a command
inline constexpr std::size_t kArgumentsSizeMax = 32 * 1024;  // bytes, all together
inline constexpr std::size_t kPathSizeMax = 4096;
inline constexpr std::size_t kGroupsMax = 64;              // supplementary groups of a job's user
inline constexpr std::size_t kOutputChunkMax = 32 * 1024;  // bytes of output in one message
inline constexpr std::size_t kInputPieceMax = 32 * 1024;   // bytes of input in one message
// Of a job's input, on its way to it, at the node where it is typed and again at its host: there
// what is more is not taken, and sent again.
inline constexpr std::size_t kInputWindow = 256 * 1024;
inline constexpr std::size_t kDesksMax = 64;  // people that feed jobs from this node; refused
inline constexpr std::size_t kReasonSizeMax = 1024;  // bytes of a sentence from a peer; cut
inline constexpr std::size_t kJobsInReplyMax =
    256;                                            // further jobs are left out of one node's reply
inline constexpr std::size_t kQueriesMax = 64;      // of people, waiting for peers; refused
inline constexpr std::size_t kOrdersKeptMax = 128;  // of each peer, carried out; the oldest goes
inline constexpr std::size_t kAddressesKeptMax = 64;  // members'; further ones are not kept
inline constexpr std::size_t kMeetsMax = 2;           // the others of a triad
inline constexpr std::size_t kMetKeptMax = 128;  // in triads, or hosts of jobs; the oldest goes
inline constexpr std::size_t kCallersMax = 64;   // whom to answer where they called from; likewise
inline constexpr std::size_t kAddressesTriedMax = 8;  // after a restart; one leads to the others
inline constexpr std::size_t kWhyAskedMax = 4;   // PLUS nodes, for one sentence; others are not
inline constexpr std::size_t kTrialsMax = 4;     // dry runs under way, each kind; refused
inline constexpr std::size_t kObstaclesMax = 8;  // sentences of one dry run; further ones are cut
inline constexpr std::size_t kHandoverJsonSizeMax = 8 * 1024;
inline constexpr std::size_t kMessageSizeMax = 61 * 1024;
static_assert(kOutputChunkMax + 1024 < kMessageSizeMax);

inline constexpr base::Duration kOutputResend = std::chrono::milliseconds(700);
inline constexpr base::Duration kOutputStall = std::chrono::seconds(10);        // then it is said
inline constexpr base::Duration kOutputStallAgain = std::chrono::seconds(30);   // at least
inline constexpr base::Duration kInputAskMin = std::chrono::milliseconds(500);  // node/inputs.h
inline constexpr base::Duration kInputAskMax = std::chrono::seconds(2);
inline constexpr base::Duration kExitResend = std::chrono::seconds(1);
inline constexpr base::Duration kHereResend = std::chrono::seconds(2);
inline constexpr base::Duration kClaimPatience = std::chrono::seconds(60);  // job_wire.h
inline constexpr base::Duration kQueryPatience = std::chrono::milliseconds(1500);
// A question to a peer is said again after kAskAgainMin, then after twice as long and so on; once
// the peer was heard of, every kAskAgainMax, as long as it has not answered.
inline constexpr base::Duration kAskAgainMin = std::chrono::milliseconds(400);
inline constexpr base::Duration kAskAgainMax = std::chrono::seconds(3);
inline constexpr base::Duration kOrderSilence = std::chrono::seconds(12);  // then "does not answer"
inline constexpr base::Duration kForwardPatience = std::chrono::minutes(20);  // without any news
static_assert(3 * kAskAgainMax < kOrderSilence);  // more than one message has to be lost
inline constexpr base::Duration kTrialPatience = std::chrono::seconds(30);  // hashing takes time

}  // namespace node
