// The tables of sockets in /proc/net.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "machine/ports.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ports = machine::parse_proc_net(text, size % 2 == 0);
  if (!ports) return 0;
  CHECK(ports->size() <= machine::kPortsReadMax);
  for (const machine::BoundPort& port : *ports) CHECK(machine::ports_collide(port, port));
  return 0;
}
