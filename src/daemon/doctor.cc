#include "daemon/doctor.h"

#include <unistd.h>

#include "criu/program.h"
#include "machine/cgroup.h"
#include "machine/fd.h"

namespace ternd {
namespace {

using control::Check;

constexpr machine::Patience kFreezePatience{2000};  // an empty group stands still at once
constexpr std::size_t kControllersSizeMax = 4096;

Check good(std::string name, std::string detail) {
  return {std::move(name), true, std::move(detail), {}};
}
Check bad(std::string name, std::string detail, std::string mend) {
  return {std::move(name), false, std::move(detail), std::move(mend)};
}

Check root() {
  if (::geteuid() == 0) return good("root", "a daemon started like this one may do all of it");
  return bad("root", "jobs move only under root's daemon; what follows is seen with your rights",
             "sudo tern doctor");
}

// A group is made, frozen and removed as for a job.
Check control_groups(const base::Result<std::string>& own) {
  const std::string name = "control groups";
  if (!own) {
    return bad(name, own.error().detail + ": no jobs run here",
               "sudo mkdir -p /sys/fs/cgroup/unified && "
               "sudo mount -t cgroup2 none /sys/fs/cgroup/unified");
  }
  const auto group = machine::Cgroup::create(*own + "/tern-doctor-" + std::to_string(::getpid()));
  if (!group) {
    return bad(name, group.error().detail + ": no jobs run here",
               ::geteuid() == 0 ? "" : "sudo tern up");
  }
  const auto frozen = group->freeze(kFreezePatience);
  const bool kills = ::access((group->path() + "/cgroup.kill").c_str(), W_OK) == 0;
  const auto thawed = group->thaw(kFreezePatience);
  const auto removed = group->remove();
  for (const base::Status& status : {frozen, thawed, removed}) {
    if (!status) return bad(name, status.error().detail, "");
  }
  if (!kills) {
    return bad(name, "the kernel has no cgroup.kill, which came with Linux 5.14",
               "sudo apt install linux-image-amd64");
  }
  return good(name, "version 2, below " + *own);
}

Check throttling(const base::Result<std::string>& own) {
  const auto text =
      own ? machine::read_small_file(*own + "/cgroup.controllers", kControllersSizeMax)
          : base::Result<std::string>(own.error());
  if (text && (" " + *text).find(" cpu") != std::string::npos) {
    return good("throttling", "by cpu.max; this version does not throttle yet");
  }
  if (::access("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", F_OK) == 0 ||
      ::access("/sys/fs/cgroup/cpu/cpu.shares", F_OK) == 0) {
    return good("throttling", "by version 1's quota; this version does not throttle yet");
  }
  return good("throttling", "by nice only; this version does not throttle yet");
}

void criu_checks(const control::DaemonOptions& options, std::vector<Check>& out) {
  criu::Search search = criu::search_from_environment();
  search.explicit_path = options.criu.value_or("");
  const auto program = criu::find_program(search);
  if (!program) {
    out.push_back(bad("CRIU", program.error().detail + ": jobs run here but do not move",
                      "scripts/install-criu"));
    return;
  }
  out.push_back(good("CRIU", program->version.text() + ", " + program->path));
  if (::geteuid() != 0) return;
  const auto works = criu::check_program(*program);
  out.push_back(works ? good("kernel", "has what CRIU needs (criu check)")
                      : bad("kernel", works.error().detail, program->path + " check --all"));
}

Check policy(const control::DaemonOptions& options) {
  std::string who;
  for (const std::uint32_t uid : options.policy_uids) who += " uid " + std::to_string(uid);
  if (options.allow_root_jobs) who += " root";
  return good("policy", who.empty()
                            ? "takes nobody's foreign jobs but those that tern join --trust "
                              "named"
                            : "takes foreign jobs of" + who);
}

}  // namespace

std::vector<Check> examine_machine(const control::DaemonOptions& options) {
  const auto own = machine::own_cgroup();
  std::vector<Check> out = {root(), control_groups(own)};
  criu_checks(options, out);
  out.push_back(throttling(own));
  out.push_back(policy(options));
  return out;
}

}  // namespace ternd
