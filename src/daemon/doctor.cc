#include "daemon/doctor.h"

#include <unistd.h>

#include "bus/presence.h"
#include "criu/program.h"
#include "machine/cgroup.h"
#include "machine/cpu_limit.h"

namespace ternd {
namespace {

using control::Check;

constexpr machine::Patience kFreezePatience{2000};  // an empty group stands still at once

Check good(std::string name, std::string detail) {
  return {std::move(name), true, std::move(detail), {}};
}
Check note(std::string name, std::string detail) {
  return {std::move(name), true, std::move(detail), {}, /*note=*/true};
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

// What the daemon would use, asked of a group like its own.
Check throttling(const base::Result<std::string>& own) {
  const std::string name = "throttling";
  if (!own) return bad(name, own.error().detail + ": no job is throttled here", "");
  const auto group = machine::Cgroup::create(*own + "/tern-doctor-" + std::to_string(::getpid()));
  const machine::LimitTools tools =
      machine::find_limit_tools(group ? group->path() : "", "doctor", "", machine::may_renice());
  if (group) (void)group->remove().ok();
  switch (tools.means) {
    case machine::LimitMeans::kCpuMax:
      return good(name, "by cpu.max of version 2");
    case machine::LimitMeans::kQuota:
      return good(name, "by a CPU quota of version 1, below " + tools.quota_home);
    case machine::LimitMeans::kNice:
      return good(name, "by nice 10 only, which bounds nothing while a CPU is idle (" + tools.why +
                            "); for quotas: sudo mkdir -p /sys/fs/cgroup/cpu && sudo mount -t "
                            "cgroup -o cpu none /sys/fs/cgroup/cpu");
    case machine::LimitMeans::kNone:
      break;
  }
  return bad(name, tools.why + ": no job is throttled here",
             ::geteuid() == 0 ? "" : "sudo tern up");
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

// A laptop's owner misses these; nothing of moving and throttling jobs needs them.
void system_services(std::vector<Check>& out) {
  const bus::Presence found = bus::find_services();
  const auto check = [&](const char* name, bool there, const char* use, const char* without) {
    out.push_back(there
                      ? good(name, use)
                      : note(name, std::string("not there: ") + without + "; harmless on servers"));
  };
  constexpr const char* kSleep = "neither sleep nor a shutdown is delayed while guests leave";
  constexpr const char* kMetered = "a metered network is not noticed";
  if (!found.no_bus.empty()) {
    out.push_back(note("system bus", "not there (" + found.no_bus + "): " + kSleep + ", and " +
                                         kMetered + "; harmless on servers"));
  } else {
    out.push_back(good("system bus", "it answers"));
  }
  check("logind", found.login, "sleep and shutdown can be delayed while guests leave", kSleep);
  check("NetworkManager", found.network, "says whether the network is metered", kMetered);
}

}  // namespace

std::vector<Check> examine_machine(const control::DaemonOptions& options) {
  const auto own = machine::own_cgroup();
  std::vector<Check> out = {root(), control_groups(own)};
  criu_checks(options, out);
  out.push_back(throttling(own));
  out.push_back(policy(options));
  system_services(out);
  return out;
}

}  // namespace ternd
