#include "machine/input_devices.h"

#include <dirent.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "machine/fd.h"
#include "probe/limits.h"

namespace machine {
namespace {

constexpr std::size_t kAttributeMax = 4096;
constexpr char kClass[] = "/sys/class/input";
constexpr std::string_view kDevices = "/sys/devices/";

std::vector<std::string> event_devices(const std::string& root) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir((root + kClass).c_str()), ::closedir);
  while (const dirent* entry = folder ? ::readdir(folder.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name.starts_with("event") && names.size() < probe::kInputDevicesMax) {
      names.emplace_back(name);
    }
  }
  return names;
}

// Below /sys/devices: pci0000:00/.../input3/event3. Empty: the link says something else.
std::string device_path(const std::string& root, const std::string& name) {
  char target[kAttributeMax];
  const std::string link = root + kClass + "/" + name;
  const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
  const std::string_view said(target, size > 0 ? static_cast<std::size_t>(size) : 0);
  constexpr std::string_view kUp = "../../devices/";
  if (!said.starts_with(kUp)) return {};
  const std::string_view below = said.substr(kUp.size());
  return below.find("..") == std::string_view::npos ? std::string(below) : std::string();
}

std::string attribute(const std::string& path) {
  auto text = read_small_file(path, kAttributeMax);
  return text ? *text : std::string();
}

// Of the nearest device above that is one of USB.
void count_transfers(const std::string& root, std::string path, probe::InputCounts& counts) {
  for (; !path.empty(); path.resize(path.find('/') == std::string::npos ? 0 : path.rfind('/'))) {
    const std::string text = attribute(root + std::string(kDevices) + path + "/urbnum");
    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (text.empty() || error != std::errc{}) continue;
    counts[path] = count;
    return;
  }
}

}  // namespace

probe::InputCounts input_counts(const std::string& root) {
  probe::InputCounts counts;
  std::set<std::string> interrupts;
  for (const std::string& name : event_devices(root)) {
    const std::string path = device_path(root, name);
    if (path.empty()) continue;
    const std::string input = root + std::string(kDevices) + path.substr(0, path.rfind('/'));
    const probe::InputCapabilities capabilities{attribute(input + "/capabilities/key"),
                                                attribute(input + "/capabilities/rel"),
                                                attribute(input + "/capabilities/abs")};
    if (!probe::is_for_hands(capabilities)) continue;
    const std::string interrupt = probe::interrupt_name(path);
    if (!interrupt.empty()) {
      interrupts.insert(interrupt);
    } else {
      count_transfers(root, path, counts);
    }
  }
  if (interrupts.empty()) return counts;
  auto text = read_small_file(root + "/proc/interrupts", probe::kProcTextMax);
  if (!text) return counts;
  auto heard = probe::parse_interrupts(*text, interrupts);
  if (heard) counts.merge(*heard);
  return counts;
}

}  // namespace machine
