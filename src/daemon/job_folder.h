// The files of a job's folder (init/contract.h lists what its keeper keeps there), and the marks of
// handovers. Blocking; stateless.
//
//   held-e<epoch>      the copy of that epoch is whole and held: [version = 1, [stopped pid, ...]]
//   released-e<epoch>  it may have run
//   thawed-e<epoch>    the original of that handover may have run on
// Marks are on the disk before the call returns.
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

namespace ternd::job_folder {

[[nodiscard]] base::Status make(const std::string& dir);  // 0700; one that is there is fine
[[nodiscard]] node::StreamEnds bases(const std::string& dir);
[[nodiscard]] node::StreamEnds ends(const std::string& dir);
// The same of one stream, after all of it was brought to the disk; none where that failed.
[[nodiscard]] std::optional<std::uint64_t> synced_end(const std::string& dir, int stream);
// All output that is stored here, on the disk.
[[nodiscard]] base::Status sync_output(const std::string& dir);
// Fewer bytes at the end, none past it or before the bases.
[[nodiscard]] base::Bytes read(const std::string& dir, int stream, std::uint64_t offset,
                               std::size_t size_max);
// Exactly at `offset`, which must be where the stream ends (kStale); synced. After a failure the
// stream ends where it did.
[[nodiscard]] base::Status append(const std::string& dir, int stream, std::uint64_t offset,
                                  base::ByteView bytes);
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
void unmark_held(const std::string& dir, base::Epoch epoch);

}  // namespace ternd::job_folder
