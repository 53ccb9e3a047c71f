// Whether a peer's checkpoint may be restored here: transfer's check of the images, and the part
// that only this machine can know.
#pragma once

#include "base/result.h"
#include "node/job_wire.h"
#include "transfer/image_stream.h"

namespace ternd {

// Blocking: opens files. kRefused and others with a sentence. Without `allow_root` every path is
// opened as the job's user before CRIU, which is root, opens it. `init_root`: machine/init_root.h.
[[nodiscard]] base::Status admit_images(const transfer::ImageSet& images, const node::JobSpec& spec,
                                        bool allow_root, const std::string& init_root);

}  // namespace ternd
