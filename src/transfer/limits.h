// Every bound of this module, and what happens at it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace transfer {

// ---- handshake. More: the connection is refused (kTooLarge).
inline constexpr std::size_t kHandshakeMessageMax = 4096;
inline constexpr std::size_t kHandshakePayloadMax = 3584;  // certificate bytes, either way

// ---- records. A longer length field closes the stream (kTooLarge).
inline constexpr std::size_t kRecordSizeMax = 65536;  // on the wire, its length field included
inline constexpr std::size_t kRecordHeaderSize = 2;
inline constexpr std::size_t kRecordTypeSize = 1;
inline constexpr std::size_t kRecordTagSize = 16;
inline constexpr std::size_t kRecordOverhead = kRecordHeaderSize + kRecordTypeSize + kRecordTagSize;
inline constexpr std::size_t kRecordDataMax = kRecordSizeMax - kRecordOverhead;  // 65,517 bytes

// A direction takes a new key after this many records. At 64 KiB each that is 64 GiB at most, so
// counting records keeps both of the promised bounds (2^20 records, 64 GiB).
inline constexpr std::uint64_t kRekeyRecords = std::uint64_t{1} << 20;

// ---- buffers of one stream. Output full: send() says kFull, the source waits. Input full: feed()
// takes nothing more, the host stops reading, TCP holds the peer back.
inline constexpr std::size_t kOutputMax = std::size_t{1} << 20;
inline constexpr std::size_t kReceivedMax = std::size_t{1} << 20;
// Counted for every received record beside its bytes, so that a flood of tiny records is bounded.
inline constexpr std::size_t kReceivedRecordCost = 128;
inline constexpr std::size_t kOutputSlab = kRecordSizeMax;  // a record never spans two slabs
inline constexpr std::size_t kOutputSlabSmall = 4096;
inline constexpr std::size_t kOutputSparesMax = kOutputMax / kOutputSlab;  // emptied slabs kept

// ---- control messages. Longer ones are refused by the sender and close the receiver.
inline constexpr std::size_t kMessageSizeMax = 65536;

// ---- image streams. Beyond any of these the receiver refuses the whole checkpoint.
inline constexpr std::size_t kImagesMax = 8192;  // about 8 for each process, 1 for each thread
inline constexpr std::size_t kImageNameMax = 64;
inline constexpr std::size_t kImageRecordCost = 64;  // bookkeeping, counted against the total
inline constexpr std::size_t kMetadataMax = 60 * 1024;
inline constexpr std::size_t kOutputTailsMax = 4096;  // records of job output in one checkpoint

static_assert(kHandshakePayloadMax + 2 + 32 + 48 + 16 <= kHandshakeMessageMax);
static_assert(kRecordSizeMax - kRecordHeaderSize <= UINT16_MAX);
static_assert(kRekeyRecords * kRecordSizeMax <= std::uint64_t{64} << 30);
static_assert(kOutputMax >= 2 * kRecordSizeMax);
static_assert(kMetadataMax < kRecordDataMax);

}  // namespace transfer
