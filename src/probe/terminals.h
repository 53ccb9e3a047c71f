// Who is logged in at which terminal, from the table of utmp(5) as Linux writes it. Pure.
//
// That somebody works there shows in the time of the terminal's last input (its st_atime, as `w`
// has it). Graphical sessions do not show, as their input goes to no terminal; their devices do
// (probe/input_devices.h).
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"

namespace probe {

inline constexpr std::size_t kTerminalsMax = 256;
inline constexpr std::size_t kUtmpSizeMax = 1 << 20;

// Names below /dev, such as "pts/3", of users that are logged in; further ones, names that could
// lead elsewhere and a record that is cut off are left out.
[[nodiscard]] std::vector<std::string> parse_utmp(base::ByteView bytes);

}  // namespace probe
