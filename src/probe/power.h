// What feeds this machine, from /sys/class/power_supply (kernel documentation,
// ABI/testing/sysfs-class-power). Pure.
//
// A machine runs on battery when a battery of its own discharges and no charger is online;
// batteries of mice and headsets (scope Device) do not count. Several batteries are one whose
// charge is the mean of theirs. *Low*: at most kBatteryLowPercent, until it is above
// kBatteryFinePercent again or on mains, so that a charge at the edge does not make jobs leave and
// come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace probe {

inline constexpr int kBatteryLowPercent = 15;
inline constexpr int kBatteryFinePercent = 20;
inline constexpr std::size_t kPowerSuppliesMax = 64;

enum class Power : std::uint8_t { kUnknown, kMains, kBattery, kBatteryLow };
[[nodiscard]] const char* power_name(Power power);  // "unknown", "mains", "battery", "battery low"

struct PowerSupply {
  bool battery = false;  // else a charger
  bool of_device = false;
  bool online = false;
  bool discharging = false;
  std::optional<int> percent;
};
// The text of one supply's `uevent`. kInvalid: it says of no type.
[[nodiscard]] base::Result<PowerSupply> parse_power_supply(std::string_view uevent);

struct PowerSample {
  Power state = Power::kUnknown;
  std::optional<int> percent;  // of the machine's batteries
};
// `before`: the state of the sample before, for the two thresholds. kUnknown: no supply is shown,
// as on most machines that have no battery.
[[nodiscard]] PowerSample power_of(const std::vector<PowerSupply>& supplies, Power before);

}  // namespace probe
