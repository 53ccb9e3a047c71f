#include "bus/services.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "bus/internal.h"
#include "bus/sessions.h"
#include "probe/services.h"

namespace bus {

struct Services::State {
  explicit State(Services& of) : services(of) {}
  ~State() { let_sleep(); }
  void start();
  void listen(Slot& slot, const std::string& match, sd_bus_message_handler_t then);
  void network_changed(bool here);
  void on_network(sd_bus_message* signal);
  void on_metered(sd_bus_message* reply);
  void login_changed(bool here);
  void on_sleep(sd_bus_message* signal) { on_ahead(signal, Ahead::kSleep); }
  void on_shutdown(sd_bus_message* signal) { on_ahead(signal, Ahead::kShutdown); }
  void on_ahead(sd_bus_message* signal, Ahead what);
  void on_delay_max(sd_bus_message* reply);
  void tend_delay();
  void ask_to_delay(const char* what);
  [[nodiscard]] base::Duration patience(Ahead of) const;
  void on_inhibited(sd_bus_message* reply);
  void let_sleep();
  void desktop_changed();

  Services& services;
  std::unique_ptr<Connection> connection;
  Peer network{kNetwork, [this](bool here) { network_changed(here); }};
  Peer login{kLogin, [this](bool here) { login_changed(here); }};
  Property metered_property{kNetworkPath, kNetwork, "Metered",
                            [this](sd_bus_message* reply) { on_metered(reply); }};
  Property delay_property{kLoginPath, kLoginManager, "InhibitDelayMaxUSec",
                          [this](sd_bus_message* reply) { on_delay_max(reply); }};
  Sessions sessions{login, [this] { desktop_changed(); }};
  Slot network_news;
  Slot sleep_news;
  Slot shutdown_news;
  bool metered = false;
  std::optional<base::Time> worked;  // somebody, until then
  std::optional<Ahead> ahead;        // until it is said to be over
  base::Duration delay_max{};
  int inhibitor = -1;   // the login manager waits for whoever holds it
  Slot inhibiting;      // it is asked for
  bool of_both = true;  // it is, or was asked for, of shutdown too
};

void Services::State::start() {
  network.follow(connection->raw());
  login.follow(connection->raw());
  listen(network_news,
         std::string("sender='") + kNetwork + "',path='" + kNetworkPath + "',interface='" +
             kProperties + "',member='PropertiesChanged',arg0='" + kNetwork + "'",
         call<State, &State::on_network>);
  listen(sleep_news,
         std::string("sender='") + kLogin + "',path='" + kLoginPath + "',interface='" +
             kLoginManager + "',member='PrepareForSleep'",
         call<State, &State::on_sleep>);
  listen(shutdown_news,
         std::string("sender='") + kLogin + "',path='" + kLoginPath + "',interface='" +
             kLoginManager + "',member='PrepareForShutdown'",
         call<State, &State::on_shutdown>);
  sessions.listen(connection->raw());
  connection->flush();
}

void Services::State::listen(Slot& slot, const std::string& match, sd_bus_message_handler_t then) {
  slot = add_match(connection->raw(), "type='signal'," + match, then, this);
}

// ---- NetworkManager

void Services::State::network_changed(bool here) {
  services.said_.clear();  // the bus speaks
  if (here) return metered_property.ask(connection->raw(), network);
  metered_property.forget();
  if (std::exchange(metered, false)) services.callbacks_.changed();
}

void Services::State::on_network(sd_bus_message* signal) {
  if (network.sent(signal)) metered_property.ask(connection->raw(), network);
}

void Services::State::on_metered(sd_bus_message* reply) {
  std::uint32_t said = 0;
  const bool read = sd().sd_bus_message_is_method_error(reply, nullptr) == 0 &&
                    sd().sd_bus_message_read(reply, "v", "u", &said) >= 0;
  const bool now = read && probe::is_metered(said);
  if (std::exchange(metered, now) != now) services.callbacks_.changed();
}

// ---- the login manager

void Services::State::login_changed(bool here) {
  services.said_.clear();
  sessions.login_changed(here);
  if (here) return tend_delay();
  delay_property.forget();
  let_sleep();
  if (const auto was = std::exchange(ahead, {})) services.callbacks_.ahead(*was, false, {});
}

void Services::State::on_ahead(sd_bus_message* signal, Ahead what) {
  int begins = 0;
  if (!login.sent(signal) || sd().sd_bus_message_read(signal, "b", &begins) < 0) return;
  if (begins == 0 && ahead != what) return;  // the other one stands
  if (begins == 0) {
    ahead.reset();
    tend_delay();
  } else {
    ahead = what;
  }
  services.callbacks_.ahead(what, begins != 0, patience(what));
}

base::Duration Services::State::patience(Ahead of) const {
  const bool waits = inhibitor >= 0 && (of_both || of == Ahead::kSleep);
  return waits ? delay_max : base::Duration(0);
}

void Services::State::on_delay_max(sd_bus_message* reply) {
  std::uint64_t micros = 0;
  const bool read = sd().sd_bus_message_is_method_error(reply, nullptr) == 0 &&
                    sd().sd_bus_message_read(reply, "v", "t", &micros) >= 0;
  delay_max = probe::inhibit_delay(read ? micros : 0);
}

void Services::State::tend_delay() {
  if (!services.delays_) return let_sleep();
  if (ahead || !login.here() || inhibitor >= 0 || inhibiting) return;
  delay_property.ask(connection->raw(), login);
  of_both = true;
  ask_to_delay("sleep:shutdown");
}

void Services::State::ask_to_delay(const char* what) {
  sd_bus_slot* slot = nullptr;
  if (sd().sd_bus_call_method_async(connection->raw(), &slot, login.owner(), kLoginPath,
                                    kLoginManager, "Inhibit", call<State, &State::on_inhibited>,
                                    this, "ssss", what, "tern", "jobs of others leave first",
                                    "delay") >= 0) {
    inhibiting.reset(slot);
  }
  connection->flush();
}

void Services::State::on_inhibited(sd_bus_message* reply) {
  inhibiting.reset();
  int fd = -1;
  const bool refused = sd().sd_bus_message_is_method_error(reply, nullptr) != 0;
  if (refused && std::exchange(of_both, false)) return ask_to_delay("sleep");
  const bool read = !refused && sd().sd_bus_message_read(reply, "h", &fd) >= 0;
  inhibitor = read ? ::fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;  // `fd` is the message's
  if (inhibitor >= 0) {
    services.said_no_delay_.clear();
    services.log_.debug("sleep_is_delayed", {{"seconds_at_most", delay_max.count() / 1'000'000},
                                             {"shutdown_too", of_both}});
  } else if (std::string why = error_of(reply); services.said_no_delay_ != why) {  // each minute
    services.log_.info("sleep_is_not_delayed", {{"why", why}});
    services.said_no_delay_ = std::move(why);
  }
}

void Services::State::desktop_changed() {
  worked = loop::Loop::now();
  services.callbacks_.changed();
}

void Services::State::let_sleep() {
  inhibiting.reset();
  if (inhibitor >= 0) ::close(std::exchange(inhibitor, -1));
}

// ---- the connection

Services::Services(loop::Loop& loop, base::Log& log, Callbacks callbacks)
    : loop_(loop), log_(log), callbacks_(std::move(callbacks)) {
  connect();
}

Services::~Services() = default;

void Services::connect() {
  auto state = std::make_unique<State>(*this);
  auto opened = Connection::open(loop_, [this](const std::string& why) { lost(why); });
  if (!opened) return say_none(opened.error().detail);
  state->connection = std::move(*opened);
  state_ = std::move(state);
  state_->start();
}

void Services::say_none(const std::string& why) {
  if (said_ == why) return;
  said_ = why;
  log_.info("no_system_bus", {{"why", why}});
}

void Services::look() {
  if (!state_) return connect();
  state_->tend_delay();
}

void Services::lost(const std::string& why) {
  say_none(why);
  const std::optional<Ahead> was = state_->ahead;
  const bool was_metered = state_->metered;
  state_.reset();
  if (was_metered) callbacks_.changed();
  if (was) callbacks_.ahead(*was, false, {});
}

void Services::delay_sleep(bool on) {
  delays_ = on;
  if (state_) state_->tend_delay();
}

bool Services::metered() const { return state_ && state_->metered; }

std::optional<base::Duration> Services::idle(base::Time now) const {
  if (!state_ || !state_->worked) return std::nullopt;
  return state_->sessions.somebody_works() ? base::Duration(0) : now - *state_->worked;
}

}  // namespace bus
