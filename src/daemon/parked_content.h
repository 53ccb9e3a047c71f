// The images of a parked job, read from its file (park_file.h): for SOURCE of a handover, as if
// they were dumped at this moment. done(ok) only after the whole file was read and its hash found
// right.
#pragma once

#include <memory>
#include <string>

#include "daemon/content_source.h"
#include "loop/handles.h"

namespace ternd {

[[nodiscard]] std::unique_ptr<ContentSource> start_parked_content(
    loop::Loop& loop, const std::string& path, ContentSource::Callbacks callbacks);

}  // namespace ternd
