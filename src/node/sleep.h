// The machine is about to sleep (the lid closes, say), or to shut down: that waits a while, for who
// is to leave first. Pure.
//
//   kAwake  --comes()-->  kLeaving  --all have left, or the time is over-->  kAsleep
//      ^----------------------'------------------wakes()------------------------'
//
// While awake the delay is held as long as somebody is here who would leave, since it cannot be
// asked for when sleep has begun. Leaving takes nine tenths of the time that the machine would
// wait, at most kSleepPatienceMax: what ends by itself ends in order. Who is still here then stays
// as it is, and a handover that has begun goes on when the machine is awake: nobody destroys a copy
// on silence (balance/source_end.h). Before a shutdown all this is the same, but that who could not
// leave ends with the machine.
#pragma once

#include <cstddef>

#include "base/time.h"
#include "node/owner.h"

namespace node {

inline constexpr base::Duration kSleepPatienceMax = std::chrono::seconds(30);

class SleepDelay {
 public:
  // The time that leaving may take.
  base::Duration comes(base::Time now, base::Duration patience, bool shutdown = false);
  void wakes() { phase_ = Sleep::kAwake; }
  // How many would leave, or have not left. True: phase() or holds() changed.
  [[nodiscard]] bool tend(base::Time now, std::size_t waiting);
  [[nodiscard]] Sleep phase() const { return phase_; }
  [[nodiscard]] bool holds() const { return holds_; }  // the delay
  // What is about to be, or was last.
  [[nodiscard]] const char* verb() const { return shutdown_ ? "shut down" : "sleep"; }
  [[nodiscard]] bool shutdown() const { return shutdown_; }
  [[nodiscard]] base::Time next_deadline() const;

 private:
  Sleep phase_ = Sleep::kAwake;
  bool holds_ = false;
  bool shutdown_ = false;
  base::Time until_{};
};

}  // namespace node
