// DIR/tern.toml: what a person set for good, under the command line, over the defaults.
//
//   key              type                      as the option of `tern daemon`, which says what it
//   is name             text                      --name listen           text --listen ADDR:PORT
//   peer             list of texts             --peer, at most kPeersMax
//   discovery        true or false             --discovery
//   load-source      text                      --load-source auto|system|cgroup
//   load-window      whole number of seconds   --load-window, 1 to kLoadWindowSecondsMax
//   cgroup           text                      --cgroup
//   criu             text, an absolute path    --criu
//   allow-root-jobs  true or false             --allow-root-jobs
//   policy-uids      list of whole numbers     --policy-uids, at most kPolicyUidsMax
//   owner-active     text                      --owner-active, a word of node/owner.h
//   on-battery       text                      --on-battery, likewise
//   battery-low      text                      --battery-low, likewise
//   on-metered       text                      --on-metered, likewise
//   on-sleep         text                      --on-sleep, likewise; also before a shutdown
//   share            text                      --share yes|no|ask
//   inbox            text, an absolute path    --inbox
//   output-limit     text                      --output-limit, such as 64M, or none
//   log-level        text                      --log-level debug|info|warn|error
//   log-file         text, an absolute path    --log-file
//   cpus             number                    --cpus, 0.001 to 4096, in thousandths
//
// ASCII, but for lines of comment, which may be in any language.
//
// A setting of the command line replaces the file's, a list too. The whole file is checked all the
// same: a mistake in it refuses the start, whether or not its line would have counted, since a
// policy that was meant and misspelt must not be silently off. Pure; who reads the file is the
// program (cli/settings.cc). The one place that sees the TOML library.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "control/daemon_options.h"

namespace control {

// Sets what options.given does not hold and names it in options.from_file. kInvalid: the first
// mistake, as "PATH:LINE: what would be right"; then `options` is of no use. kTooLarge: more than
// kSettingsBytesMax.
[[nodiscard]] base::Status apply_settings(DaemonOptions& options, std::string_view text,
                                          const std::string& path);

}  // namespace control
