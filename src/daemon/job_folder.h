// The files of a job's folder (init/contract.h lists what its keeper keeps there), and the marks of
// handovers. Blocking; stateless.
//
//   held-e<epoch>      the copy of that epoch is whole and held: [version = 1, [stopped pid, ...]]
//   released-e<epoch>  it may have run
//   thawed-e<epoch>    the original of that handover may have run on
//   paused-e<epoch>    the copy of that birth stands still by the owner's policy (node/pauses.h),
//   or
//                      is about to: [1 byte: 1 where a handover or a park holds it too, else 0]
// Marks are on the disk before the call returns. daemon/park_file.h has those of a parked job.
//
// Output: offsets are of the whole stream, over all nodes; the files hold it from `bases` on.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "node/move_metadata.h"
#include "transfer/image_stream.h"

namespace ternd {

// Of a block that is freed in part the rest would be zeros: a multiple of any block size.
inline constexpr std::uint64_t kTrimUnit = 1 << 20;

}  // namespace ternd

namespace ternd::job_folder {

[[nodiscard]] base::Status make(const std::string& dir);         // 0700; one that is there is fine
[[nodiscard]] base::Status sync_folder(const std::string& dir);  // its entries
// Whole or not at all, and on the disk.
[[nodiscard]] base::Status write_file(const std::string& dir, const std::string& name,
                                      base::ByteView bytes);
[[nodiscard]] node::StreamEnds bases(const std::string& dir);
[[nodiscard]] node::StreamEnds ends(const std::string& dir);
// The same of one stream, after all of it was brought to the disk; none where that failed.
[[nodiscard]] std::optional<std::uint64_t> synced_end(const std::string& dir, int stream);
// All output that is stored here, on the disk.
[[nodiscard]] base::Status sync_output(const std::string& dir);
struct Piece {
  std::uint64_t offset = 0;  // of its first byte
  base::Bytes bytes;
};
// Fewer bytes at the end, none past it or before the bases. What trim() took away is passed over:
// then the piece begins behind `offset`, with the first byte that is still there.
[[nodiscard]] Piece read(const std::string& dir, int stream, std::uint64_t offset,
                         std::size_t size_max);
// Exactly at `offset`, which must be where the stream ends (kStale); synced. After a failure the
// stream ends where it did. kFull: more than `limit` bytes would be there; 0: no limit.
[[nodiscard]] base::Status append(const std::string& dir, int stream, std::uint64_t offset,
                                  base::ByteView bytes, std::uint64_t limit);
// Of a stream that fills more than three quarters of `limit`, the oldest output goes until half of
// it is left, nothing from `floor` on; offsets stay as they are. Where the first byte is now.
// kUnsupported: this file system cannot.
[[nodiscard]] base::Result<std::uint64_t> trim(const std::string& dir, int stream,
                                               std::uint64_t floor, std::uint64_t limit);
// Whether trim() works in this folder; errors are "no".
[[nodiscard]] bool can_trim(const std::string& dir);
// The folder of a job that moves in. At home the log is there and goes on; elsewhere it is new.
[[nodiscard]] base::Status prepare_arrival(const std::string& dir, bool is_home,
                                           const node::MoveMetadata& metadata,
                                           std::vector<transfer::OutputTail> tails);

[[nodiscard]] base::Status mark_held(const std::string& dir, base::Epoch epoch,
                                     const std::vector<std::int32_t>& stopped);
[[nodiscard]] bool is_held(const std::string& dir, base::Epoch epoch);
[[nodiscard]] std::vector<pid_t> stopped_when_held(const std::string& dir, base::Epoch epoch);
[[nodiscard]] base::Status mark_released(const std::string& dir, base::Epoch epoch);
[[nodiscard]] bool is_released(const std::string& dir, base::Epoch epoch);
[[nodiscard]] base::Status mark_thawed(const std::string& dir, base::Epoch handover);
[[nodiscard]] bool is_thawed(const std::string& dir, base::Epoch handover);
[[nodiscard]] base::Status mark_paused(const std::string& dir, base::Epoch born, bool held_too);
// None: it is not. The value: held_too.
[[nodiscard]] std::optional<bool> is_paused(const std::string& dir, base::Epoch born);
void unmark_paused(const std::string& dir, base::Epoch born);
void unmark_held(const std::string& dir, base::Epoch epoch);

}  // namespace ternd::job_folder
