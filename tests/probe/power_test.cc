// What feeds a machine: recorded uevents of a laptop, a board without battery, mice and a UPS.
#include "probe/power.h"

#include <gtest/gtest.h>

namespace probe {
namespace {

constexpr char kBattery[] =
    "DEVTYPE=power_supply\nPOWER_SUPPLY_NAME=BAT0\nPOWER_SUPPLY_TYPE=Battery\n"
    "POWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_PRESENT=1\nPOWER_SUPPLY_TECHNOLOGY=Li-poly\n"
    "POWER_SUPPLY_CAPACITY=57\nPOWER_SUPPLY_CAPACITY_LEVEL=Normal\n";
constexpr char kCharger[] =
    "DEVTYPE=power_supply\nPOWER_SUPPLY_NAME=AC\nPOWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE=0\n";
constexpr char kMouse[] =
    "POWER_SUPPLY_NAME=hidpp_battery_0\nPOWER_SUPPLY_TYPE=Battery\n"
    "POWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_SCOPE=Device\nPOWER_SUPPLY_CAPACITY=5\n";

PowerSupply battery(int percent, bool discharging = true) {
  PowerSupply one;
  one.battery = true;
  one.discharging = discharging;
  one.percent = percent;
  return one;
}
PowerSupply charger(bool online) {
  PowerSupply one;
  one.online = online;
  return one;
}

TEST(Power, ReadsUevents) {
  const auto seen = parse_power_supply(kBattery);
  ASSERT_TRUE(seen.ok());
  EXPECT_TRUE(seen->battery);
  EXPECT_TRUE(seen->discharging);
  EXPECT_EQ(seen->percent, 57);
  EXPECT_FALSE(seen->of_device);
  EXPECT_FALSE(parse_power_supply(kCharger)->online);
  EXPECT_TRUE(parse_power_supply(kMouse)->of_device);
}

TEST(Power, DamagedTextsAreNoSupply) {
  for (const char* bad :
       {"", "\n\n", "POWER_SUPPLY_TYPE=", "POWER_SUPPLY_CAPACITY=9", "TYPE=Mains"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_power_supply(bad).ok());
  }
  for (const char* odd : {"POWER_SUPPLY_CAPACITY=", "POWER_SUPPLY_CAPACITY=9x",
                          "POWER_SUPPLY_CAPACITY=99999999999"}) {
    SCOPED_TRACE(odd);
    EXPECT_FALSE(
        parse_power_supply(std::string("POWER_SUPPLY_TYPE=Battery\n") + odd)->percent.has_value());
  }
  EXPECT_EQ(parse_power_supply("POWER_SUPPLY_TYPE=UPS\nPOWER_SUPPLY_CAPACITY=400")->percent, 100);
}

TEST(Power, WhatFeedsTheMachine) {
  struct Row {
    const char* name;
    std::vector<PowerSupply> supplies;
    Power state;
  };
  const Row rows[] = {
      {"nothing is shown", {}, Power::kUnknown},
      {"a mouse", {*parse_power_supply(kMouse)}, Power::kUnknown},
      {"a charger alone", {charger(true)}, Power::kMains},
      {"a laptop at its charger", {battery(40, false), charger(true)}, Power::kMains},
      {"a charger that is too weak", {battery(40), charger(true)}, Power::kMains},
      {"a laptop on the way", {battery(40), charger(false)}, Power::kBattery},
      {"its battery is low", {battery(15), charger(false)}, Power::kBatteryLow},
      {"two batteries, one empty", {battery(0), battery(60, false)}, Power::kBattery},
      {"a low mouse beside a full battery",
       {battery(90), *parse_power_supply(kMouse)},
       Power::kBattery},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(power_of(row.supplies, Power::kUnknown).state, row.state);
  }
}

TEST(Power, LowStaysLowUntilItIsWellAboveOrOnMains) {
  EXPECT_EQ(power_of({battery(16)}, Power::kBattery).state, Power::kBattery);
  EXPECT_EQ(power_of({battery(16)}, Power::kBatteryLow).state, Power::kBatteryLow);
  EXPECT_EQ(power_of({battery(21)}, Power::kBatteryLow).state, Power::kBattery);
  EXPECT_EQ(power_of({battery(9), charger(true)}, Power::kBatteryLow).state, Power::kMains);
}

}  // namespace
}  // namespace probe
