// Starts a job: tern-init in namespaces and a control group of its own, on its pipes
// (init/contract.h). The job's output waits in the pipes until a keeper comes for it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "machine/cgroup.h"
#include "machine/process_name.h"
#include "machine/spawn.h"

namespace machine {

// CRIU makes a pseudo terminal with a certain number by making at most so many, so a number has to
// be below. A job's is a random one of those that people's own terminals rarely reach; where it is
// taken, the sink gives the job another (daemon/image_admission.h).
inline constexpr unsigned kTerminalsMax = 32;
inline constexpr unsigned kTerminalsLow = 8;

enum class JobInput { kNothing, kPipe, kTerminal };  // kNothing: /dev/null

struct JobSpec {
  std::string init_path;             // of install_helpers()
  std::vector<std::string> command;  // searched in the PATH of `env`
  std::vector<std::string> env;      // KEY=VALUE
  std::string dir;                   // absolute; entered as the job's user
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool change_user = false;  // false: the job runs as we do, uid, gid and groups are not looked at
  mode_t mask = 022;
  JobInput input = JobInput::kNothing;
  std::string init_root;  // of make_init_root(); empty: the job cannot be checkpointed (not root)
  bool hold = false;      // init waits for a SIGCONT before it starts the command
  pid_t adopted = 0;      // starts none: main is to be restored with this PID (criu/capsule)
};

struct StartedJob {
  ProcessName init;
  Spawned process;  // init, a child of ours: reap it when its pidfd is readable
};

// Once it returns ok, everything about the job's end comes by its keeper, even that the command
// does not exist (126, 127, with a line on the job's stderr). kInvalid: the spec is contradictory;
// kUnsupported: no namespaces for us here; else as spawn().
[[nodiscard]] base::Result<StartedJob> start_job(const JobSpec& spec, const Cgroup& cgroup);

}  // namespace machine
