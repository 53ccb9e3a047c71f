// Bounds of what a client and the daemon say to each other. Whoever passes one is told so and cut
// off; nothing is shortened silently.
#pragma once

#include <cstddef>
#include <cstdint>

namespace control {

inline constexpr std::size_t kLineBytesMax = 1 << 20;      // one JSON object with its newline
inline constexpr std::size_t kReadBytesMax = 64 << 10;     // what one read of the socket may bring
inline constexpr std::size_t kOutputBytesMax = 256 << 10;  // job output in one event, before base64
inline constexpr std::size_t kJsonDepthMax = 16;           // nesting of objects and arrays
inline constexpr std::size_t kSentenceBytesMax = 8 << 10;  // progress, error, next
inline constexpr std::size_t kNameBytesMax = 64;           // of a node, a mesh or a job
inline constexpr std::size_t kReferenceBytesMax = 64;      // JOB or NODE as a person names it
inline constexpr std::size_t kTicketBytesMax = 4 << 10;
inline constexpr std::size_t kPathBytesMax = 4096;               // PATH_MAX, its zero included
inline constexpr std::size_t kFileNameBytesMax = 255;            // NAME_MAX
inline constexpr std::size_t kShareIdDigits = 32;                // hex, of a share
inline constexpr std::size_t kShareRecordMax = 65536;            // with its u16 size, of a share
inline constexpr std::size_t kInboxItemsMax = 2048;              // in one list of an inbox
inline constexpr std::size_t kArgumentsMax = 4096;               // argv of a job
inline constexpr std::size_t kEnvironmentMax = 4096;             // variables of a job
inline constexpr std::size_t kArgumentBytesMax = 128 << 10;      // MAX_ARG_STRLEN of execve(2)
inline constexpr std::size_t kNodesMax = 256;                    // in one status (design.md §5)
inline constexpr std::size_t kJobsMax = 4096;                    // in one list of jobs
inline constexpr std::size_t kObstaclesMax = 64;                 // to one move
inline constexpr std::size_t kSettingsMax = 256;                 // in one list of settings
inline constexpr std::size_t kSettingsBytesMax = 64 << 10;       // DIR/tern.toml
inline constexpr std::size_t kPeersMax = 64;                     // to call at start, in tern.toml
inline constexpr std::size_t kPolicyUidsMax = 256;               // in tern.toml
inline constexpr std::uint32_t kThrottlePercentMax = 100'000;    // of one CPU: 1000 CPUs
inline constexpr std::uint32_t kInviteSecondsDefault = 15 * 60;  // design.md §6
inline constexpr std::uint32_t kInviteSecondsMax = 24 * 60 * 60;

// An output event fits into a line: four characters for three bytes, and the fields around them.
static_assert(kOutputBytesMax / 3 * 4 + 256 < kLineBytesMax);

}  // namespace control
