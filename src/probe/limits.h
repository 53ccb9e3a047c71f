// Bounds of what probe takes in. Text over its limit is kTooLarge; counts say what happens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace probe {

// Text of one file under /proc or a cgroup. /proc/stat has a number for every interrupt line.
inline constexpr std::size_t kProcTextMax = 1 << 20;
inline constexpr std::size_t kCommandTextMax = 4096;     // a command line is cut here
inline constexpr std::size_t kThreadsTextMax = 8 << 20;  // cgroup.threads of a million threads

// The kernel's PID_MAX_LIMIT: no more tasks than this can be runnable.
inline constexpr std::uint32_t kTasksMax = 1 << 22;
inline constexpr std::int64_t kLoadMicrosMax = std::int64_t{kTasksMax} * 1'000'000;
inline constexpr std::uint32_t kCpusMax = 1 << 16;
inline constexpr std::int64_t kCpusMillisMax = std::int64_t{kCpusMax} * 1000;
static_assert(kLoadMicrosMax < INT64_MAX / 1000, "a ratio is load * 1000 / milli-CPUs");

inline constexpr std::size_t kCgroupMountsMax = 64;    // more: kTooLarge
inline constexpr std::size_t kMembershipsMax = 64;     // more: kTooLarge
inline constexpr std::size_t kStatusGroupsMax = 1024;  // supplementary groups; more: kTooLarge
inline constexpr std::size_t kPidDepthMax = 32;        // the kernel's MAX_PID_NS_LEVEL

// Windows of averages. The upper bound keeps e^(-t/window) within 64-bit integers.
inline constexpr base::Duration kLoadWindowDefault = std::chrono::seconds(60);
inline constexpr base::Duration kLoadWindowMin = std::chrono::seconds(1);
inline constexpr base::Duration kLoadWindowMax = std::chrono::hours(1);
static_assert(kLoadWindowMax.count() < (std::int64_t{1} << 32));
// Samples closer together than this are left out: the decay of so short a time is mostly rounding.
inline constexpr base::Duration kSampleSpacingMin = std::chrono::milliseconds(1);

}  // namespace probe
