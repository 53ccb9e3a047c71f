#include "probe/cgroup_parse.h"

#include <algorithm>

#include "probe/limits.h"
#include "probe/text_scan.h"

namespace probe {
namespace {

using base::Code;
using base::Error;
using base::Result;

constexpr std::int64_t kNoLimitFrom = INT64_MAX / 2;  // v1 prints 2^63 rounded down to a page

Error malformed(std::string_view file) {
  return base::fail(Code::kInvalid, std::string(file) + " is not as the kernel writes it");
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
                           is_octal(text[i + 2]) && is_octal(text[i + 3]);
    if (!is_escape) {
      out += text[i];
      continue;
    }
    const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
    out += static_cast<char>(value & 0xff);
    i += 3;
  }
  return out;
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

bool holds(const std::vector<std::string>& controllers, std::string_view name) {
  return std::find(controllers.begin(), controllers.end(), name) != controllers.end();
}

// What is left of `path` beneath `root`; nullopt if it does not lie there.
std::optional<std::string> beneath(std::string_view path, std::string_view root) {
  if (root == "/") return path == "/" ? std::string() : std::string(path);
  if (!path.starts_with(root)) return std::nullopt;
  path.remove_prefix(root.size());
  if (!path.empty() && path.front() != '/') return std::nullopt;
  return std::string(path);
}

}  // namespace

Result<std::vector<CgroupMount>> parse_cgroup_mounts(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan file(text);
  std::vector<CgroupMount> mounts;
  while (!file.at_end()) {
    TextScan scan(file.line());
    (void)scan.number();  // mount id
    (void)scan.number();  // parent
    (void)scan.word();    // major:minor
    CgroupMount mount;
    mount.root = unescape(scan.word());
    mount.mount_point = unescape(scan.word());
    (void)scan.word();  // mount options, then any number of optional fields up to "-"
    while (!scan.failed() && scan.word() != "-") continue;
    const std::string_view type = scan.word();
    if (scan.failed()) return malformed("/proc/self/mountinfo");
    if (type != "cgroup" && type != "cgroup2") continue;
    // The source may be an empty text, so the super options are the last word, not the third.
    const std::string_view tail = scan.rest();
    const std::string_view options = tail.substr(tail.find_last_of(' ') + 1);
    if (mounts.size() == kCgroupMountsMax) {
      return base::fail(Code::kTooLarge, "/proc/self/mountinfo has too many cgroup mounts");
    }
    mount.is_v2 = type == "cgroup2";
    if (!mount.is_v2) mount.controllers = split_commas(options);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<std::vector<CgroupMembership>> parse_memberships(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan file(text);
  std::vector<CgroupMembership> memberships;
  while (!file.at_end()) {
    TextScan scan(file.line());
    const std::uint64_t hierarchy = scan.number(INT32_MAX);
    scan.expect(':');
    const std::size_t colon = scan.rest().find(':');
    if (scan.failed() || colon == std::string_view::npos) return malformed("/proc/PID/cgroup");
    if (memberships.size() == kMembershipsMax) {
      return base::fail(Code::kTooLarge, "/proc/PID/cgroup has too many lines");
    }
    CgroupMembership membership;
    membership.controllers = split_commas(scan.rest().substr(0, colon));
    membership.path = std::string(scan.rest().substr(colon + 1));
    membership.is_v2 = hierarchy == 0 && membership.controllers.empty();
    if (!membership.path.starts_with('/')) return malformed("/proc/PID/cgroup");
    memberships.push_back(std::move(membership));
  }
  return memberships;
}

std::optional<CgroupPlace> place_of(const std::vector<CgroupMembership>& memberships,
                                    const std::vector<CgroupMount>& mounts,
                                    std::string_view controller) {
  const auto is_wanted = [&](bool is_v2, const std::vector<std::string>& controllers) {
    return controller.empty() ? is_v2 : !is_v2 && holds(controllers, controller);
  };
  const auto membership =
      std::find_if(memberships.begin(), memberships.end(),
                   [&](const CgroupMembership& m) { return is_wanted(m.is_v2, m.controllers); });
  if (membership == memberships.end()) return std::nullopt;
  const bool is_outside = membership->path.starts_with("/..");
  std::optional<CgroupPlace> fallback;
  for (const CgroupMount& mount : mounts) {
    if (!is_wanted(mount.is_v2, mount.controllers)) continue;
    if (!is_outside) {
      if (auto below = beneath(membership->path, mount.root)) {
        return CgroupPlace{mount.mount_point, std::move(*below)};
      }
    }
    if (!fallback) fallback = CgroupPlace{mount.mount_point, ""};
  }
  return fallback;
}

Result<std::optional<CpuQuota>> parse_cpu_max(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  TextScan quota(scan.word());
  const auto period = static_cast<std::int64_t>(scan.number(INT64_MAX));
  scan.end();
  if (scan.failed() || period == 0) return malformed("cpu.max");
  if (quota.rest() == "max") return std::optional<CpuQuota>();
  const auto quota_us = static_cast<std::int64_t>(quota.number(INT64_MAX));
  quota.end();
  if (quota.failed() || quota_us == 0) return malformed("cpu.max");
  return std::optional<CpuQuota>(CpuQuota{quota_us, period});
}

Result<std::optional<CpuQuota>> parse_cfs_quota(std::string_view quota_text,
                                                std::string_view period_text) {
  if (auto fits = within(quota_text, kProcTextMax); !fits) return fits.error();
  if (auto fits = within(period_text, kProcTextMax); !fits) return fits.error();
  TextScan quota(quota_text);
  TextScan period(period_text);
  const std::int64_t quota_us = quota.signed_number();
  const std::int64_t period_us = period.signed_number();
  quota.end();
  period.end();
  if (quota.failed() || period.failed() || period_us <= 0) return malformed("cpu.cfs_quota_us");
  if (quota_us == -1) return std::optional<CpuQuota>();
  if (quota_us <= 0) return malformed("cpu.cfs_quota_us");
  return std::optional<CpuQuota>(CpuQuota{quota_us, period_us});
}

Result<std::uint32_t> parse_cpu_list(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  std::uint64_t count = 0;
  std::uint64_t lowest_next = 0;  // the list ascends, so no CPU is counted twice
  while (!scan.at_end() && scan.rest() != "\n") {
    const std::uint64_t first = scan.number(kCpusMax - 1);
    const std::uint64_t last = scan.take('-') ? scan.number(kCpusMax - 1) : first;
    if (scan.failed() || last < first || first < lowest_next) return malformed("the CPU list");
    count += last - first + 1;
    lowest_next = last + 1;
    if (!scan.take(',')) {
      scan.end();
      break;
    }
    if (scan.at_end() || scan.rest() == "\n") return malformed("the CPU list");
  }
  if (scan.failed()) return malformed("the CPU list");
  return static_cast<std::uint32_t>(count);
}

Result<std::optional<std::int64_t>> parse_memory_limit(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  if (text == "max" || text == "max\n") return std::optional<std::int64_t>();
  TextScan scan(text);
  const std::uint64_t bytes = scan.number();
  scan.end();
  if (scan.failed()) return malformed("the memory limit");
  if (bytes >= static_cast<std::uint64_t>(kNoLimitFrom)) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(static_cast<std::int64_t>(bytes));
}

Result<std::int64_t> parse_byte_count(std::string_view text) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan scan(text);
  const std::uint64_t bytes = scan.number(INT64_MAX);
  scan.end();
  if (scan.failed()) return malformed("the byte count");
  return static_cast<std::int64_t>(bytes);
}

Result<std::int64_t> parse_keyed(std::string_view text, std::string_view key) {
  if (auto fits = within(text, kProcTextMax); !fits) return fits.error();
  TextScan file(text);
  while (!file.at_end()) {
    TextScan scan(file.line());
    if (scan.word() != key) continue;
    const std::uint64_t value = scan.number(INT64_MAX);
    scan.end();
    if (scan.failed()) return malformed("the cgroup's file");
    return static_cast<std::int64_t>(value);
  }
  return base::fail(Code::kNotFound, "the cgroup's file has no " + std::string(key));
}

Result<std::vector<std::int32_t>> parse_thread_ids(std::string_view text) {
  if (text.size() > kThreadsTextMax) return base::fail(Code::kTooLarge, "too many threads");
  TextScan file(text);
  std::vector<std::int32_t> ids;
  while (!file.at_end()) {
    TextScan scan(file.line());
    const std::uint64_t id = scan.number(INT32_MAX);
    scan.end();
    if (scan.failed()) return malformed("cgroup.threads");
    if (id != 0) ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

}  // namespace probe
