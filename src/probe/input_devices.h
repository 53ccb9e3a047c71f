// Whether somebody uses the keyboard, mouse or touch screen of this machine, without reading what
// is typed: only how often such devices made themselves heard. Pure.
//
//   device                     its counter
//   PS/2, a laptop's own       interrupts of "i8042" in /proc/interrupts
//   on I2C (most touchpads)    interrupts named like the device, such as "ELAN0412:00"
//   USB                        `urbnum` of the device in /sys: each report of it ends a transfer
//   Bluetooth and others       none: such a device does not show
//
// (evdev does not touch the times of its device files.) What has keys but is for no hands, such as
// a power button, a lid, a webcam or a headset, does not count.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace probe {

inline constexpr std::size_t kInputDevicesMax = 256;  // further ones are left out

// The files of /sys/class/input/event*/device/capabilities: words of hexadecimal, the highest
// first. Damaged text has no bits.
struct InputCapabilities {
  std::string key;
  std::string rel;
  std::string abs;
};
// A keyboard (all of ESC to S), a mouse (left button, both directions) or something to touch.
[[nodiscard]] bool is_for_hands(const InputCapabilities& capabilities);

// The name in /proc/interrupts of a device at that path below /sys/devices; empty: it has none.
[[nodiscard]] std::string interrupt_name(std::string_view device_path);
// How often each of these names interrupted, on all CPUs, by /proc/interrupts; several lines of one
// name are one, and a name that is not there is left out. kTooLarge over kProcTextMax.
[[nodiscard]] base::Result<std::map<std::string, std::uint64_t>> parse_interrupts(
    std::string_view text, const std::set<std::string>& names);

using InputCounts = std::map<std::string, std::uint64_t>;  // by device

class InputWatch {
 public:
  // How long ago any of them was heard: none before the first time. A device that comes or goes
  // says nothing by that.
  [[nodiscard]] std::optional<base::Duration> update(base::Time now, const InputCounts& counts);

 private:
  InputCounts counts_;
  std::optional<base::Time> heard_;
};

}  // namespace probe
