// The owner of a machine comes first (design.md §8): what guests do when she works at it, when it
// runs on its battery or its network costs, and before it sleeps or shuts down. Pure; what is
// measured comes in with each sample.
//
//   cause          setting         the strongest that applies counts
//   owner active   owner-active    a terminal was typed at, a keyboard, mouse or touch screen here
//                                  used, or a desktop was not idle, within kActiveFor
//   on battery     on-battery      discharging (probe/power.h)
//   battery low    battery-low     besides the one above
//   metered        on-metered      its network costs by what goes through it (probe/services.h)
//   about to sleep on-sleep        the lid closes, say; also about to shut down (node/sleep.h)
//
// Each is *nothing*, *refuse* (no further guests), *throttle* (and those here get half of what they
// used, node/throttles.h), *pause* (they stand still, node/pauses.h), *send-home* (they leave, as
// in a drain of guests, node/drain.h), or *drain* (the jobs at home here leave too). Of several
// that apply the strongest says who leaves, and the stronger of throttle and pause how those are
// held that are still here: a paused guest is sent home as it is. What a cause asked for ends with
// the cause; a drain that a person asked for does not. These settings are a person's word, given
// beforehand, so residence and never-worse do not bind what follows from them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "probe/power.h"

namespace node {

inline constexpr base::Duration kActiveFor = std::chrono::minutes(5);

enum class Yield : std::uint8_t { kNothing, kRefuse, kThrottle, kPause, kSendHome, kDrain };
// "nothing", "refuse", "throttle", "pause", "send-home", "drain"; else kInvalid with a sentence.
[[nodiscard]] base::Result<Yield> parse_yield(std::string_view text);
[[nodiscard]] const char* yield_name(Yield yield);

struct OwnerPolicy {
  Yield active = Yield::kNothing;
  Yield battery = Yield::kRefuse;
  Yield battery_low = Yield::kDrain;
  Yield metered = Yield::kRefuse;
  Yield sleep = Yield::kSendHome;
};

// The machine's: node/sleep.h.
enum class Sleep : std::uint8_t { kAwake, kLeaving, kAsleep };

struct OwnerSample {
  probe::PowerSample power;
  std::optional<base::Duration> idle;  // since somebody was there; none: nothing says
  bool metered = false;
};

struct Stance {
  Yield yield = Yield::kNothing;
  std::string why;               // empty with kNothing
  Yield hold = Yield::kNothing;  // kThrottle, kPause: the guests that are here
  std::string hold_why;
  friend bool operator==(const Stance&, const Stance&) = default;
};
[[nodiscard]] Stance stance_of(const OwnerPolicy& policy, const OwnerSample& sample,
                               Sleep sleep = Sleep::kAwake, bool shutdown = false);

}  // namespace node
