// Every parser of src/probe on one text: the first byte chooses, the rest is the file.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "probe/cgroup_parse.h"
#include "probe/input_devices.h"
#include "probe/proc_parse.h"
#include "probe/scum.h"

namespace {

constexpr probe::KernelUnits kUnits{100, 4096};

void parse_process(std::string_view text) {
  const auto process = probe::parse_process_stat(text, kUnits);
  if (!process) return;
  CHECK(process->rss_bytes >= 0);
  const auto score = probe::scum_of(probe::usage_of(*process, std::chrono::hours(1), 1 << 30));
  CHECK(score.total_micros() >= 0);
  CHECK(score.total_micros() <= 1'000'000);
}

void parse_places(std::string_view text) {
  const std::size_t half = text.find('\f');
  const auto mounts = probe::parse_cgroup_mounts(text.substr(0, half));
  const auto memberships = probe::parse_memberships(
      half == std::string_view::npos ? std::string_view() : text.substr(half + 1));
  if (mounts && memberships) (void)probe::place_of(*memberships, *mounts, "cpu");
  if (mounts && memberships) (void)probe::place_of(*memberships, *mounts, "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 14) {
    case 0:
      parse_process(text);
      break;
    case 1:
      (void)probe::parse_loadavg(text);
      break;
    case 2:
      (void)probe::parse_system_stat(text);
      break;
    case 3:
      (void)probe::parse_uptime(text);
      break;
    case 4:
      (void)probe::parse_process_status(text);
      break;
    case 5:
      (void)probe::parse_statm(text, kUnits);
      break;
    case 6:
      (void)probe::parse_meminfo(text);
      break;
    case 7:
      parse_places(text);
      break;
    case 8:
      (void)probe::parse_cpu_max(text);
      break;
    case 9:
      (void)probe::parse_cpu_list(text);
      break;
    case 12:
      (void)probe::parse_interrupts(text, {"i8042", "ELAN0412:00"});
      break;
    case 13:
      (void)probe::is_for_hands({std::string(text), std::string(text), std::string(text)});
      (void)probe::interrupt_name(text);
      break;
    case 10:
      (void)probe::parse_memory_limit(text);
      break;
    default:
      (void)probe::parse_thread_ids(text);
      break;
  }
  CHECK(probe::command_text(text).size() <= probe::kCommandTextMax);
  return 0;
}
