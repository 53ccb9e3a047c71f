// Bounds of one share (share_wire.h), and what happens at them: the sender refuses before it sends
// anything, the receiver refuses the share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "transfer/limits.h"

namespace transfer {

inline constexpr std::size_t kShareEntriesMax = std::size_t{1} << 18;  // files, folders and links
inline constexpr std::size_t kShareNamesMax = std::size_t{32} << 20;   // bytes of names and targets
inline constexpr std::size_t kShareNameMax = 255;                      // NAME_MAX
inline constexpr std::size_t kShareLinkMax = 4095;                     // PATH_MAX without its zero
inline constexpr std::size_t kSharePathMax = 3072;                     // from the top, with slashes
inline constexpr std::size_t kShareDepthMax = 128;                     // folders within folders
inline constexpr std::uint64_t kShareBytesMax = std::uint64_t{1} << 50;  // of all files together
inline constexpr std::size_t kShareReasonMax = 512;                      // sentences; shortened
inline constexpr std::size_t kShareUserMax = 64;
inline constexpr std::size_t kShareHeaderSize = 3;  // of a message within a record
inline constexpr std::size_t kShareDataMax = kRecordDataMax - kShareHeaderSize;

static_assert(kShareDataMax <= UINT16_MAX);
static_assert(kShareEntriesMax < UINT32_MAX);
// An entry of any size fits into a message.
static_assert(kShareNameMax + kShareLinkMax + 64 < kShareDataMax);

}  // namespace transfer
