// What the system's services say of the owner's machine, over the system bus:
//
//   org.freedesktop.NetworkManager  Metered: the network costs by what goes through it
//   org.freedesktop.login1          PrepareForSleep: the machine is about to sleep, or has woken;
//                                   PrepareForShutdown: to shut down, or not after all;
//                                   Inhibit: that both wait, for at most InhibitDelayMaxUSec, or
//                                   sleep alone, as some let who is not root delay only that;
//                                   its sessions: whether somebody works at a desktop here
//
// No bus, or no such service: not metered, and never about to sleep or shut down. Only what the
// service itself sent is believed: any user may send a signal to any process on the bus. A service
// is never started by a question, and asked again only when it says that something changed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/time.h"
#include "bus/connection.h"
#include "loop/handles.h"

namespace bus {

enum class Ahead { kSleep, kShutdown };

class Services {
 public:
  struct Callbacks {
    std::function<void()> changed;  // what the getters below say
    // About to sleep or shut down, after at most `patience` (0: it does not wait); or, of what was
    // said last, awake again, or not after all. A shutdown may follow on sleep that has begun.
    std::function<void(Ahead what, bool begins, base::Duration patience)> ahead;
  };
  // `log` outlives this. Not to be destroyed in a callback.
  Services(loop::Loop& loop, base::Log& log, Callbacks callbacks);
  ~Services();
  // Once a minute: connects if there is no connection.
  void look();
  // From now on sleep and shutdown wait for this process, as far as the login manager allows; or
  // does not.
  void delay_sleep(bool on);

  [[nodiscard]] bool metered() const;
  // Since somebody worked at a desktop here, by its session (probe/services.h); none: nothing says.
  [[nodiscard]] std::optional<base::Duration> idle(base::Time now) const;

 private:
  struct State;
  void connect();
  void lost(const std::string& why);
  void say_none(const std::string& why);

  loop::Loop& loop_;
  base::Log& log_;
  Callbacks callbacks_;
  bool delays_ = false;
  std::string said_;              // why there is no bus, as it was logged
  std::string said_no_delay_;     // why sleep does not wait, likewise
  std::unique_ptr<State> state_;  // with a connection
};

}  // namespace bus
