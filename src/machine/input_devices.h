// How often the keyboards, mice and touch screens of this machine made themselves heard
// (probe/input_devices.h). Blocking; stateless; never opens a device.
#pragma once

#include <string>

#include "probe/input_devices.h"

namespace machine {

// `root` is put before every path (tests). Devices without a counter, and what cannot be read, are
// left out.
[[nodiscard]] probe::InputCounts input_counts(const std::string& root);

}  // namespace machine
