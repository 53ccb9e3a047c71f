// What services.cc and sessions.cc share; for them alone.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "bus/library.h"

namespace bus {

inline constexpr char kNetwork[] = "org.freedesktop.NetworkManager";
inline constexpr char kNetworkPath[] = "/org/freedesktop/NetworkManager";
inline constexpr char kLogin[] = "org.freedesktop.login1";
inline constexpr char kLoginPath[] = "/org/freedesktop/login1";
inline constexpr char kLoginManager[] = "org.freedesktop.login1.Manager";
inline constexpr char kLoginSession[] = "org.freedesktop.login1.Session";
inline constexpr char kProperties[] = "org.freedesktop.DBus.Properties";
inline constexpr char kBus[] = "org.freedesktop.DBus";
inline constexpr char kBusPath[] = "/org/freedesktop/DBus";

struct SlotEnd {
  void operator()(sd_bus_slot* slot) const { sd().sd_bus_slot_unref(slot); }
};
using Slot = std::unique_ptr<sd_bus_slot, SlotEnd>;

// None: it could not be asked for.
[[nodiscard]] inline Slot add_match(sd_bus* bus, const std::string& match,
                                    sd_bus_message_handler_t then, void* to) {
  sd_bus_slot* slot = nullptr;
  const int added = sd().sd_bus_add_match_async(bus, &slot, match.c_str(), then, nullptr, to);
  return Slot(added >= 0 ? slot : nullptr);
}

// A method of State as sd-bus's callback. What a callback returns would end the connection.
template <typename T, void (T::*kMethod)(sd_bus_message*)>
int call(sd_bus_message* message, void* to, sd_bus_error* /*error*/) {
  (static_cast<T*>(to)->*kMethod)(message);
  return 0;
}

inline std::string error_of(sd_bus_message* reply) {
  const sd_bus_error* error = sd().sd_bus_message_get_error(reply);
  if (error == nullptr) return "the answer makes no sense";
  return error->message != nullptr ? error->message : error->name;
}

// A name on the bus: who has it, by the bus's own word.
class Peer {
 public:
  Peer(const char* name, std::function<void(bool here)> changed)
      : name_(name), changed_(std::move(changed)) {}
  void follow(sd_bus* bus) {
    const std::string match = std::string("type='signal',sender='") + kBus + "',path='" + kBusPath +
                              "',interface='" + kBus + "',member='NameOwnerChanged',arg0='" +
                              name_ + "'";
    changes_ = add_match(bus, match, call<Peer, &Peer::on_change>, this);
    sd_bus_slot* slot = nullptr;
    if (sd().sd_bus_call_method_async(bus, &slot, kBus, kBusPath, kBus, "GetNameOwner",
                                      call<Peer, &Peer::on_owner>, this, "s", name_) >= 0) {
      asked_.reset(slot);
    }
  }
  [[nodiscard]] bool here() const { return !owner_.empty(); }
  [[nodiscard]] const char* owner() const { return owner_.c_str(); }
  [[nodiscard]] bool sent(sd_bus_message* message) const {
    const char* sender = sd().sd_bus_message_get_sender(message);
    return here() && sender != nullptr && owner_ == sender;
  }

 private:
  void on_change(sd_bus_message* signal) {
    const char* sender = sd().sd_bus_message_get_sender(signal);
    const char* name = nullptr;
    const char* before = nullptr;
    const char* now = nullptr;
    if (sender == nullptr || std::strcmp(sender, kBus) != 0) return;
    if (sd().sd_bus_message_read(signal, "sss", &name, &before, &now) < 0) return;
    if (std::strcmp(name, name_) == 0) owned_by(now);
  }
  void on_owner(sd_bus_message* reply) {
    asked_.reset();
    const char* now = nullptr;
    if (sd().sd_bus_message_is_method_error(reply, nullptr) != 0) return;  // nobody
    if (sd().sd_bus_message_read(reply, "s", &now) >= 0) owned_by(now);
  }
  void owned_by(const char* now) {
    if (owner_ == now) return;
    const bool had = here();
    owner_.clear();
    if (had) changed_(false);
    owner_ = now;
    if (here()) changed_(true);
  }

  const char* name_;
  std::function<void(bool)> changed_;
  std::string owner_;  // its unique name on the bus; empty: nobody
  Slot changes_;
  Slot asked_;
};

// One property of a peer that is asked for again when it may have changed.
class Property {
 public:
  Property(const char* path, const char* interface, const char* name,
           std::function<void(sd_bus_message* reply)> said)
      : path_(path), interface_(interface), name_(name), said_(std::move(said)) {}
  void ask(sd_bus* bus, const Peer& peer) {
    bus_ = bus;
    peer_ = &peer;
    again_ = asked_ != nullptr;  // what is under way may be answered already
    if (again_) return;
    sd_bus_slot* slot = nullptr;
    if (sd().sd_bus_call_method_async(bus, &slot, peer.owner(), path_, kProperties, "Get",
                                      call<Property, &Property::on_reply>, this, "ss", interface_,
                                      name_) >= 0) {
      asked_.reset(slot);
    }
  }
  void forget() {
    asked_.reset();
    again_ = false;
  }

 private:
  void on_reply(sd_bus_message* reply) {
    asked_.reset();
    if (std::exchange(again_, false)) return ask(bus_, *peer_);
    said_(reply);
  }
  const char* path_;
  const char* interface_;
  const char* name_;
  std::function<void(sd_bus_message*)> said_;
  sd_bus* bus_ = nullptr;
  const Peer* peer_ = nullptr;
  Slot asked_;
  bool again_ = false;
};

}  // namespace bus
