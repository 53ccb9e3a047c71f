// Who uses the keyboard, without reading what is typed.
#include "probe/input_devices.h"

#include <gtest/gtest.h>

namespace probe {
namespace {

using namespace std::chrono_literals;

// As kernels show them.
constexpr char kKeyboard[] = "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe\n";
constexpr char kMouseKeys[] = "1f0000 0 0 0 0\n";
constexpr char kTouchKeys[] = "e520 10000 0 0 0 0\n";

TEST(InputDevices, AKeyboardAMouseAndATouchpadAreForHands) {
  EXPECT_TRUE(is_for_hands({kKeyboard, "0\n", "0\n"}));
  EXPECT_TRUE(is_for_hands({kMouseKeys, "903\n", "0\n"}));
  EXPECT_TRUE(is_for_hands({kTouchKeys, "0\n", "2608000 3\n"}));
}

TEST(InputDevices, OtherThingsWithKeysAreNot) {
  EXPECT_FALSE(is_for_hands({"10000000000000 0\n", "0\n", "0\n"})) << "a power button";
  EXPECT_FALSE(is_for_hands({"3e000b00000000 0 0 0\n", "0\n", "0\n"})) << "a headset's";
  EXPECT_FALSE(is_for_hands({"100000 0 0 0\n", "0\n", "0\n"})) << "a webcam's";
  EXPECT_FALSE(is_for_hands({kMouseKeys, "0\n", "0\n"})) << "buttons alone";
  EXPECT_FALSE(is_for_hands({"", "", ""}));
  EXPECT_FALSE(is_for_hands({"zz fffffffffffffffg\n", "3\n", "3\n"}));
  EXPECT_FALSE(is_for_hands({std::string(5000, 'f'), "3\n", "3\n"}));
}

TEST(InputDevices, TheirInterruptsAreNamedByTheirPath) {
  EXPECT_EQ(interrupt_name("platform/i8042/serio0/input/input3/event3"), "i8042");
  EXPECT_EQ(interrupt_name("pci0000:00/0000:00:15.0/i2c_designware.0/i2c-1/i2c-ELAN0412:00/"
                           "0018:04F3:3162.0001/input/input12/event5"),
            "ELAN0412:00");
  EXPECT_EQ(interrupt_name("pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/input/input7/event7"), "");
  EXPECT_EQ(interrupt_name("virtual/misc/uhid/0005:046D:B023.0005/input/input30/event9"), "");
  EXPECT_EQ(interrupt_name(""), "");
}

constexpr char kInterrupts[] =
    "           CPU0       CPU1       \n"
    "  1:          9        100  IR-IO-APIC    1-edge      i8042\n"
    " 12:          4          0  IR-IO-APIC   12-edge      i8042\n"
    " 14:     500000          0  IR-IO-APIC   14-fasteoi   INTC1055:00\n"
    " 51:          0         77  INTC1055:00   3  ELAN0412:00\n"
    "123:         12          0  IR-PCI-MSI 3  snd, other\n"
    "NMI:          1          2   Non-maskable interrupts\n"
    "ERR:          0\n";

TEST(InputDevices, InterruptsAreThoseOfAllCpusAndLines) {
  const auto counts = parse_interrupts(kInterrupts, {"i8042", "ELAN0412:00", "SYNA2393:00"});
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(*counts, (InputCounts{{"i8042", 113}, {"ELAN0412:00", 77}}));
  EXPECT_EQ(*parse_interrupts(kInterrupts, {"other"}), (InputCounts{{"other", 12}}));
}

TEST(InputDevices, DamagedInterruptsAreTakenAsFarAsTheyGo) {
  const std::string whole = kInterrupts;
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    const auto counts = parse_interrupts(whole.substr(0, cut), {"i8042"});
    ASSERT_TRUE(counts.ok());
    EXPECT_LE(counts->size(), 1U);
  }
  EXPECT_TRUE(parse_interrupts("1: 99999999999999999999999999 i8042\n:::\n1:", {"i8042"}).ok());
  EXPECT_FALSE(parse_interrupts(std::string(2 << 20, ' '), {"i8042"}).ok());
}

TEST(InputDevices, SomebodyIsThereOnceACounterMoved) {
  InputWatch watch;
  base::Time now{1h};
  EXPECT_EQ(watch.update(now, {{"i8042", 5}}), std::nullopt);
  EXPECT_EQ(watch.update(now += 5s, {{"i8042", 5}}), std::nullopt);
  EXPECT_EQ(watch.update(now += 5s, {{"i8042", 5}, {"usb1/1-2", 900}}), std::nullopt)
      << "one that is plugged in says nothing yet";
  EXPECT_EQ(watch.update(now += 5s, {{"i8042", 6}, {"usb1/1-2", 900}}), base::Duration(0));
  EXPECT_EQ(watch.update(now += 5s, {{"usb1/1-2", 900}}), 5s) << "nor one that goes";
  EXPECT_EQ(watch.update(now += 5s, {{"usb1/1-2", 901}}), base::Duration(0));
}

}  // namespace
}  // namespace probe
