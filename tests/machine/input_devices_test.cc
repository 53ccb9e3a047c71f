// Input devices of recorded machines.
#include "machine/input_devices.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace machine {
namespace {

namespace fs = std::filesystem;

class InputTree : public testing::Test {
 protected:
  InputTree() {
    std::string pattern = (fs::temp_directory_path() / "tern-input-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) root_ = pattern;
  }
  ~InputTree() override { fs::remove_all(root_); }
  void put(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void device(const std::string& path, const std::string& key, const std::string& rel) const {
    const fs::path event = path;
    const std::string input = "/sys/devices/" + event.parent_path().string();
    put(input + "/capabilities/key", key);
    put(input + "/capabilities/rel", rel);
    put(input + "/capabilities/abs", "0\n");
    fs::create_directories(root_ + "/sys/class/input");
    fs::create_symlink("../../devices/" + path,
                       root_ + "/sys/class/input/" + event.filename().string());
  }
  std::string root_;
};

constexpr char kKeyboard[] = "fffffffffffffffe\n";
constexpr char kMouse[] = "1f0000 0 0 0 0\n";

TEST_F(InputTree, AMachineWithoutAnyHasNone) { EXPECT_TRUE(input_counts(root_).empty()); }

TEST_F(InputTree, EachIsCountedByWhatItIsConnectedTo) {
  device("platform/i8042/serio0/input/input3/event3", kKeyboard, "0\n");
  device("pci0/i2c-1/i2c-ELAN0412:00/0018:04F3.0001/input/input5/event5", kMouse, "3\n");
  device("pci0/usb1/1-2/1-2:1.0/0003:046D.0002/input/input7/event7", kMouse, "3\n");
  device("LNXSYSTM:00/LNXPWRBN:00/input/input0/event0", "10000000000000 0\n", "0\n");
  device("virtual/misc/uhid/0005:046D.0005/input/input9/event9", kKeyboard, "0\n");
  put("/sys/devices/pci0/usb1/urbnum", "4\n");
  put("/sys/devices/pci0/usb1/1-2/urbnum", "9000\n");
  put("/proc/interrupts", "  CPU0\n 1: 9 IO-APIC 1-edge i8042\n51: 7 x 3 ELAN0412:00\n");
  EXPECT_EQ(input_counts(root_),
            (probe::InputCounts{{"i8042", 9}, {"ELAN0412:00", 7}, {"pci0/usb1/1-2", 9000}}));
}

TEST_F(InputTree, LinksThatLeadElsewhereAndDamagedCountersAreLeftOut) {
  fs::create_directories(root_ + "/sys/class/input");
  fs::create_symlink("/etc/passwd", root_ + "/sys/class/input/event1");
  fs::create_symlink("../../devices/a/../../../etc", root_ + "/sys/class/input/event2");
  device("pci0/usb1/1-2/input/input7/event7", kMouse, "3\n");
  put("/sys/devices/pci0/usb1/1-2/urbnum", "many\n");
  EXPECT_TRUE(input_counts(root_).empty());
}

}  // namespace
}  // namespace machine
