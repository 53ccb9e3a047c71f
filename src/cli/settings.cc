// Reading DIR/tern.toml (declared in cli/daemon_flags.h); what it means: control/settings_file.h.
#include "cli/daemon_flags.h"
#include "control/limits.h"
#include "control/settings_file.h"
#include "machine/fd.h"

namespace cli {

using base::Code;

base::Status add_settings(control::DaemonOptions& options) {
  const std::string path = options.paths.settings_file();
  const auto text = machine::read_small_file(path, control::kSettingsBytesMax);
  if (text) return control::apply_settings(options, *text, path);
  if (text.error().code == Code::kNotFound) return {};
  if (text.error().code == Code::kTooLarge) return text.error();
  // kIo: nothing is wrong with how the command was written.
  return base::fail(Code::kIo, text.error().detail);
}

base::Result<control::DaemonOptions> stored_options(const Context& context) {
  control::DaemonOptions options;
  options.paths = context.paths;
  const auto added = add_settings(options);
  if (!added) return added.error();
  return options;
}

int report_options(Context& context, const base::Error& error) {
  return error.code == Code::kIo ? report(context, error) : usage(context, error.detail);
}

}  // namespace cli
