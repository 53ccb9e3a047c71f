#include "node/owner.h"

#include <algorithm>
#include <array>
#include <utility>

namespace node {
namespace {

constexpr std::array<std::pair<std::string_view, Yield>, 6> kYields = {
    {{"nothing", Yield::kNothing},
     {"refuse", Yield::kRefuse},
     {"throttle", Yield::kThrottle},
     {"pause", Yield::kPause},
     {"send-home", Yield::kSendHome},
     {"drain", Yield::kDrain}}};

}  // namespace

base::Result<Yield> parse_yield(std::string_view text) {
  for (const auto& [name, yield] : kYields) {
    if (name == text) return yield;
  }
  return base::fail(base::Code::kInvalid,
                    "nothing, refuse, throttle, pause, send-home or drain is meant");
}

const char* yield_name(Yield yield) {
  return kYields[static_cast<std::size_t>(yield)].first.data();
}

Stance stance_of(const OwnerPolicy& policy, const OwnerSample& sample, Sleep sleep, bool shutdown) {
  Stance stance;
  const auto apply = [&stance](Yield yield, std::string why) {
    const bool holds = yield == Yield::kThrottle || yield == Yield::kPause;
    if (holds && yield > stance.hold) {
      stance.hold = yield;
      stance.hold_why = why;
    }
    if (yield > stance.yield) {
      stance.yield = yield;
      stance.why = std::move(why);
    }
  };
  // Who could not leave in time stays as it is: nothing begins that sleep would cut short.
  const bool late = sleep == Sleep::kAsleep && policy.sleep >= Yield::kSendHome;
  if (sleep != Sleep::kAwake) {
    apply(late ? Yield::kRefuse : policy.sleep,
          shutdown ? "it is about to shut down" : "it is about to sleep");
  }
  const probe::Power power = sample.power.state;
  const std::string charge =
      sample.power.percent ? " (" + std::to_string(*sample.power.percent) + " %)" : std::string();
  if (power == probe::Power::kBatteryLow) apply(policy.battery_low, "its battery is low" + charge);
  if (power == probe::Power::kBattery || power == probe::Power::kBatteryLow) {
    apply(policy.battery, "it runs on battery" + charge);
  }
  if (sample.metered) apply(policy.metered, "its network is metered");
  if (sample.idle && *sample.idle < kActiveFor) apply(policy.active, "its owner is active");
  return stance;
}

}  // namespace node
