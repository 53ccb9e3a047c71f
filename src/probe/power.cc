#include "probe/power.h"

#include <algorithm>
#include <charconv>

namespace probe {

using base::Code;
using base::fail;

const char* power_name(Power power) {
  switch (power) {
    case Power::kMains:
      return "mains";
    case Power::kBattery:
      return "battery";
    case Power::kBatteryLow:
      return "battery low";
    case Power::kUnknown:
      break;
  }
  return "unknown";
}

base::Result<PowerSupply> parse_power_supply(std::string_view uevent) {
  constexpr std::string_view kPrefix = "POWER_SUPPLY_";
  PowerSupply out;
  bool typed = false;
  while (!uevent.empty()) {
    std::string_view line = uevent.substr(0, uevent.find('\n'));
    uevent.remove_prefix(std::min(line.size() + 1, uevent.size()));
    if (!line.starts_with(kPrefix)) continue;
    line.remove_prefix(kPrefix.size());
    const std::size_t equals = std::min(line.find('='), line.size());
    const std::string_view name = line.substr(0, equals);
    const std::string_view value = line.substr(std::min(equals + 1, line.size()));
    if (name == "TYPE") {
      typed = !value.empty();
      out.battery = value == "Battery" || value == "UPS";
    } else if (name == "SCOPE") {
      out.of_device = value == "Device";
    } else if (name == "ONLINE") {
      out.online = !value.empty() && value != "0";  // 2: online, the amount is negotiated
    } else if (name == "STATUS") {
      out.discharging = value == "Discharging";
    } else if (name == "CAPACITY") {
      int percent = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), percent);
      if (error == std::errc{} && end == value.data() + value.size()) {
        out.percent = std::clamp(percent, 0, 100);
      }
    }
  }
  if (!typed) return fail(Code::kInvalid, "no power supply");
  return out;
}

PowerSample power_of(const std::vector<PowerSupply>& supplies, Power before) {
  PowerSample out;
  bool charger = false;
  bool discharging = false;
  int sum = 0;
  int known = 0;
  bool any = false;
  for (const PowerSupply& supply : supplies) {
    if (supply.of_device) continue;
    any = true;
    charger = charger || (!supply.battery && supply.online);
    if (!supply.battery) continue;
    discharging = discharging || supply.discharging;
    if (!supply.percent) continue;
    sum += *supply.percent;
    ++known;
  }
  if (!any) return out;
  if (known > 0) out.percent = sum / known;
  if (!discharging || charger) {
    out.state = Power::kMains;
    return out;
  }
  const int threshold = before == Power::kBatteryLow ? kBatteryFinePercent : kBatteryLowPercent;
  const bool low = out.percent && *out.percent <= threshold;
  out.state = low ? Power::kBatteryLow : Power::kBattery;
  return out;
}

}  // namespace probe
