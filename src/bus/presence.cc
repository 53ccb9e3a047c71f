#include "bus/presence.h"

#include <cstdint>
#include <cstring>
#include <memory>

#include "bus/connection.h"
#include "bus/internal.h"

namespace bus {
namespace {

constexpr std::uint64_t kAnswerMicros = 2'000'000;

struct BusEnd {
  void operator()(sd_bus* bus) const { sd().sd_bus_close_unref(bus); }
};
struct MessageEnd {
  void operator()(sd_bus_message* message) const { sd().sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, MessageEnd>;

// Whether somebody has that name; negative: the bus does not say (an errno).
int has_owner(sd_bus* bus, const char* name) {
  sd_bus_message* raw = nullptr;
  int status = sd().sd_bus_message_new_method_call(bus, &raw, kBus, kBusPath, kBus, "NameHasOwner");
  const Message question(raw);
  if (status >= 0) status = sd().sd_bus_message_append(raw, "s", name);
  if (status < 0) return status;
  sd_bus_message* said = nullptr;
  status = sd().sd_bus_call(bus, question.get(), kAnswerMicros, nullptr, &said);
  const Message answer(said);
  int there = 0;
  if (status >= 0) status = sd().sd_bus_message_read(said, "b", &there);
  return status < 0 ? status : there;
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
  const int login = status < 0 ? status : has_owner(raw, kLogin);
  if (login < 0) {
    found.no_bus = std::strerror(-login);
    return found;
  }
  found.login = login > 0;
  found.network = has_owner(raw, kNetwork) > 0;
  return found;
}

}  // namespace bus
