// `tern probe`: this machine, no daemon needed (cli.md): load, CPUs, ratio, trit, and the processes
// above 30 % CPU or SCUM 0.35 with what the rules advise.
//
// There is no history here: the trit is the raw ratio against the bare thresholds, and with the
// cgroup as load source the load is the mean of samples over one second, not of a minute.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>

#include "machine/proc_source.h"

namespace cli {

struct ProbeOptions {
  bool json = false;
  machine::LoadSource load_source = machine::LoadSource::kAuto;
  std::string cgroup;  // directory to count in; "" = our own. Used with the cgroup source only
  int samples = 20;    // of the cgroup source, at least 1
  std::chrono::milliseconds sample_spacing{50};
};

// Data on `out`, trouble on `err`. Blocks (a second with the cgroup source). Returns the exit code:
// 0, or 1 when the machine could not be read.
[[nodiscard]] int run_probe_command(const ProbeOptions& options, std::ostream& out,
                                    std::ostream& err);
// The same on another source, for tests.
[[nodiscard]] int run_probe_command(const ProbeOptions& options, const machine::ProcSource& source,
                                    std::ostream& out, std::ostream& err);

}  // namespace cli
