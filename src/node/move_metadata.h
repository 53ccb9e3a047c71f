// What travels with a checkpoint beside CRIU's images: the job's description and where its output
// stands. Written by SOURCE after the freeze, read by SINK when the seal has been verified.
//
//   [version = 2, spec bytes, stdout acknowledged, stderr acknowledged, stdout end, stderr end,
//    [pid, ...] <= 4096, queued]
//
// SINK's spool begins where home has acknowledged the output; the bytes from there to the end come
// in the stream. The PIDs (in the job's own namespace) are those that were stopped at the freeze
// and stay stopped when the copy is let go. Of a job that is queued there are no images but how to
// launch it (node/park_manifest.h).
#pragma once

#include <vector>

#include "node/job_wire.h"

namespace node {

inline constexpr std::size_t kStoppedMax = 4096;

struct MoveMetadata {
  JobSpec spec;
  StreamEnds acknowledged{};
  StreamEnds ends{};  // not before `acknowledged`
  std::vector<std::int32_t> stopped;
  bool queued = false;  // never started
  friend bool operator==(const MoveMetadata&, const MoveMetadata&) = default;
};

[[nodiscard]] base::Bytes encode(const MoveMetadata& metadata);
[[nodiscard]] base::Result<MoveMetadata> decode_move_metadata(base::ByteView bytes);

}  // namespace node
