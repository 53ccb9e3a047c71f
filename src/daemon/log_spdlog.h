// base::Log on spdlog: one line an event, `time level event key=value ...`. Values with spaces are
// quoted; line breaks never get through.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"

namespace ternd {

// To standard error, or to a file (made anew, appended to). kIo: the file cannot be opened.
[[nodiscard]] base::Result<std::unique_ptr<base::Log>> make_log(base::LogLevel level,
                                                                const std::string& file);

}  // namespace ternd
