#include "bus/connection.h"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "bus/library.h"

namespace bus {
namespace {

constexpr int kMessagesAtOnce = 32;  // then the loop's other handles have their turn

// sd-bus counts its timeouts on CLOCK_MONOTONIC.
std::uint64_t monotonic_micros() {
  timespec now{};
  (void)::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace

bool may_be_there() {
  const char* const said = ::secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
  const std::string address =
      said == nullptr ? "unix:path=/var/run/dbus/system_bus_socket" : said;  // the specification's
  constexpr std::string_view kPath = "unix:path=";
  if (!address.starts_with(kPath)) return true;
  const std::string path = address.substr(kPath.size(), address.find_first_of(",;") - kPath.size());
  return ::access(path.c_str(), F_OK) == 0;
}

base::Result<std::unique_ptr<Connection>> Connection::open(
    loop::Loop& loop, std::function<void(const std::string& why)> on_lost) {
  if (!may_be_there()) return base::fail(base::Code::kUnreachable, "there is none");
  if (auto loaded = load_library(); !loaded) return loaded.error();
  sd_bus* bus = nullptr;
  int status = sd().sd_bus_open_system(&bus);
  // More than one descriptor, or none: an address of a kind that nobody uses for a system bus.
  if (status >= 0) status = sd().sd_bus_get_fd(bus);
  if (status < 0) {
    sd().sd_bus_close_unref(bus);
    return base::fail(base::Code::kUnreachable, std::strerror(-status));
  }
  return std::unique_ptr<Connection>(new Connection(loop, bus, std::move(on_lost)));
}

Connection::Connection(loop::Loop& loop, sd_bus* bus,
                       std::function<void(const std::string& why)> on_lost)
    : bus_(bus), on_lost_(std::move(on_lost)), timer_(loop, [this] { pump(); }) {
  poll_ = std::make_unique<loop::Poll>(loop, sd().sd_bus_get_fd(bus), [this](int) { pump(); });
  timer_.start(base::Duration(0));
}

Connection::~Connection() {
  *alive_ = false;
  poll_.reset();  // before the descriptor is closed
  sd().sd_bus_close_unref(bus_);
}

void Connection::flush() {
  if (!pumping_) timer_.start(base::Duration(0));
}

void Connection::pump() {
  const std::shared_ptr<bool> alive = alive_;
  pumping_ = true;
  int status = 1;
  for (int i = 0; i < kMessagesAtOnce && status > 0; ++i) {
    status = sd().sd_bus_process(bus_, nullptr);
    if (!*alive) return;
  }
  pumping_ = false;
  if (status < 0) return lost(std::strerror(-status));
  const int events = sd().sd_bus_get_events(bus_);
  std::uint64_t due = 0;
  const int timed = sd().sd_bus_get_timeout(bus_, &due);
  if (events < 0 || timed < 0) return lost("the connection is closed");
  poll_->set(((events & POLLIN) != 0 ? loop::Poll::kReadable : 0) |
             ((events & POLLOUT) != 0 ? loop::Poll::kWritable : 0));
  if (timed == 0 || due == UINT64_MAX) return timer_.stop();
  const std::uint64_t now = monotonic_micros();
  // Never 0, as what is left would then be done before anything else of the loop.
  timer_.start(base::Duration(due > now + 1000 ? static_cast<std::int64_t>(due - now) : 1000));
}

void Connection::lost(const std::string& why) {
  poll_->set(0);
  timer_.stop();
  if (const auto told = std::exchange(on_lost_, nullptr)) told(why);
}

}  // namespace bus
