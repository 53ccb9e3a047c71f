// Reading a ticket: from a prompt that shows nothing, or from standard input. Never from arguments
// or the environment, which others on the machine can read.
#pragma once

#include "base/result.h"
#include "cli/screen.h"
#include "control/request.h"

namespace cli {

// kInvalid for nothing or too much; kStale where a signal (Ctrl-C) ended the reading.
[[nodiscard]] base::Result<control::SecretText> read_ticket(Screen& err);

}  // namespace cli
