#include "daemon/preflight_desk.h"

#include <mutex>

#include "balance/limits.h"
#include "machine/file_user.h"
#include "machine/preflight.h"

namespace ternd {
namespace {

// Whole sentences, as many as a handover's reason holds; the first in any case.
std::string join(const std::vector<std::string>& sentences) {
  std::string text;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const std::string more = "; and " + std::to_string(sentences.size() - i) + " more";
    const std::size_t room = i + 1 == sentences.size() ? 0 : more.size();
    if (i > 0 && text.size() + 2 + sentences[i].size() + room > balance::kReasonSizeMax) {
      return text + more;
    }
    text += (i == 0 ? "" : "; ") + sentences[i];
  }
  return text;
}

}  // namespace

std::vector<std::uint32_t> local_groups(const std::vector<std::uint32_t>& uids) {
  std::vector<std::uint32_t> groups;
  for (const std::uint32_t uid : uids) {
    const std::vector<std::uint32_t> own = machine::groups_of(uid);
    groups.insert(groups.end(), own.begin(), own.end());
  }
  return groups;
}

struct PreflightDesk::Shared {
  std::mutex one_at_a_time;
  machine::FileHashes hashes;
  machine::Packages packages;
};

PreflightDesk::PreflightDesk(loop::Loop& loop, const Copies& copies, PreflightPolicy policy,
                             std::string ledgers, Facts facts, Report report)
    : loop_(loop),
      copies_(copies),
      policy_(std::move(policy)),
      ledgers_(std::move(ledgers)),
      facts_(std::move(facts)),
      report_(std::move(report)),
      shared_(std::make_shared<Shared>()) {}

PreflightDesk::~PreflightDesk() { *alive_ = false; }

void PreflightDesk::collect(const balance::CollectRequirement& order, bool tcp_close,
                            Report report) {
  look_at_job(order.id.job, tcp_close, [id = order.id, report = std::move(report)](Looked looked) {
    balance::RequirementCollected answer;
    answer.id = id;
    answer.ok = looked.obstacles.empty();
    answer.reason = join(looked.obstacles);
    answer.requirement = std::move(looked.requirement);
    report(answer);
  });
}

void PreflightDesk::check(const balance::CheckPreflight& order) {
  look_at_machine(order.id.job, order.requirement, [this, id = order.id](const Looked& looked) {
    balance::PreflightChecked answer;
    answer.id = id;
    answer.ok = looked.obstacles.empty();
    answer.reason = join(looked.obstacles);
    report_(answer);
  });
}

void PreflightDesk::look_at_job(const base::JobId& job, bool tcp_close, Then then) {
  const CopyView* copy = copies_.find(job);
  if (copy == nullptr || copy->cgroup.empty()) {
    return then({{}, {"the job does not run here any more"}});
  }
  if (policy_.criu_version.empty()) return then({{}, {policy_.criu_missing}});
  auto answer = std::make_shared<Looked>();
  loop::run_blocking(
      loop_,
      [shared = shared_, answer, cgroup = copy->cgroup, root = copy->init_root,
       version = policy_.criu_version, tcp_close, dir = facts_.dir(job)] {
        const std::lock_guard lock(shared->one_at_a_time);
        auto group = machine::Cgroup::open(cgroup);
        if (!group) {
          answer->obstacles = {group.error().detail};
          return;
        }
        machine::InspectOptions options;
        options.criu_version = version;
        options.init_root = root;
        options.tcp_close = tcp_close;
        options.dir = dir;
        options.packages = &shared->packages;
        auto seen = machine::inspect_job(*group, options, shared->hashes);
        if (!seen) {
          answer->obstacles = {seen.error().detail};
          return;
        }
        answer->obstacles = seen->obstacles;
        if (!answer->obstacles.empty()) return;
        auto bytes = machine::encode_requirement(seen->requirement);
        if (!bytes) {
          answer->obstacles = {bytes.error().detail};
        } else if (bytes->size() > balance::kRequirementSizeMax) {
          answer->obstacles = {"the job uses more files than a move can name"};
        } else {
          answer->requirement = std::move(*bytes);
        }
      },
      [answer, then = std::move(then), alive = alive_] {
        if (*alive) then(std::move(*answer));
      });
}

void PreflightDesk::look_at_machine(const base::JobId& job, const base::Bytes& requirement,
                                    Then then) {
  auto answer = std::make_shared<Looked>();
  loop::run_blocking(
      loop_,
      [shared = shared_, answer, requirement, policy = policy_, ledgers = ledgers_, job,
       at_home = facts_.home_is_here(job)] {
        const std::lock_guard lock(shared->one_at_a_time);
        auto needs = machine::decode_requirement(requirement);
        if (!needs) {
          answer->obstacles = {"its description cannot be read: " + needs.error().detail};
          return;
        }
        machine::LocalPolicy local;
        local.criu_version = policy.criu_version;
        local.criu_missing = policy.criu_missing;
        local.allow_root = policy.allow_root;
        local.state_dir = policy.state_dir;
        local.allowed_uids = policy.uids;
        local.allowed_gids = local_groups(policy.uids);
        local.ledgers = ledgers;
        local.job = job.hex();
        local.at_home = at_home;
        local.packages = &shared->packages;
        answer->obstacles = machine::check_requirement(*needs, local, shared->hashes);
      },
      [answer, then = std::move(then), alive = alive_] {
        if (*alive) then(std::move(*answer));
      });
}

}  // namespace ternd
