#include "bus/presence.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>

#include "bus/connection.h"
#include "bus/internal.h"

namespace bus {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{2};  // with being let in; sd-bus itself waits much longer

struct BusEnd {
  void operator()(sd_bus* bus) const { sd().sd_bus_close_unref(bus); }
};

// Whether somebody has a name.
class Question {
 public:
  int ask(sd_bus* bus, const char* name) {  // negative: an errno
    sd_bus_slot* slot = nullptr;
    const int status =
        sd().sd_bus_call_method_async(bus, &slot, kBus, kBusPath, kBus, "NameHasOwner",
                                      call<Question, &Question::on_answer>, this, "s", name);
    slot_.reset(slot);
    return status;
  }
  [[nodiscard]] bool answered() const { return answered_; }
  [[nodiscard]] bool there() const { return there_ > 0; }
  [[nodiscard]] const std::string& error() const { return error_; }  // instead of an answer

 private:
  void on_answer(sd_bus_message* answer) {
    answered_ = true;
    const bool read = sd().sd_bus_message_is_method_error(answer, nullptr) == 0 &&
                      sd().sd_bus_message_read(answer, "b", &there_) >= 0;
    if (!read) error_ = error_of(answer);
  }
  Slot slot_;
  bool answered_ = false;
  int there_ = 0;
  std::string error_;
};

// Until the bus has something for us, or time is up.
void wait_for(sd_bus* bus, Clock::duration left) {
  const int events = sd().sd_bus_get_events(bus);
  pollfd one{sd().sd_bus_get_fd(bus), static_cast<short>(events > 0 ? events : 0), 0};
  // Some of what sd-bus does next depends on time alone, by get_timeout(): often enough.
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  (void)::poll(&one, 1, static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 100)));
}

// Why not; empty: both are answered.
std::string ask_both(sd_bus* bus, Question& login, Question& network) {
  const Clock::time_point until = Clock::now() + kPatience;
  int status = login.ask(bus, kLogin);
  if (status >= 0) status = network.ask(bus, kNetwork);
  while (status >= 0 && !(login.answered() && network.answered())) {
    status = sd().sd_bus_process(bus, nullptr);
    if (status != 0) continue;
    const Clock::duration left = until - Clock::now();
    if (left <= Clock::duration::zero()) return "it does not answer";
    wait_for(bus, left);
  }
  if (status < 0) return std::strerror(-status);
  return login.error().empty() ? network.error() : login.error();
}

}  // namespace

Presence find_services() {
  Presence found;
  if (!may_be_there()) {
    found.no_bus = "there is none";
    return found;
  }
  if (auto loaded = load_library(); !loaded) {
    found.no_bus = loaded.error().detail;
    return found;
  }
  sd_bus* raw = nullptr;
  const int status = sd().sd_bus_open_system(&raw);
  const std::unique_ptr<sd_bus, BusEnd> bus(raw);
  Question login;
  Question network;
  found.no_bus = status < 0 ? std::strerror(-status) : ask_both(raw, login, network);
  found.login = login.there();
  found.network = network.there();
  return found;
}

}  // namespace bus
