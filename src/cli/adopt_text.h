// What adopting a process would meet, shown by tern adopt and tern migrate PID.
#pragma once

#include <string>

#include "cli/context.h"
#include "control/adopt_report.h"

namespace cli {

// To be handed to Ask::on_event: what changes, before it does.
base::Status show_adopt_notes(Context& context, const control::Event& event);
// `what`: adopt or migrate. The exit code.
int show_adopt_trial(Context& context, const std::string& data, const std::string& what);

}  // namespace cli
