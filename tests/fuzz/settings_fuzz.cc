// DIR/tern.toml as anybody may have written it: refused with a line number, or settings that say
// where they come from.
#include "base/check.h"
#include "control/settings_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  control::DaemonOptions options;
  options.given = {"cpus"};
  const auto status = control::apply_settings(options, text, "f");
  if (!status) {
    CHECK(status.error().detail.starts_with("f:"));
    return 0;
  }
  CHECK(!options.from_file.contains("cpus"));
  CHECK(!options.cpus_millis.has_value());
  CHECK(control::daemon_arguments(options).size() == 1);
  CHECK(!control::settings_to_json(control::settings_of(options)).empty());
  return 0;
}
