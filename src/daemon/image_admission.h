// Whether a peer's checkpoint may be restored here: transfer's check of the images, and the part
// that only this machine can know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "node/job_wire.h"
#include "node/move_metadata.h"
#include "transfer/image_stream.h"

namespace ternd {

// Blocking: opens files. kRefused and others with a sentence. Without `allow_root` every path is
// opened as the job's user before CRIU, which is root, opens it. `init_root`: machine/init_root.h.
[[nodiscard]] base::Status admit_images(const transfer::ImageSet& images, const node::JobSpec& spec,
                                        bool allow_root, const std::string& init_root);

// Of a file that a job has mapped: up to `size` bytes, none where they cannot be had. The path may
// lead elsewhere by now: only a regular file is opened. Blocking.
[[nodiscard]] base::Bytes part_of(const std::string& path, std::uint64_t offset, std::size_t size);

// Of any images that are about to be restored: timers, system calls, parents and terminals go
// on as the job expects (transfer/expired_timers.h, interrupted_calls.h, stopped_children.h and
// terminal_output.h there). Blocking: reads files, those that the job has mapped.
void go_on(transfer::ImageSet& images);

// Blocking: reads files. The same; and the job's terminals get numbers that are free here. Between
// this and the restore somebody may take one: then the restore fails, and the job goes on where it
// is, or stays parked.
void fit_here(transfer::ImageSet& images);

// The whole of it for what a peer sent: of a queued job the plan of its launch, else the images,
// which are made to fit then.
[[nodiscard]] base::Status admit(transfer::ImageSet& images, const node::MoveMetadata& metadata,
                                 bool allow_root, const std::string& init_root);

}  // namespace ternd
