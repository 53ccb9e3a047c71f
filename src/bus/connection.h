// The system bus (D-Bus) on the loop, by sd-bus: nothing here blocks, and nothing wakes the loop
// while the bus is silent. Where the bus is DBUS_SYSTEM_BUS_ADDRESS says, as everywhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "loop/handles.h"

struct sd_bus;

namespace bus {

// Whether it is worth loading a library to try. An address of another kind than a path may lead
// anywhere.
[[nodiscard]] bool may_be_there();

class Connection {
 public:
  // kUnreachable: there is no bus; kNotFound: no libsystemd. Whether it lets this process in shows
  // later: `on_lost` is called once, when the connection is over, and may destroy it.
  [[nodiscard]] static base::Result<std::unique_ptr<Connection>> open(
      loop::Loop& loop, std::function<void(const std::string& why)> on_lost);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] sd_bus* raw() { return bus_; }
  // To be called after messages were queued from elsewhere than a callback of sd-bus.
  void flush();

 private:
  Connection(loop::Loop& loop, sd_bus* bus, std::function<void(const std::string& why)> on_lost);
  void pump();
  void lost(const std::string& why);

  sd_bus* bus_;
  std::function<void(const std::string&)> on_lost_;
  std::unique_ptr<loop::Poll> poll_;
  loop::Timer timer_;
  bool pumping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace bus
