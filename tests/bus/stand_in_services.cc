// Stands in for NetworkManager and the login manager on a bus of a test's own, the one that
// DBUS_SYSTEM_BUS_ADDRESS names. Orders come in on standard input, a line each:
//
//   metered N       what Metered says, and that it changed
//   delay MICROS    what InhibitDelayMaxUSec says
//   refuse WHY      from now on nobody may inhibit; without WHY: they may again
//   refuse-both WHY the same of "sleep:shutdown" alone
//   sleep, wake     PrepareForSleep
//   shutdown, stay  PrepareForShutdown
//   forge           the same, of somebody else, to who inhibits; then "forged"
//   session TYPE CLASS REMOTE ACTIVE IDLE LOCKED HINTED
//                   there is one, which says so, and that it changed
//   odd             from now on every answer makes no sense
//   leave           gives its names up, as when the services end
//   come            takes them again
//
// Written to standard output: "ready"; "done" once an order is carried out, so that what is asked
// on the bus afterwards finds it so; and, of each inhibitor, "inhibited WHAT MODE" and "released",
// or "refused WHAT".
#include <fcntl.h>
#include <poll.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr char kNetwork[] = "org.freedesktop.NetworkManager";
constexpr char kNetworkPath[] = "/org/freedesktop/NetworkManager";
constexpr char kLogin[] = "org.freedesktop.login1";
constexpr char kLoginPath[] = "/org/freedesktop/login1";
constexpr char kManager[] = "org.freedesktop.login1.Manager";

constexpr char kSession[] = "org.freedesktop.login1.Session";
constexpr char kSessionPath[] = "/org/freedesktop/login1/session/c1";

struct Session {
  char type[16] = "";  // empty: there is none
  char of_class[16] = "";
  int remote = 0;
  int active = 0;
  int idle = 0;
  int locked = 0;
  std::uint64_t hinted_micros = 0;
};

struct Services {
  sd_bus* bus = nullptr;
  std::uint32_t metered = 0;
  std::uint64_t delay_micros = 5'000'000;
  bool odd = false;
  std::string refuses;       // why; empty: it does not
  std::string refuses_both;  // likewise, sleep and shutdown at once
  Session session;
  std::string inhibits;         // who, by its unique name
  std::vector<int> inhibitors;  // reading ends: they hang up when the others are closed
};

void say(const std::string& line) {
  (void)std::printf("%s\n", line.c_str());
  (void)std::fflush(stdout);
}

int checked(int status, const char* what) {
  if (status >= 0) return status;
  (void)std::fprintf(stderr, "stand_in_services: %s: %s\n", what, std::strerror(-status));
  std::exit(1);
}

int on_inhibit(sd_bus_message* call, void* userdata, sd_bus_error* error) {
  Services& services = *static_cast<Services*>(userdata);
  const char* what = nullptr;
  const char* who = nullptr;
  const char* why = nullptr;
  const char* mode = nullptr;
  int ends[2];
  checked(::sd_bus_message_read(call, "ssss", &what, &who, &why, &mode), "Inhibit");
  const bool both = services.refuses.empty() && std::strcmp(what, "sleep:shutdown") == 0;
  if (const std::string& refusal = both ? services.refuses_both : services.refuses;
      !refusal.empty()) {
    say("refused " + std::string(what));
    return ::sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, refusal.c_str());
  }
  checked(::pipe2(ends, O_CLOEXEC), "pipe");
  services.inhibits = ::sd_bus_message_get_sender(call);
  services.inhibitors.push_back(ends[0]);
  const int status = ::sd_bus_reply_method_return(call, "h", ends[1]);
  ::close(ends[1]);
  say("inhibited " + std::string(what) + " " + mode);
  return status;
}

int on_list(sd_bus_message* call, void* userdata, sd_bus_error* /*error*/) {
  if (static_cast<Services*>(userdata)->session.type[0] == '\0') {
    return ::sd_bus_reply_method_return(call, "a(susso)", 0);
  }
  return ::sd_bus_reply_method_return(call, "a(susso)", 1, "c1", 1000, "owner", "seat0",
                                      kSessionPath);
}

int get_text(sd_bus* /*bus*/, const char* /*path*/, const char* /*interface*/, const char* name,
             sd_bus_message* reply, void* userdata, sd_bus_error* /*error*/) {
  const Session& session = *static_cast<Session*>(userdata);
  return ::sd_bus_message_append(reply, "s",
                                 std::strcmp(name, "Type") == 0 ? session.type : session.of_class);
}

int on_anything(sd_bus_message* message, void* userdata, sd_bus_error* /*error*/) {
  const Services& services = *static_cast<Services*>(userdata);
  if (!services.odd || ::sd_bus_message_is_method_call(message, nullptr, nullptr) == 0) return 0;
  const bool get = ::sd_bus_message_is_method_call(message, nullptr, "Get") != 0;
  checked(get ? ::sd_bus_reply_method_return(message, "v", "s", "perhaps")
              : ::sd_bus_reply_method_return(message, "s", "of course"),
          "an odd answer");
  return 1;
}

const sd_bus_vtable kNetworkTable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Metered", "u", nullptr, offsetof(Services, metered),
                    SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END};
const sd_bus_vtable kManagerTable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("InhibitDelayMaxUSec", "t", nullptr, offsetof(Services, delay_micros), 0),
    SD_BUS_METHOD("Inhibit", "ssss", "h", on_inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("ListSessions", "", "a(susso)", on_list, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL("PrepareForSleep", "b", 0),
    SD_BUS_SIGNAL("PrepareForShutdown", "b", 0),
    SD_BUS_SIGNAL("SessionNew", "so", 0),
    SD_BUS_VTABLE_END};
const sd_bus_vtable kSessionTable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Type", "s", get_text, 0, 0),
    SD_BUS_PROPERTY("Class", "s", get_text, 0, 0),
    SD_BUS_PROPERTY("Remote", "b", nullptr, offsetof(Session, remote), 0),
    SD_BUS_PROPERTY("Active", "b", nullptr, offsetof(Session, active), 0),
    SD_BUS_PROPERTY("IdleHint", "b", nullptr, offsetof(Session, idle),
                    SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("LockedHint", "b", nullptr, offsetof(Session, locked), 0),
    SD_BUS_PROPERTY("IdleSinceHint", "t", nullptr, offsetof(Session, hinted_micros), 0),
    SD_BUS_VTABLE_END};

void prepare(sd_bus* from, const char* to, const char* signal_name, bool begins) {
  sd_bus_message* signal = nullptr;
  checked(::sd_bus_message_new_signal(from, &signal, kLoginPath, kManager, signal_name), "signal");
  checked(::sd_bus_message_append(signal, "b", begins ? 1 : 0), "signal");
  if (to != nullptr) checked(::sd_bus_message_set_destination(signal, to), "signal");
  checked(::sd_bus_send(from, signal, nullptr), "signal");
  ::sd_bus_message_unref(signal);
  checked(::sd_bus_flush(from), "signal");
}

void forge(const Services& services) {
  sd_bus* other = nullptr;
  checked(::sd_bus_open_system(&other), "another connection");
  prepare(other, services.inhibits.c_str(), "PrepareForSleep", true);
  prepare(other, services.inhibits.c_str(), "PrepareForShutdown", true);
  ::sd_bus_flush_close_unref(other);
  say("forged");
}

void set_session(Services& services, const std::string& text) {
  Session& session = services.session;
  const bool is_new = session.type[0] == '\0';
  if (std::sscanf(text.c_str(), "%15s %15s %d %d %d %d %lu", session.type, session.of_class,
                  &session.remote, &session.active, &session.idle, &session.locked,
                  &session.hinted_micros) != 7) {
    std::exit(1);
  }
  checked(is_new ? ::sd_bus_emit_signal(services.bus, kLoginPath, kManager, "SessionNew", "so",
                                        "c1", kSessionPath)
                 : ::sd_bus_emit_properties_changed(services.bus, kSessionPath, kSession,
                                                    "IdleHint", nullptr),
          "session");
}

void obey(Services& services, const std::string& line) {
  const std::string word = line.substr(0, line.find(' '));
  const std::string value = word.size() < line.size() ? line.substr(word.size() + 1) : "";
  if (word == "metered") {
    services.metered = static_cast<std::uint32_t>(std::stoul(value));
    checked(
        ::sd_bus_emit_properties_changed(services.bus, kNetworkPath, kNetwork, "Metered", nullptr),
        "PropertiesChanged");
  }
  if (word == "refuse") services.refuses = value;
  if (word == "refuse-both") services.refuses_both = value;
  if (word == "delay") services.delay_micros = std::stoull(value);
  if (word == "sleep" || word == "wake") {
    prepare(services.bus, nullptr, "PrepareForSleep", word == "sleep");
  }
  if (word == "shutdown" || word == "stay") {
    prepare(services.bus, nullptr, "PrepareForShutdown", word == "shutdown");
  }
  if (word == "session") set_session(services, value);
  if (word == "forge") forge(services);
  if (word == "odd") services.odd = true;
  for (const char* name : {kNetwork, kLogin}) {
    if (word == "leave") checked(::sd_bus_release_name(services.bus, name), name);
    if (word == "come") checked(::sd_bus_request_name(services.bus, name, 0), name);
  }
}

// Until there is something to do.
void wait(const Services& services, std::vector<pollfd>& polled) {
  std::uint64_t due = UINT64_MAX;
  checked(::sd_bus_get_timeout(services.bus, &due), "timeout");
  polled = {
      {::sd_bus_get_fd(services.bus), static_cast<short>(::sd_bus_get_events(services.bus)), 0},
      {STDIN_FILENO, POLLIN, 0}};
  for (const int fd : services.inhibitors) polled.push_back({fd, 0, 0});
  int milliseconds = -1;
  if (due != UINT64_MAX) milliseconds = 100;  // sd-bus has its reasons; soon enough
  if (due == 0) milliseconds = 0;
  (void)::poll(polled.data(), polled.size(), milliseconds);
}

}  // namespace

int main() {
  Services services;
  checked(::sd_bus_open_system(&services.bus), "bus");
  checked(::sd_bus_add_filter(services.bus, nullptr, on_anything, &services), "filter");
  checked(::sd_bus_add_object_vtable(services.bus, nullptr, kNetworkPath, kNetwork, kNetworkTable,
                                     &services),
          "NetworkManager");
  checked(::sd_bus_add_object_vtable(services.bus, nullptr, kLoginPath, kManager, kManagerTable,
                                     &services),
          "login manager");
  checked(::sd_bus_add_object_vtable(services.bus, nullptr, kSessionPath, kSession, kSessionTable,
                                     &services.session),
          "session");
  obey(services, "come");
  say("ready");
  std::string orders;
  std::vector<pollfd> polled;
  for (;;) {
    while (checked(::sd_bus_process(services.bus, nullptr), "bus") > 0) {
    }
    wait(services, polled);
    if (polled[1].revents != 0) {
      char buffer[256];
      const ssize_t size = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (size <= 0) return 0;
      orders.append(buffer, static_cast<std::size_t>(size));
    }
    for (std::size_t end = 0; (end = orders.find('\n')) != std::string::npos;) {
      obey(services, orders.substr(0, end));
      orders.erase(0, end + 1);
      say("done");
    }
    for (std::size_t i = 2; i < polled.size(); ++i) {
      if ((polled[i].revents & POLLHUP) == 0) continue;
      std::erase(services.inhibitors, polled[i].fd);
      ::close(polled[i].fd);
      say("released");
    }
  }
}
