#include "probe/input_devices.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "probe/limits.h"
#include "probe/text_scan.h"

namespace probe {
namespace {

// linux/input-event-codes.h
constexpr unsigned kFirstKey = 1;  // KEY_ESC
constexpr unsigned kLastKey = 31;  // KEY_S
constexpr unsigned kButtonLeft = 0x110;
constexpr unsigned kButtonTouch = 0x14a;
constexpr unsigned kWordBits = std::numeric_limits<unsigned long>::digits;
constexpr std::size_t kCapabilitiesTextMax = 4096;

bool has_bit(std::string_view text, unsigned bit) {
  if (text.size() > kCapabilitiesTextMax) return false;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  for (unsigned skip = bit / kWordBits; skip > 0; --skip) {
    const std::size_t space = text.rfind(' ');
    if (space == std::string_view::npos) return false;
    text = text.substr(0, space);
  }
  const std::size_t space = text.rfind(' ');
  if (space != std::string_view::npos) text.remove_prefix(space + 1);
  std::uint64_t word = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), word, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  return (word >> (bit % kWordBits) & 1U) != 0;
}

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_for_hands(const InputCapabilities& capabilities) {
  bool keyboard = true;
  for (unsigned key = kFirstKey; key <= kLastKey; ++key) {
    keyboard = keyboard && has_bit(capabilities.key, key);
  }
  const auto both = [](const std::string& axes) { return has_bit(axes, 0) && has_bit(axes, 1); };
  const bool mouse = has_bit(capabilities.key, kButtonLeft) && both(capabilities.rel);
  const bool touch = has_bit(capabilities.key, kButtonTouch) && both(capabilities.abs);
  return keyboard || mouse || touch;
}

std::string interrupt_name(std::string_view device_path) {
  std::string name;
  while (!device_path.empty()) {
    const std::string_view part = device_path.substr(0, device_path.find('/'));
    device_path.remove_prefix(std::min(part.size() + 1, device_path.size()));
    if (part == "i8042") return "i8042";
    // i2c-1 is a bus, i2c-ELAN0412:00 a device on it.
    const bool on_i2c = part.starts_with("i2c-") && !is_digits(part.substr(4));
    if (on_i2c) name = part.substr(4);
  }
  return name;
}

base::Result<std::map<std::string, std::uint64_t>> parse_interrupts(
    std::string_view text, const std::set<std::string>& names) {
  if (base::Status status = within(text, kProcTextMax); !status) return status.error();
  std::map<std::string, std::uint64_t> counts;
  TextScan lines(text);
  while (!lines.at_end()) {
    std::string_view line = lines.line();
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the names of the CPUs
    line.remove_prefix(colon + 1);
    std::uint64_t sum = 0;
    bool counting = true;
    std::set<std::string_view> said;  // a line counts once for a name
    while (!line.empty()) {
      const std::size_t begin = std::min(line.find_first_not_of(" \t,"), line.size());
      line.remove_prefix(begin);
      const std::string_view word = line.substr(0, line.find_first_of(" \t,"));
      line.remove_prefix(word.size());
      counting = counting && is_digits(word);
      if (counting) {
        std::uint64_t count = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), count);
        if (error == std::errc{}) sum += count;  // wraps, as the kernel's do
      } else if (names.contains(std::string(word)) && said.insert(word).second) {
        counts[std::string(word)] += sum;
      }
    }
  }
  return counts;
}

std::optional<base::Duration> InputWatch::update(base::Time now, const InputCounts& counts) {
  for (const auto& [device, count] : counts) {
    const auto known = counts_.find(device);
    if (known != counts_.end() && known->second != count) heard_ = now;
  }
  counts_ = counts;
  return heard_ ? std::optional(std::max(now - *heard_, base::Duration(0))) : std::nullopt;
}

}  // namespace probe
