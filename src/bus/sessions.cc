#include "bus/sessions.h"

#include <cstring>
#include <utility>

namespace bus {
namespace {

constexpr std::size_t kSessionsMax = 32;     // further ones are not looked at
constexpr std::size_t kPropertiesMax = 128;  // of one session, likewise

bool read_text(sd_bus_message* message, std::string& to) {
  const char* text = nullptr;
  const bool read = sd().sd_bus_message_read(message, "v", "s", &text) >= 0;
  if (read) to = std::string(text).substr(0, probe::kSessionWordMax);
  return read;
}

bool read_flag(sd_bus_message* message, bool& to) {
  int flag = 0;
  const bool read = sd().sd_bus_message_read(message, "v", "b", &flag) >= 0;
  if (read) to = flag != 0;
  return read;
}

bool read_property(sd_bus_message* message, probe::DesktopSession& session) {
  const char* name = nullptr;
  if (sd().sd_bus_message_read(message, "s", &name) < 0) return false;
  const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("Type")) return read_text(message, session.type);
  if (is("Class")) return read_text(message, session.session_class);
  if (is("Remote")) return read_flag(message, session.remote);
  if (is("Active")) return read_flag(message, session.active);
  if (is("IdleHint")) return read_flag(message, session.idle);
  if (is("LockedHint")) return read_flag(message, session.locked);
  if (is("IdleSinceHint")) {
    return sd().sd_bus_message_read(message, "v", "t", &session.hinted_micros) >= 0;
  }
  return sd().sd_bus_message_skip(message, "v") >= 0;
}

// False: it makes no sense, which counts as a session where nobody works.
bool read_session(sd_bus_message* reply, probe::DesktopSession& session) {
  if (sd().sd_bus_message_is_method_error(reply, nullptr) != 0) return false;
  if (sd().sd_bus_message_enter_container(reply, 'a', "{sv}") < 0) return false;
  for (std::size_t i = 0; i < kPropertiesMax; ++i) {
    const int entered = sd().sd_bus_message_enter_container(reply, 'e', "sv");
    if (entered <= 0) return entered == 0;
    if (!read_property(reply, session)) return false;
    if (sd().sd_bus_message_exit_container(reply) < 0) return false;
  }
  return true;
}

}  // namespace

void Sessions::listen(sd_bus* bus) {
  bus_ = bus;
  const std::string sender = std::string("type='signal',sender='") + kLogin + "',";
  const std::string manager =
      sender + "path='" + kLoginPath + "',interface='" + kLoginManager + "',member='";
  for (const std::string& match :
       {manager + "SessionNew'", manager + "SessionRemoved'",
        sender + "path_namespace='" + kLoginPath + "/session',interface='" + kProperties +
            "',member='PropertiesChanged',arg0='" + kLoginSession + "'"}) {
    news_.push_back(add_match(bus, match, call<Sessions, &Sessions::on_news>, this));
  }
}

void Sessions::login_changed(bool here) {
  if (here) return look();
  asked_.reset();
  again_ = false;
  paths_.clear();
  found(false);
}

void Sessions::on_news(sd_bus_message* signal) {
  if (!login_.sent(signal)) return;
  again_ = asked_ != nullptr;
  if (!again_) look();
}

void Sessions::look() {
  sd_bus_slot* slot = nullptr;
  if (sd().sd_bus_call_method_async(bus_, &slot, login_.owner(), kLoginPath, kLoginManager,
                                    "ListSessions", call<Sessions, &Sessions::on_list>, this,
                                    "") >= 0) {
    asked_.reset(slot);
  }
}

void Sessions::on_list(sd_bus_message* reply) {
  asked_.reset();
  paths_.clear();
  one_works_ = false;
  const bool read = sd().sd_bus_message_is_method_error(reply, nullptr) == 0 &&
                    sd().sd_bus_message_enter_container(reply, 'a', "(susso)") >= 0;
  while (read && paths_.size() < kSessionsMax) {
    const char* path = nullptr;
    std::uint32_t uid = 0;
    const char* ignored = nullptr;
    if (sd().sd_bus_message_read(reply, "(susso)", &ignored, &uid, &ignored, &ignored, &path) <=
        0) {
      break;
    }
    paths_.emplace_back(path);
  }
  look_at_next();
}

void Sessions::look_at_next() {
  if (std::exchange(again_, false)) return look();
  if (paths_.empty()) return found(one_works_);
  const std::string path = std::move(paths_.back());
  paths_.pop_back();
  sd_bus_slot* slot = nullptr;
  if (sd().sd_bus_call_method_async(bus_, &slot, login_.owner(), path.c_str(), kProperties,
                                    "GetAll", call<Sessions, &Sessions::on_session>, this, "s",
                                    kLoginSession) >= 0) {
    asked_.reset(slot);
  }
}

void Sessions::on_session(sd_bus_message* reply) {
  asked_.reset();
  probe::DesktopSession session;
  one_works_ = (read_session(reply, session) && probe::somebody_works(session)) || one_works_;
  look_at_next();
}

void Sessions::found(bool works) {
  if (std::exchange(works_, works) != works) changed_();
}

}  // namespace bus
