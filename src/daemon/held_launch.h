// How a job's processes are started: at once (copies.h), or held before the command's first
// instruction as a restored copy is (criu/restore_session.h), so that whatever lets such a copy go
// or ends it need not know the difference.
#pragma once

#include <string>

#include "machine/helpers.h"
#include "machine/job_process.h"
#include "machine/spawn.h"
#include "node/park_manifest.h"
#include "transfer/image_stream.h"

namespace ternd {

[[nodiscard]] machine::JobSpec start_of(const node::JobSpec& spec, const node::LaunchPlan& plan,
                                        const machine::Helpers& helpers,
                                        const std::string& init_root);
// The plan that a queued job's images hold: that one image and no other.
[[nodiscard]] base::Result<node::LaunchPlan> plan_of(const transfer::ImageSet& images);
// What another node must have to start it: the same command and working folder, where they are
// found here, and the same kind of machine. Blocking: hashes the command.
[[nodiscard]] base::Result<base::Bytes> needs_to_start(const node::JobSpec& spec,
                                                       const node::LaunchPlan& plan);
// In a cgroup that it makes; init only, stopped and frozen. After an error nothing is left of it.
// Blocking.
[[nodiscard]] base::Status launch_held(const machine::JobSpec& start, const std::string& cgroup,
                                       machine::Children& children);

// The same for a job whose main is to be restored beside init (machine::JobSpec::adopted): init is
// stopped, and the cgroup not frozen yet.
[[nodiscard]] base::Result<machine::ProcessName> launch_capsule(const machine::JobSpec& start,
                                                                const std::string& cgroup,
                                                                machine::Children& children);

}  // namespace ternd
