// Time as the cores know it: an argument, never read.
//
// `Time` counts microseconds of CLOCK_BOOTTIME on a daemon (a closed lid does not stop it) and of
// the world's clock in the simulator. NodeClock has no now(): reading it does not compile.
// `WallTime` is seconds since the Unix epoch, for certificates, tickets and display only; no
// decision about who runs what depends on it.
#pragma once

#include <chrono>
#include <cstdint>

namespace base {

struct NodeClock {
  using rep = std::int64_t;
  using period = std::micro;
  using duration = std::chrono::duration<rep, period>;
  using time_point = std::chrono::time_point<NodeClock>;
  static constexpr bool is_steady = true;
};

using Duration = NodeClock::duration;
using Time = NodeClock::time_point;
inline constexpr Time kNever = Time::max();

enum class WallTime : std::int64_t {};  // seconds since 1970-01-01T00:00:00Z

constexpr std::int64_t wall_seconds(WallTime t) { return static_cast<std::int64_t>(t); }

using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""us;
using std::chrono_literals::operator""min;

}  // namespace base
