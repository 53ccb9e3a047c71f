// libsystemd, loaded where there is a bus: where there is none, nobody needs it or pays for it,
// almost 2 MiB resident with what it loads. For this folder's own files alone.
#pragma once

#include <systemd/sd-bus.h>

#include "base/result.h"

namespace bus {

#define TERN_BUS_FUNCTIONS(F)       \
  F(sd_bus_open_system)             \
  F(sd_bus_close_unref)             \
  F(sd_bus_get_fd)                  \
  F(sd_bus_get_events)              \
  F(sd_bus_get_timeout)             \
  F(sd_bus_process)                 \
  F(sd_bus_add_match_async)         \
  F(sd_bus_call_method_async)       \
  F(sd_bus_slot_unref)              \
  F(sd_bus_message_enter_container) \
  F(sd_bus_message_exit_container)  \
  F(sd_bus_message_get_error)       \
  F(sd_bus_message_get_sender)      \
  F(sd_bus_message_is_method_error) \
  F(sd_bus_message_read)            \
  F(sd_bus_message_skip)

struct Library {
#define TERN_BUS_MEMBER(name) decltype(&::name) name = nullptr;
  TERN_BUS_FUNCTIONS(TERN_BUS_MEMBER)
#undef TERN_BUS_MEMBER
};

// kNotFound: it is not installed. Stays loaded; a second time it costs nothing.
[[nodiscard]] base::Status load_library();
[[nodiscard]] const Library& sd();  // once loaded

}  // namespace bus
