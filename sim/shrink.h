// The smallest scenario that still breaks the same promise: takes away jobs, people, scheduled
// faults, kinds of rates, nodes and time, larger pieces first (Zeller & Hildebrandt 2002, "ddmin"),
// until nothing more can go.
#pragma once

#include <functional>
#include <string>

#include "sim/scenario.h"

namespace sim {

// Whether a scenario still fails in the way that matters. Called for each candidate.
using StillFails = std::function<bool(const Scenario&)>;

struct ShrinkProgress {
  std::uint64_t runs = 0;
  std::uint64_t kept = 0;  // runs that failed too, and so became the new smallest
};

// Legal only if still_fails(scenario). `told` is called after each pass.
[[nodiscard]] Scenario shrink(Scenario scenario, const StillFails& still_fails,
                              const std::function<void(const ShrinkProgress&)>& told = {});

}  // namespace sim
