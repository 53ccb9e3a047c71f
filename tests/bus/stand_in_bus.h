// A bus of a test's own, and the services that stand_in_services.cc stands in for. Both end with
// the object.
#pragma once

#include <sys/types.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace bus::testing {

class Child {
 public:
  Child() = default;
  // Its standard input and output are pipes to here.
  explicit Child(const std::vector<std::string>& command);
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void end();
  void write(const std::string& line) const;
  // A line that came, without its end; empty: none yet, or not within the patience.
  [[nodiscard]] std::string read_line(int patience_ms);

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  std::string read_;
};

class StandInBus {
 public:
  StandInBus();   // DBUS_SYSTEM_BUS_ADDRESS is its address from now on
  ~StandInBus();  // and nothing
  void end();     // the bus itself goes
  // The order is carried out when this returns.
  void say(const std::string& order);
  // What the services wrote next, of what no order was answered with.
  [[nodiscard]] std::string heard(int patience_ms = 0);

 private:
  std::string folder_;
  std::unique_ptr<Child> bus_;
  std::unique_ptr<Child> services_;
  std::deque<std::string> heard_;  // while an order was carried out
};

}  // namespace bus::testing
